"""Write requirements.lock from what the virtual environment holds.

Usage: python scripts/lock.py [--check]

The lock names every distribution that `vidi[all,test]` leads to, with its version and nothing else: no hashes, no
addresses, no local version labels, so that the same file constrains a CPU and a GPU build of torch. With --check
nothing is written: the exit status is 1 when the file and the environment differ.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
HEADER = """\
# Versions that `make test` passed with. Written by `make lock`; used as constraints by scripts/setup.sh.
# Constraints hold only where a package is needed: the CUDA packages do not come with a CPU build of torch.
"""


def own_requirements(project: dict[str, Any], extras: tuple[str, ...] = ("all", "test")) -> list[str]:
    """Return what the project asks for with these extras, its references to its own extras followed."""
    lines = list(project["dependencies"])
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            needed = Requirement(line)
            if canonicalize_name(needed.name) == project["name"]:
                lines += own_requirements(project, tuple(sorted(needed.extras)))
            else:
                lines.append(line)
    return lines


def closure(lines: list[str]) -> dict[str, Distribution]:
    """Return the installed distributions that the requirements lead to, by canonical name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in lines]
    while todo:
        requirement, of_extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": of_extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{requirement} is not installed: run `make setup` first") from None
        for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            todo += [(Requirement(line), extra) for line in found[name].requires or ()]
    return found


def main() -> int:
    """Write the lock, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = {name: Version(found.version).public for name, found in closure(own_requirements(project)).items()}
    text = HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()))
    if check:
        same = LOCK.is_file() and LOCK.read_text() == text
        if not same:
            print("requirements.lock differs from the virtual environment: run `make lock`", file=sys.stderr)
        return 0 if same else 1
    LOCK.write_text(text)
    print(f"{LOCK.name}: {len(pins)} distributions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
