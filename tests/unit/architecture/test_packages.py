"""Who loads what, and what users read."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

Tracked = Callable[..., list[Path]]
HEAVY = ("torch", "shap", "faiss", "pydicom", "sklearn", "fastapi", "sqlalchemy", "dbos")
LOADED = f"import sys; print([m for m in {HEAVY!r} if m in sys.modules])"


def loaded_after(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, check=True, timeout=120
    ).stdout.splitlines()[-1]


def test_help_loads_nothing_heavy() -> None:
    code = "import vidi.cli\ntry: vidi.cli.build()(['--help'])\nexcept SystemExit: pass"
    assert loaded_after(code) == "[]"


@pytest.mark.parametrize("group", ["vidi.services", "vidi.commands"])
def test_entry_points_load_nothing_heavy(group: str) -> None:
    assert len(entry_points(group=group)) >= 3
    code = f"from importlib.metadata import entry_points\nfor e in entry_points(group={group!r}): e.load()"
    assert loaded_after(code) == "[]"


def test_the_gateway_and_the_clusterer_run_without_torch() -> None:
    code = "import vidi_gateway.mount, vidi_clusterer.engine, vidi_clusterer.servicer, vidi.report, vidi.embedded"
    loaded = loaded_after(code)
    assert "faiss" in loaded
    assert "torch" not in loaded
    assert "shap" not in loaded


def test_nothing_that_users_read_speaks_of_a_diagnosis(tracked: Tracked, root: Path) -> None:
    """Text may say "not for diagnosis", "not a diagnosis", and name the paper."""
    allowed = re.compile(
        r"(?:not for|not a|never a|of a) diagnosis|streamline\s+diagnostic|never diagnoses|not diagnose", re.IGNORECASE
    )
    found = []
    for path in tracked(".py", ".html", ".j2", ".md", ".proto"):
        parts = path.relative_to(root).parts
        if parts[0] in {"tests", "buf"} or parts[:2] == ("vidi", "api"):
            continue
        text = path.read_text()
        texts = _strings(text) if path.suffix == ".py" else [text]
        found += [
            f"{path.relative_to(root)}: ...{rest[max(0, m.start() - 40) : m.end() + 20]!r}"
            for rest in (allowed.sub("", t) for t in texts)
            for m in re.finditer(r"diagnos", rest, re.IGNORECASE)
        ]
    assert not found, "\n".join(found)


def _strings(code: str) -> list[str]:
    nodes = ast.walk(ast.parse(code))
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
