"""`vidi evaluate` from the command line, through a served model, on films with a manifest."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from vidi.bundle import discover, update_manifest
from vidi.models.tiny import SEVERITIES, write_tiny_bundle
from vidi_classifier.cli import register

METRICS = ("accuracy", "balanced_accuracy", "auroc", "f1", "precision", "recall", "ece")
COLUMNS = ("file", "native_file", "label", "dataset", "severity_class", "severity_opacity_mean", "patient_id", "part")


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """The command logs to the standard error of its runner, which is gone afterwards."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    write_tiny_bundle(directory / "two", "two", size=64)
    write_tiny_bundle(directory / "three", "three", SEVERITIES, size=64)
    split = {
        "description": "test",
        "datasets": ["home"],
        "held_out_percent": 30,
        "validation_percent": 10,
        "held_out_column": "part",
        "held_out_value": "test",
    }
    update_manifest(directory / "two", split=split)
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 films of 40 patients of "home", 20 of "abroad"."""
    directory = tmp_path_factory.mktemp("data")
    (directory / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for i in range(100):
        name = f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8)).save(directory / "images" / name)
        home = i < 80
        rows.append(
            {
                "file": name,
                "label": ("normal", "pneumonia_viral")[i % 2],
                "dataset": "home" if home else "abroad",
                "severity_class": ("mild", "medium", "severe")[i % 3],
                "severity_opacity_mean": str(i % 3),
                "patient_id": f"{'home' if home else 'abroad'}-{i // 2}",
                "part": "test" if i % 16 == 0 and home else "train",
            }
        )
    with (directory / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return directory


def evaluate(models: Path, *words: str | Path) -> Result:
    app = typer.Typer()
    register(app)
    environment = {"VIDI_MODEL_DIR": str(models)}
    return CliRunner().invoke(app, ["evaluate", "--resamples", "30", *map(str, words)], env=environment)


def test_patients_trained_on_are_left_out(models: Path, data: Path) -> None:
    done = evaluate(models, "--model", "two", "--data", data, "--task", "pneumonia", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["n"] + found["left_out"] == 100
    assert 20 < found["n"] < 80
    assert found["digest"] == discover(models)["two"].digest
    assert (found["positive"], found["failed"]) == ("pneumonia", 0)
    assert sum(found["classes"].values()) == found["n"]
    assert sum(n for row in found["confusion"].values() for n in row.values()) == found["n"]
    for name in METRICS:
        low, high = found[f"{name}_ci"]
        assert 0.0 <= low <= high <= 1.0
        assert 0.0 <= found[name] <= 1.0
    everything = evaluate(
        models,
        "--model",
        "two",
        "--data",
        data,
        "--task",
        "pneumonia",
        "--json",
        "--include-trained",
        "--dataset",
        "home",
    )
    found = json.loads(everything.stdout)
    assert (found["n"], found["patients"], found["left_out"]) == (80, 40, 0)


def test_severity_is_measured_over_classes(models: Path, data: Path) -> None:
    done = evaluate(models, "--model", "three", "--data", data, "--task", "severity", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["n"], found["left_out"], found["positive"]) == (100, 0, "mean over classes")
    assert -1.0 <= found["opacity_spearman"] <= 1.0
    assert set(METRICS) <= set(found["mild_against_rest"])


def test_a_film_that_cannot_be_read_is_said_and_counted(models: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for file in (data / "images").iterdir():
        (tmp_path / "images" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "manifest.csv").write_bytes((data / "manifest.csv").read_bytes())
    (tmp_path / "images" / "99.png").write_bytes(b"no picture")
    (tmp_path / "images" / "98.png").unlink()
    done = evaluate(
        models, "--model", "two", "--data", tmp_path, "--task", "pneumonia", "--dataset", "abroad", "--json"
    )
    assert done.exit_code == 3, done.output
    found = json.loads(done.stdout)
    assert (found["n"], found["failed"]) == (18, 2)
    assert "99.png" in done.stderr


def test_a_table_for_people(models: Path, data: Path) -> None:
    done = evaluate(models, "--model", "two", "--data", data, "--task", "pneumonia", "--dataset", "abroad")
    assert done.exit_code == 0
    assert "balanced_accuracy" in done.stdout
    assert "20 films of 10 patients" in done.stdout


def test_a_model_without_the_tasks_classes_says_so(models: Path, data: Path) -> None:
    done = evaluate(models, "--model", "three", "--data", data, "--task", "pneumonia", "--json")
    assert done.exit_code == 1
    assert "no class normal, pneumonia" in str(done.exception)
    assert "no model named 'four'" in str(
        evaluate(models, "--model", "four", "--data", data, "--task", "covid").exception
    )
