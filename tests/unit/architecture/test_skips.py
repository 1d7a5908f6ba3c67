"""Under continuous integration a skip is a failure (conftest.py at the root)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import pytest

def test_skips():
    pytest.skip("no PACS here")

@pytest.mark.xfail
def test_fails_as_expected():
    assert False

def test_passes():
    pass
"""


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    """A project of three tests with our rule."""
    (tmp_path / "conftest.py").write_text((root / "conftest.py").read_text())
    (tmp_path / "test_cases.py").write_text(CASES)
    return tmp_path


def run(project: Path, ci: str) -> str:
    environment = {**os.environ, "CI": ci}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(project)]
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=120
    ).stdout


def test_a_skip_is_allowed_at_home(project: Path) -> None:
    assert "1 passed, 1 skipped, 1 xfailed" in run(project, "")


def test_a_skip_fails_under_ci(project: Path) -> None:
    output = run(project, "true")
    assert "1 failed, 1 passed, 1 xfailed" in output
    assert "no PACS here" in output


def test_a_module_that_skips_itself_fails_under_ci(project: Path) -> None:
    (project / "test_module.py").write_text('import pytest\npytest.importorskip("no_such_module")\n')
    assert "skipped itself where nothing may be missing" in run(project, "true")
    assert "1 passed, 2 skipped, 1 xfailed" in run(project, "")
