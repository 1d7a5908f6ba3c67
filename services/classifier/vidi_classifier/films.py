"""Labelled films on disk: manifest.csv, what a task takes as truth, and which patients a model has seen."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidi.errors import InvalidInput
from vidi.manifest import SplitRule

Task = Literal["pneumonia", "covid", "severity"]
Part = Literal["training", "validation", "held_out", "unseen"]
MANIFEST = "manifest.csv"
TASK_CLASSES: Mapping[Task, tuple[str, ...]] = {
    "pneumonia": ("normal", "pneumonia"),
    "covid": ("normal", "covid"),
    "severity": ("mild", "medium", "severe"),
}


@dataclass(frozen=True)
class LabelledFilm:
    """One row of manifest.csv that a task can use.

    Attributes
    ----------
    path
        The image at its own aspect where there is one, else the other.
    squashed_path
        The image in the column `file`; equal to `path` where there is no other.
    label
        The task's class.
    patient_id
        Groups the films of one patient.
    dataset
        Column `dataset`.
    row
        All columns.
    """

    path: Path
    squashed_path: Path
    label: str
    patient_id: str
    dataset: str
    row: Mapping[str, str]


def read_films(data: Path, task: Task, dataset: str = "") -> list[LabelledFilm]:
    """Read the films of a task.

    Parameters
    ----------
    data
        Directory with manifest.csv and images/.
    task
        "pneumonia": label "normal" against "pneumonia...": "covid": "covid" against "normal"; "severity": the column
        `severity_class`. Rows without such a label are left out.
    dataset
        Takes only films of this data set; empty: all.

    Raises
    ------
    InvalidInput
        When the manifest is missing or lacks a column, or no film is left.
    """
    file = data / MANIFEST
    if not file.is_file():
        raise InvalidInput(f"{file}: missing (a directory with {MANIFEST} and images/ is needed)", field="data")
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        needed = {"file", "label", "patient_id"} | ({"severity_class"} if task == "severity" else set())
        missing = sorted(needed - set(reader.fieldnames or ()))
        if missing:
            raise InvalidInput(f"{file}: lacks the columns {', '.join(missing)}", field="data")
        rows = [{key: value or "" for key, value in row.items() if key is not None} for row in reader]
    films = [_film(data, row, label) for row in rows if (label := _label(row, task))]
    films = [film for film in films if not dataset or film.dataset == dataset]
    if not films:
        raise InvalidInput(
            f"{file}: no film for the task {task!r}" + (f" in {dataset!r}" if dataset else ""), field="data"
        )
    return films


def divide(films: Sequence[LabelledFilm], rule: SplitRule) -> list[Part]:
    """Say for every film on which side of a model's split its patient was.

    A patient whose films carry the held-out value only outside `films` counts as trained on: the safe mistake.
    """
    flagged = _flagged(films, rule)
    return [_part(film, rule, flagged) for film in films]


def _flagged(films: Iterable[LabelledFilm], rule: SplitRule) -> set[str]:
    if not rule.held_out_column:
        return set()
    return {f.patient_id for f in films if f.row.get(rule.held_out_column, "") == rule.held_out_value}


def _part(film: LabelledFilm, rule: SplitRule, flagged: set[str]) -> Part:
    if film.dataset not in rule.datasets:
        return "unseen"
    bucket = rule.bucket(film.patient_id)
    if film.patient_id in flagged or bucket < rule.held_out_percent:
        return "held_out"
    return "validation" if bucket < rule.held_out_percent + rule.validation_percent else "training"


def _film(data: Path, row: Mapping[str, str], label: str) -> LabelledFilm:
    images = data / "images"
    squashed = _inside(images, row["file"])
    native = row.get("native_file", "")
    path = _inside(images, native) if native else squashed
    return LabelledFilm(path, squashed, label, row["patient_id"] or row["file"], row.get("dataset", ""), row)


def _inside(images: Path, name: str) -> Path:
    if not name or Path(name).name != name:
        raise InvalidInput(f"{MANIFEST}: {name!r} is not a file name inside images/", field="data")
    return images / name


def _label(row: Mapping[str, str], task: Task) -> str:
    """The row's class in a task, or "" when the task leaves it out."""
    if task == "severity":
        value = row["severity_class"]
        return value if value in TASK_CLASSES["severity"] else ""
    label = row["label"]
    if label == "normal":
        return "normal"
    if task == "pneumonia":
        return "pneumonia" if label.startswith("pneumonia") else ""
    return "covid" if label == "covid" else ""
