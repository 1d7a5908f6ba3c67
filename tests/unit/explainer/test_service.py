"""The service's module is light, and its settings come from the environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vidi_explainer.service import SERVICE


def test_service_and_commands_import_nothing_heavy() -> None:
    code = (
        "import sys, vidi_explainer.service, vidi_explainer.cli;"
        "print(sorted({'torch', 'shap', 'numba', 'scipy', 'pydicom'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIDI_EXPLAINER_ENGINE", "other")
    monkeypatch.setenv("VIDI_REDIS_URL", "redis://cache:6379/0")
    monkeypatch.setenv("VIDI_CACHE_MAX_BYTES", "1000")
    settings = SERVICE.settings(data_dir=tmp_path, port=1234)
    assert (settings.port, settings.data_dir) == (1234, tmp_path)
    values = settings.model_dump()
    assert (values["explainer_engine"], values["cache_max_bytes"]) == ("other", 1000)
    assert values["redis_url"].get_secret_value() == "redis://cache:6379/0"
