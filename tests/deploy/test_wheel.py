"""The wheel that images install: everything of the project that runs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

#: Folder of the repository -> folder of the wheel.
PLACES = {
    "vidi": "vidi",
    "buf": "buf",
    "services/classifier/vidi_classifier": "vidi_classifier",
    "services/explainer/vidi_explainer": "vidi_explainer",
    "services/clusterer/vidi_clusterer": "vidi_clusterer",
    "gateway/vidi_gateway": "vidi_gateway",
    "models": "vidi/starter_models",
}


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=240)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_tracked_file_of_a_package_is_in_it(wheel: zipfile.ZipFile, root: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z", *PLACES], cwd=root, capture_output=True, text=True, check=True)
    expected = set()
    for name in filter(None, listed.stdout.split("\0")):
        source = next(place for place in PLACES if name.startswith(place + "/"))
        expected.add(PLACES[source] + name.removeprefix(source))
    assert len(expected) > 100
    assert expected <= set(wheel.namelist())


def test_nothing_else_is_in_it(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert tops == {place.split("/")[0] for place in PLACES.values()}
    assert not [name for name in wheel.namelist() if "__pycache__" in name or "/tests/" in name]


def test_it_installs_the_command_and_the_services(wheel: zipfile.ZipFile) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/entry_points.txt"))
    text = wheel.read(name).decode()
    assert "vidi = vidi.cli:main" in text
    for service in ("classifier", "explainer", "clusterer", "gateway", "worker"):
        assert f"\n{service} = vidi_" in text
    assert any(n.endswith("licenses/NOTICE") for n in wheel.namelist())
