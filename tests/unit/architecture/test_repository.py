"""What must not be in the repository, and what must agree in it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Tracked = Callable[..., list[Path]]

#: Paths of somebody's machine, and addresses of package indexes: ours to configure, not to write down.
PRIVATE = re.compile(
    r"(?<![\w.])/(?:work|root|Users|home/[a-z]\w*)/"
    r"|\b(?:pypi|pythonhosted|npmjs|pytorch)\.org\b|--(?:extra-)?index-url|\bfind-links\b"
    r"|https?://[^\s)>\"']*/simple\b"
)
BINARY = {".png", ".jpg", ".dcm", ".safetensors", ".npz", ".ico", ".woff2"}
#: The aim is 400 lines; a little over is no reason to tear a module apart.
LONGEST_MODULE = 420


def test_no_path_of_a_machine_and_no_index_address(tracked: Tracked, root: Path) -> None:
    found = []
    for path in tracked():
        if path.suffix in BINARY or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if PRIVATE.search(line):
                found.append(f"{path.relative_to(root)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_the_search_finds_what_it_looks_for() -> None:
    for line in (
        "see " + "/".join(("", "root", "x")),
        "open('/home/ann/x')",
        "index = " + ".".join(("pypi", "org")),
        "pip --index-url x",
        "http://host/root/simple",
    ):
        assert PRIVATE.search(line), line
    for line in ("PyPI's torch", "framework/x", "/home directory", "https://example.org/simplest"):
        assert not PRIVATE.search(line), line


def test_the_lock_pins_everything_and_nothing_but_versions(root: Path) -> None:
    lines = [line for line in (root / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9A-Za-z.!]*", line) for line in lines), (
        "names and public versions only"
    )
    pins = dict(line.split("==") for line in lines)
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [
        *project["dependencies"],
        *(line for extra in extras if extra != "clusterer-gpu" for line in extras[extra]),
    ]
    for line in asked:
        requirement = Requirement(line)
        if requirement.name == "vidi" or (requirement.marker and not requirement.marker.evaluate()):
            continue
        pinned = pins.get(canonicalize_name(requirement.name))
        assert pinned, f"{line} is not in requirements.lock: run `make lock`"
        assert requirement.specifier.contains(pinned), f"{line} contradicts requirements.lock ({pinned})"


def test_torch_is_pinned_as_a_pair_that_any_build_satisfies(root: Path) -> None:
    text = (root / "requirements.lock").read_text()
    torch, vision = (re.search(rf"^{name}==(.+)$", text, re.MULTILINE) for name in ("torch", "torchvision"))
    assert torch
    assert vision
    for pin in (torch, vision):
        assert Requirement(pin[0]).specifier.contains(pin[1] + "+cpu")


def test_modules_stay_readable_in_one_sitting(tracked: Tracked, root: Path) -> None:
    long = {
        str(path.relative_to(root)): lines
        for path in tracked(".py")
        if "api" not in path.parts and path.parts[len(root.parts)] not in {"buf", "tests"}
        if (lines := len(path.read_text().splitlines())) > LONGEST_MODULE
    }
    assert not long


def test_links_between_documents_lead_somewhere(tracked: Tracked, root: Path) -> None:
    broken, count = [], 0
    for path in tracked(".md"):
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
            if not re.match(r"[a-z]+:", target):
                count += 1
                if not (path.parent / target).exists():
                    broken.append(f"{path.relative_to(root)}: {target}")
    assert count > 10
    assert not broken


def test_decisions_are_numbered_and_listed(root: Path) -> None:
    folder = root / "docs/adr"
    files = sorted(p.name for p in folder.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))
    index = (folder / "README.md").read_text()
    for number, name in enumerate(files, 1):
        title = (folder / name).read_text().splitlines()[0]
        assert title.startswith(f"# {number}. ")
        assert f"{number}. [{title.split('. ', 1)[1]}]({name})" in index


def test_scripts_can_be_run_and_parse(tracked: Tracked, root: Path) -> None:
    scripts = [*tracked(".sh"), root / ".ci/run"]
    assert len(scripts) >= 3
    for script in scripts:
        assert script.stat().st_mode & 0o111, f"{script.name} is not executable"
        assert "set -euo pipefail" in script.read_text()
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_make_offers_what_the_readme_names(root: Path) -> None:
    shown = subprocess.run(["make", "-s", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make (\w+)", shown, re.MULTILINE))
    assert {"setup", "demo", "test", "lint", "proto", "bench", "clean", "help"} <= targets
    for path in (root / "README.md", root / "docs/development.md"):
        named = re.findall(r"(?:^    |`)make ([a-z]+)\b", path.read_text(), re.MULTILINE)
        assert named
        assert set(named) <= targets
    assert "make test" in (root / ".ci/run").read_text()
