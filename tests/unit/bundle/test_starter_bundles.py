"""What ships with ViDi is whole, small, licensed, and says whom it is for."""

from __future__ import annotations

import numpy as np
import pytest

from vidi.background.kmeans import MINIMUM
from vidi.bundle import discover, load
from vidi.manifest import seal
from vidi.models import load_network
from vidi.settings import default_model_dir

FILES = ("model.json", "model.safetensors", "background.safetensors")


@pytest.mark.parametrize("name", ["pneumonia-slim", "severity-phantom"])
def test_a_starter_bundle_is_whole_and_small(name: str) -> None:
    bundle = load(default_model_dir() / name)
    assert bundle.name == name
    assert sum((bundle.path / file).stat().st_size for file in FILES) <= 3_000_000
    assert sum(p.numel() for p in load_network(bundle).parameters()) > 1_000_000
    assert bundle.manifest.calibrated
    assert bundle.manifest.intended_use.content_qualification == "RESEARCH"
    card = (bundle.path / "README.md").read_text(encoding="utf-8")
    assert "Not for diagnosis" in card
    for metric in bundle.manifest.metrics:
        assert metric.split
        assert f"| {metric.name} | {metric.value:.3f} |" in card, "the card is older than the bundle"


def test_pneumonia_slim_says_whom_it_learned_from() -> None:
    manifest = load(default_model_dir() / "pneumonia-slim").manifest
    use = manifest.intended_use
    assert (use.age_min_years, use.age_max_years, use.views, use.subjects) == (1.0, 5.0, ("AP",), ("patient",))
    assert "children" in use.statement
    assert "CC BY 4.0" in manifest.training_data_licence
    assert "Kermany" in manifest.training_data_licence
    normal, pneumonia = manifest.classes
    assert normal.code.scheme == "99VIDI", "no coded absence of disease"
    assert (pneumonia.code.value, pneumonia.code.scheme) == ("233604007", "SCT")
    held_out = {m.name: m for m in manifest.metrics if m.split.startswith("held out")}
    assert held_out["balanced_accuracy"].value >= 0.88


def test_severity_phantom_takes_phantoms_alone() -> None:
    manifest = load(default_model_dir() / "severity-phantom").manifest
    assert manifest.intended_use.subjects == ("phantom",)
    assert [c.name for c in manifest.classes] == ["mild", "medium", "severe"]
    found = {m.name: m.value for m in manifest.metrics}
    assert found["balanced_accuracy"] >= 0.8


@pytest.mark.parametrize("name", ["pneumonia-slim", "severity-phantom"])
def test_references_are_averages(name: str) -> None:
    """An average of 50 films and more has lost the grain and edges that every single film has."""
    background = load(default_model_dir() / name).background().astype(np.float32)
    assert background.shape == (8, 224, 224)
    grain = np.abs(np.diff(background, 2, axis=-1)).mean((1, 2))
    spread = background.std((1, 2))
    assert float((grain / spread).max()) < 0.03


def test_no_bundle_that_ships_holds_films_of_patients() -> None:
    shipped = discover(default_model_dir())
    assert len(shipped) >= 2
    for bundle in shipped.values():
        manifest = bundle.manifest
        recipe = manifest.background_recipe
        if recipe is None:  # written before recipes were: the words say it, and the pixels above
            assert "k-means centroids" in manifest.background_description
            continue
        assert not recipe.holds_patient_films
        assert recipe.strategy != "kmedoids"
        if "patient" in manifest.intended_use.subjects and recipe.strategy != "synthetic":
            assert recipe.smallest >= MINIMUM


def test_starter_bundles_keep_their_digests_when_they_are_written_again() -> None:
    """A field that joins the manifest must not change what older bundles are called."""
    for bundle in discover(default_model_dir()).values():
        assert seal(bundle.manifest.model_dump(mode="json")).digest == bundle.digest
