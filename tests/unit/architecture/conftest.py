"""The repository, as git knows it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> Callable[..., list[Path]]:
    """Return what lists tracked files, of some suffixes if any are named."""

    def files(*suffixes: str) -> list[Path]:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
        return [p for p in paths if p.is_file() and (not suffixes or p.suffix in suffixes)]

    return files
