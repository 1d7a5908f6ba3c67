"""`vidi background`: other references for a copy of a bundle, made of the films that its model learned from."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from vidi.background import from_phantoms
from vidi.bundle import Bundle, load, update_manifest
from vidi.errors import InvalidInput, NotFound, PreconditionFailed
from vidi.imaging.encoded import decode_encoded
from vidi.manifest import SplitRule
from vidi.models.tiny import SEVERITIES, write_tiny_bundle
from vidi.settings import default_model_dir
from vidi_classifier.background import rewrite, training_films, training_phantoms
from vidi_classifier.cli import register

RULE = SplitRule(description="test", datasets=("ours",), salt="s", held_out_percent=20, validation_percent=10)


def run(*arguments: str) -> Any:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["background", *arguments])


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A model of patients that was trained on the films of `data`, with a map scale."""
    tiny = write_tiny_bundle(tmp_path / "models" / "tiny", "tiny", references=2, size=64)
    return update_manifest(tiny.path, split=RULE, map_scale=0.25)


@pytest.fixture
def phantom_bundle(tmp_path: Path) -> Bundle:
    return write_tiny_bundle(
        tmp_path / "phantoms" / "tiny", "tiny", SEVERITIES, subject="phantom", references=2, size=64
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """200 films of two kinds, one of each of 100 patients; every tenth patient is of another data set."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("file", "label", "patient_id", "dataset"))
        writer.writeheader()
        for i in range(200):
            rng = np.random.default_rng(i)
            half = np.zeros((64, 64))
            half[:, (i % 2) * 32 :][:, :32] = 0.5
            pixels = ((half + 0.5 * gaussian_filter(rng.random((64, 64)), 2)) * 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
            label = ("normal", "pneumonia_viral")[i // 2 % 2]
            dataset = "theirs" if i // 2 % 10 == 0 else "ours"
            writer.writerow({"file": f"{i}.png", "label": label, "patient_id": f"p{i // 2}", "dataset": dataset})
    return folder


def test_a_copy_gets_other_references_and_no_map_scale(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "copies" / "tiny"
    done = run("--model", "tiny", "--model-dir", str(tmp_path / "models"), "--data", str(data), "--count", "2")
    assert done.exit_code == 2, "neither --output nor --in-place"
    words = ("--model", "tiny", "--model-dir", str(tmp_path / "models"), "--data", str(data), "--count", "2")
    done = run(*words, "--output", str(output))
    assert done.exit_code == 0, done.output
    copy = load(output)
    recipe = copy.manifest.background_recipe
    assert recipe is not None
    assert (recipe.strategy, recipe.count, recipe.holds_patient_films) == ("kmeans", 2, False)
    assert recipe.smallest >= 50
    assert copy.manifest.map_scale == 0
    assert copy.version.startswith("0.0.1-bg")
    assert copy.digest != bundle.digest
    assert copy.manifest.weights_sha256 == bundle.manifest.weights_sha256
    assert load(bundle.path).digest == bundle.digest, "the original stays"
    assert "vidi map-scale" in done.output
    assert copy.digest in done.output
    card = (output / "README.md").read_text()
    assert copy.version in card
    assert f"from tiny 0.0.1, {bundle.digest}" in card
    assert "--strategy kmeans --count 2 --data DIR --seed 0" in card
    again = run(*words, "--output", str(tmp_path / "again" / "tiny"))
    assert again.exit_code == 0, again.output
    assert load(tmp_path / "again" / "tiny").digest == copy.digest, "the same seed, the same bundle"


def test_medoids_of_patients_are_marked_and_stay(bundle: Bundle, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "site" / "tiny"
    options = ("--model", "tiny", "--model-dir", str(tmp_path / "models"), "--data", str(data))
    done = run(*options, "--strategy", "kmedoids", "--count", "4", "--output", str(output))
    assert done.exit_code == 0, done.output
    assert "must not leave the site" in done.output
    copy = load(output)
    recipe = copy.manifest.background_recipe
    assert recipe is not None
    assert recipe.holds_patient_films
    assert "THEY SHOW PATIENTS" in copy.manifest.background_description
    assert "NOT TO BE PASSED ON" in copy.manifest.training_data_licence
    seen = training_films(bundle, data)
    for reference, name in zip(copy.background(), recipe.classes, strict=True):
        (index,) = np.flatnonzero((seen.grids == reference).all((1, 2)))
        assert seen.classes[seen.labels[index]] == name


def test_only_films_of_training_patients_are_used(bundle: Bundle, data: Path) -> None:
    found = training_films(bundle, data)
    trained = [
        i
        for i in range(200)
        if i // 2 % 10 and RULE.bucket(f"p{i // 2}") >= 30  # neither held out nor validation
    ]
    assert 0 < len(trained) < 180
    assert len(found.grids) == len(trained)
    for grid, label, i in zip(found.grids, found.labels, trained, strict=True):
        film = decode_encoded((data / "images" / f"{i}.png").read_bytes())
        np.testing.assert_array_equal(grid, np.round(bundle.preprocessing.to_grid(film)[0] * 255))
        assert label == i // 2 % 2
    assert found.patients


def test_films_that_the_model_did_not_learn_from_are_refused(
    bundle: Bundle, phantom_bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    update_manifest(bundle.path, split=RULE.model_copy(update={"datasets": ("others",)}))
    with pytest.raises(InvalidInput, match="no film that tiny was trained on"):
        training_films(load(bundle.path), data)
    with pytest.raises(InvalidInput, match="did not learn from phantoms"):
        training_phantoms(bundle, 4)
    with pytest.raises(InvalidInput, match="severity_class"):
        training_films(phantom_bundle, data)
    classes = (SEVERITIES[0], SEVERITIES[2])
    odd = write_tiny_bundle(tmp_path / "odd", "odd", classes, references=1, size=64)
    with pytest.raises(InvalidInput, match="not labelled with its classes"):
        training_films(odd, data)


def test_phantoms_in_place_and_again(phantom_bundle: Bundle) -> None:
    words = ("--model", "tiny", "--model-dir", str(phantom_bundle.path.parent), "--in-place")
    done = run(*words, "--strategy", "kmedoids", "--phantoms", "6", "--count", "3")
    assert done.exit_code == 0, done.output
    first = load(phantom_bundle.path)
    recipe = first.manifest.background_recipe
    assert recipe is not None
    assert (recipe.count, recipe.holds_patient_films) == (3, False)
    assert first.manifest.training_data_licence == phantom_bundle.manifest.training_data_licence
    done = run(*words, "--strategy", "synthetic", "--count", "2", "--seed", "3")
    assert done.exit_code == 0, done.output
    second = load(phantom_bundle.path)
    assert second.version.count("-bg") == 1, "suffixes do not pile up"
    assert second.version != first.version
    assert second.manifest.background_size == 2


def test_usage_is_checked_before_anything_is_read(tmp_path: Path, bundle: Bundle) -> None:
    options = ("--model", "tiny", "--model-dir", str(tmp_path / "models"), "--output", str(tmp_path / "x"))
    assert run(*options).exit_code == 2, "films are needed"
    assert run(*options, "--in-place", "--phantoms", "3").exit_code == 2
    assert run(*options, "--strategy", "synthetic", "--phantoms", "3").exit_code == 2
    assert run(*options, "--data", str(tmp_path), "--phantoms", "3").exit_code == 2
    assert run(*options, "--strategy", "guesswork", "--phantoms", "3").exit_code == 2
    unknown = run("--model", "nobody", *options[2:], "--strategy", "synthetic")
    assert isinstance(unknown.exception, NotFound)
    assert not (tmp_path / "x").exists()
    assert load(bundle.path).digest == bundle.digest


def test_places_that_would_do_harm_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    references = from_phantoms(bundle.preprocessing, count=1)
    with pytest.raises(PreconditionFailed, match="two bundles of one name"):
        rewrite(bundle, references, tmp_path / "models" / "copy", "command")
    showing = references.recipe.model_copy(update={"holds_patient_films": True})
    shipped = default_model_dir() / "copy"
    with pytest.raises(PreconditionFailed, match="ship with ViDi"):
        rewrite(bundle, type(references)(references.images, showing, "films"), shipped, "command")
    assert not shipped.exists()
    assert not (tmp_path / "models" / "copy").exists()
