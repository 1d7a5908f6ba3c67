"""Which films a task takes, and on which side of a split a patient stands."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from vidi.errors import InvalidInput
from vidi.manifest import SplitRule
from vidi_classifier.evaluation import select
from vidi_classifier.films import divide, read_films

COLUMNS = ("file", "native_file", "label", "dataset", "severity_class", "patient_id", "kaggle_split")
RULE = SplitRule(
    description="test",
    datasets=("kermany",),
    salt="x:",
    held_out_percent=20,
    validation_percent=10,
    held_out_column="kaggle_split",
    held_out_value="test",
)


def write(data: Path, rows: list[dict[str, str]]) -> Path:
    with (data / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return data


def row(number: int, **more: str) -> dict[str, str]:
    base = {"file": f"{number}.jpg", "label": "normal", "dataset": "kermany", "patient_id": f"p{number}"}
    return base | {"kaggle_split": "train"} | more


def test_tasks_take_their_labels(tmp_path: Path) -> None:
    labels = ["normal", "pneumonia", "pneumonia_viral", "covid", "other", ""]
    write(tmp_path, [row(i, label=label, severity_class="mild" if i == 4 else "") for i, label in enumerate(labels)])
    assert [f.label for f in read_films(tmp_path, "pneumonia")] == ["normal", "pneumonia", "pneumonia"]
    assert [f.label for f in read_films(tmp_path, "covid")] == ["normal", "covid"]
    assert [(f.label, f.row["file"]) for f in read_films(tmp_path, "severity")] == [("mild", "4.jpg")]


def test_the_film_at_its_own_aspect_is_preferred(tmp_path: Path) -> None:
    write(tmp_path, [row(0, native_file="n.jpg"), row(1)])
    first, second = read_films(tmp_path, "pneumonia")
    assert (first.path.name, first.squashed_path.name) == ("n.jpg", "0.jpg")
    assert second.path == second.squashed_path == tmp_path / "images" / "1.jpg"


def test_one_data_set_alone(tmp_path: Path) -> None:
    write(tmp_path, [row(0), row(1, dataset="other")])
    assert [f.dataset for f in read_films(tmp_path, "pneumonia", "other")] == ["other"]
    with pytest.raises(InvalidInput, match="no film"):
        read_films(tmp_path, "pneumonia", "third")


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "a/b.jpg", ""])
def test_a_manifest_cannot_point_outside_its_images(tmp_path: Path, name: str) -> None:
    write(tmp_path, [row(0, file=name)])
    with pytest.raises(InvalidInput, match="file name"):
        read_films(tmp_path, "pneumonia")


def test_a_missing_manifest_or_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="missing"):
        read_films(tmp_path, "pneumonia")
    (tmp_path / "manifest.csv").write_text("file,label\n1.jpg,normal\n")
    with pytest.raises(InvalidInput, match="patient_id"):
        read_films(tmp_path, "pneumonia")


def test_patients_never_stand_on_two_sides(tmp_path: Path) -> None:
    rows = [row(i, patient_id=f"p{i % 300}", kaggle_split="test" if i % 37 == 0 else "train") for i in range(900)]
    films = read_films(write(tmp_path, rows), "pneumonia")
    parts = divide(films, RULE)
    sides: dict[str, set[str]] = {}
    for film, part in zip(films, parts, strict=True):
        sides.setdefault(film.patient_id, set()).add(part)
    assert all(len(s) == 1 for s in sides.values())
    held_out = {p for p, s in sides.items() if s == {"held_out"}}
    assert {f.patient_id for f in films if f.row["kaggle_split"] == "test"} <= held_out
    unflagged = [p for p in sides if not any(f.patient_id == p and f.row["kaggle_split"] == "test" for f in films)]
    assert 0.12 < sum(p in held_out for p in unflagged) / len(unflagged) < 0.28


def test_evaluation_leaves_out_training_and_validation_patients(tmp_path: Path) -> None:
    rows = [row(i) for i in range(200)] + [row(200 + i, dataset="elsewhere") for i in range(10)]
    films = read_films(write(tmp_path, rows), "pneumonia")
    selection = select(films, RULE)
    assert set(selection.parts) == {"held_out", "unseen"}
    assert sum(p == "unseen" for p in selection.parts) == 10
    assert selection.left_out == 210 - len(selection.films) > 100
    everything = select(films, RULE, include_trained=True)
    assert (len(everything.films), everything.left_out) == (210, 0)


def test_a_patient_in_a_trained_and_an_unseen_data_set_is_a_leak(tmp_path: Path) -> None:
    films = read_films(write(tmp_path, [row(i) for i in range(40)]), "pneumonia")
    trained = next(f.patient_id for f, p in zip(films, divide(films, RULE), strict=True) if p == "training")
    rows = [row(i) for i in range(40)] + [row(99, patient_id=trained, dataset="elsewhere")]
    with pytest.raises(InvalidInput, match="both sides"):
        select(read_films(write(tmp_path, rows), "pneumonia"), RULE)
