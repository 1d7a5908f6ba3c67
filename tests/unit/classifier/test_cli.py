"""The commands are light until they are used."""

from __future__ import annotations

import subprocess
import sys


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, typer\n"
        "from typer.testing import CliRunner\n"
        "from vidi_classifier.cli import register\n"
        "import vidi_classifier.service\n"
        "app = typer.Typer(); register(app)\n"
        "for words in (['--help'], ['evaluate', '--help'], ['train', 'pneumonia', '--help']):\n"
        "    result = CliRunner().invoke(app, words)\n"
        "    assert result.exit_code == 0, result.output\n"
        "heavy = {'torch', 'lightning', 'sklearn', 'scipy', 'grpc', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
