"""The fixed display scale: measured on films that the model was not trained on, written into the bundle."""

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

from vidi.bundle import Bundle, load, write_bundle
from vidi.errors import InvalidInput, NotFound
from vidi.manifest import SplitRule
from vidi.models.tiny import write_tiny_bundle
from vidi_explainer.cli import register
from vidi_explainer.map_scale import measure, unseen_films
from vidi_explainer.targets import Target

RULE = SplitRule(description="test", datasets=("ours",), salt="s", held_out_percent=30, validation_percent=10)


def run(*arguments: str) -> Any:
    app = typer.Typer()
    register(app)
    app.command("other")(lambda: None)  # one command alone would lose its name
    return CliRunner().invoke(app, ["map-scale", *arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """80 films of 40 patients, half of them of a data set that the rule does not divide."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("file", "native_file", "patient_id", "dataset"))
        writer.writeheader()
        for i in range(80):
            rng = np.random.default_rng(i)
            pixels = (gaussian_filter(rng.random((72, 80)), 3) * 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"native{i}.png")
            dataset = "ours" if i % 4 < 2 else "theirs"
            row = {"file": f"{i}.png", "native_file": f"native{i}.png", "patient_id": f"p{i // 2}", "dataset": dataset}
            writer.writerow(row)
    return folder


def test_scale_is_the_percentile_over_all_classes_and_films(bundle: Bundle, linear: Any) -> None:
    films = [np.random.default_rng(i).random((64, 64), dtype=np.float32) for i in range(3)]
    scale = measure(linear, bundle, films)
    maps = [o.map.astype(np.float64) for film in films for o in linear.explain(film, Target()).outputs]
    smoothed = np.abs([gaussian_filter(m, 4.0, mode="reflect") for m in maps])
    assert scale.value == pytest.approx(np.percentile(smoothed, 99.5), rel=1e-4)
    assert scale.films == 3
    assert scale.worst_residual < 1e-6


def test_no_films_no_scale(bundle: Bundle, linear: Any) -> None:
    with pytest.raises(InvalidInput):
        measure(linear, bundle, [])


def test_films_are_of_patients_not_trained_on(data: Path) -> None:
    chosen = unseen_films(data, RULE, 5)
    assert len(set(chosen)) == 5
    patients = [int(path.stem.removeprefix("native")) // 2 for path in chosen]
    assert len(set(patients)) == 5, "one a patient"
    assert all(patient % 2 == 0 for patient in patients), "of the data set that the rule divides"
    assert all(RULE.bucket(f"p{patient}") < 40 for patient in patients)
    assert chosen == unseen_films(data, RULE, 6)[:5], "a choice that more films only extend"


def test_too_few_films_and_a_broken_manifest_are_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="1000 are needed"):
        unseen_films(data, RULE, 1000)
    with pytest.raises(InvalidInput, match=r"manifest\.csv: missing"):
        unseen_films(tmp_path, RULE, 1)
    (data / "manifest.csv").write_text("file,label\na.png,normal\n")
    with pytest.raises(InvalidInput, match="lacks the columns dataset, patient_id"):
        unseen_films(data, RULE, 1)
    (data / "manifest.csv").write_text("file,patient_id,dataset\n../../secret.png,p0,ours\n")
    rule = RULE.model_copy(update={"held_out_percent": 100})
    with pytest.raises(InvalidInput, match="not a file name"):
        unseen_films(data, rule, 1)


def test_command_writes_the_scale_into_the_bundle(tmp_path: Path) -> None:
    before = write_tiny_bundle(tmp_path / "models" / "tiny", "tiny", references=1, size=64)
    assert before.manifest.map_scale == 0
    options = ("--model", "tiny", "--phantoms", "2", "--model-dir", str(tmp_path / "models"))
    tried = run(*options, "--dry-run")
    assert tried.exit_code == 0, tried.output
    assert load(before.path).digest == before.digest
    done = run(*options)
    assert done.exit_code == 0, done.output
    after = load(before.path)
    assert after.manifest.map_scale > 0
    assert f"map scale {after.manifest.map_scale:.4g} logits a pixel over 2 films" in done.output
    assert after.digest != before.digest
    assert after.manifest.weights_sha256 == before.manifest.weights_sha256


def test_command_takes_unseen_films_of_a_folder(tmp_path: Path, data: Path) -> None:
    tiny = write_tiny_bundle(tmp_path / "models" / "tiny", "tiny", references=2, size=64)
    fields = {**tiny.manifest.model_dump(mode="json", exclude={"digest"}), "split": RULE}
    for derived in ("weights_sha256", "background_sha256", "background_size"):
        del fields[derived]
    write_bundle(tiny.path, state=tiny.state(), background=tiny.background(), fields=fields)
    done = run("--model", "tiny", "--data", str(data), "--films", "3", "--model-dir", str(tmp_path / "models"))
    assert done.exit_code == 0, done.output
    assert "over 3 films" in done.output
    assert load(tiny.path).manifest.map_scale > 0


def test_command_wants_one_source_and_a_model_that_exists(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny", "tiny", references=1, size=64)
    assert run("--model", "tiny", "--model-dir", str(tmp_path)).exit_code == 2
    unknown = run("--model", "nobody", "--phantoms", "1", "--model-dir", str(tmp_path))
    assert isinstance(unknown.exception, NotFound)
