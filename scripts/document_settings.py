"""Write the tables of settings into docs/operations.md, from the settings classes themselves.

Usage: python scripts/document_settings.py [--check]

With --check nothing is written: the exit status is 1 when the document differs from the classes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from vidi.cache.opening import CacheSettings
from vidi.settings import CommonSettings, ServiceSettings
from vidi_classifier.settings import ClassifierSettings
from vidi_clusterer.settings import ClustererSettings
from vidi_explainer.settings import ExplainerSettings
from vidi_gateway.settings import GatewaySettings, Peer

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
BEGIN, END = "<!-- settings: begin (make docs) -->", "<!-- settings: end -->"
SECTIONS: tuple[tuple[str, type[BaseModel], tuple[type[BaseModel], ...]], ...] = (
    ("Every process", CommonSettings, ()),
    ("Every gRPC server", ServiceSettings, (CommonSettings,)),
    ("Explanation cache (explainer)", CacheSettings, (CommonSettings,)),
    ("Classifier", ClassifierSettings, (ServiceSettings,)),
    ("Explainer", ExplainerSettings, (ServiceSettings, CacheSettings)),
    ("Clusterer", ClustererSettings, (ServiceSettings,)),
    ("Gateway and worker", GatewaySettings, (ServiceSettings,)),
)
#: Defaults that depend on the machine, in words.
WORDS = {"data_dir": "`~/.local/share/vidi`", "model_dir": "the starter bundles"}


def default_of(name: str, field: FieldInfo) -> str:
    """Return a field's default as one would write it in the environment."""
    if name in WORDS:
        return WORDS[name]
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        peers = [f"{p.ae_title}@{p.host}" for p in value if isinstance(p, Peer)]
        value = ",".join(peers) if peers else json.dumps(list(value))
    elif isinstance(value, dict):
        value = json.dumps(value)
    elif isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`" if str(value) else "empty"


def table(title: str, settings: type[BaseModel], bases: tuple[type[BaseModel], ...]) -> str:
    """Return the section of one class: what its bases lack or set otherwise."""
    rows = [f"### {title}", "", "| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        shown = (default_of(name, field), field.description or "")
        inherited = [b.model_fields[name] for b in bases if name in b.model_fields]
        if not any((default_of(name, f), f.description or "") == shown for f in inherited):
            rows.append(f"| `VIDI_{name.upper()}` | {shown[0]} | {shown[1].replace('|', '&#124;')} |")
    return "\n".join(rows)


def main() -> int:
    """Write the tables, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "\n\n".join(table(*section) for section in SECTIONS)
    fresh = f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"
    if check:
        if fresh != text:
            print(f"{DOCUMENT.name} differs from the settings classes: run `make docs`", file=sys.stderr)
        return 0 if fresh == text else 1
    DOCUMENT.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
