"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small, real bundles: "tiny-pneumonia" (patients) and "tiny-severity" (phantoms). Never write into it."""
    from vidi.models.tiny import SEVERITIES, write_tiny_bundle

    directory = tmp_path_factory.mktemp("models")
    write_tiny_bundle(directory / "tiny-pneumonia", "tiny-pneumonia", seed=1)
    write_tiny_bundle(directory / "tiny-severity", "tiny-severity", SEVERITIES, subject="phantom", seed=2)
    return directory
