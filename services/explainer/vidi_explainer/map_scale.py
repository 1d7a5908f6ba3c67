"""The fixed display scale of a model's maps: one for all films, so that a clear film does not glow like a sick one."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidi.bundle import Bundle
from vidi.errors import InvalidInput
from vidi.imaging.encoded import decode_encoded
from vidi.imaging.overlay import SIGMA, smooth
from vidi.manifest import SplitRule
from vidi.phantoms import cohort
from vidi_explainer.engine import Engine
from vidi_explainer.targets import Target

MANIFEST = "manifest.csv"
PERCENTILE = 99.5
#: Seed of the phantoms that a scale is measured on; models are trained and tested on cohorts of other seeds.
PHANTOM_SEED = 9101

Film = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scale:
    """What was measured.

    Attributes
    ----------
    value
        Half-width of the colour scale in logits per pixel of the model's grid.
    films
        Number of films.
    worst_residual
        Largest additivity residual of all classes and films.
    """

    value: float
    films: int
    worst_residual: float


def measure(engine: Engine, bundle: Bundle, films: Iterable[Film]) -> Scale:
    """Measure the 99.5th percentile of |map| after the display smoothing, over all classes and films.

    Parameters
    ----------
    engine
        Explains the bundle's model.
    films
        Grey films (height, width) in 0..1.

    Raises
    ------
    InvalidInput
        When there is no film, or the model's output does not depend on them.
    """
    magnitudes: list[Film] = []
    count, worst = 0, 0.0
    for film in films:
        grid, _ = bundle.preprocessing.to_grid(film)
        outputs = engine.explain(grid, Target()).outputs
        count, worst = count + 1, max(worst, *(output.additivity_residual for output in outputs))
        magnitudes.extend(np.abs(smooth(output.map, SIGMA)).astype(np.float32) for output in outputs)
    scale = float(np.percentile(np.stack(magnitudes), PERCENTILE)) if magnitudes else 0.0
    if scale <= 0.0:
        raise InvalidInput("no film gave an attribution: the scale cannot be measured", field="films")
    return Scale(scale, count, worst)


def unseen_films(data: Path, rule: SplitRule, count: int) -> list[Path]:
    """Choose films of patients that a model was not trained on, one a patient, spread evenly by a hash of their names.

    Parameters
    ----------
    data
        Directory with manifest.csv (columns `file`, `patient_id`, `dataset`; `native_file` is preferred to `file`) and
        images/.
    rule
        How the model's patients were divided.
    count
        Number of films.

    Raises
    ------
    InvalidInput
        When the manifest is missing or lacks a column, or there are too few such patients.
    """
    file = data / MANIFEST
    if not file.is_file():
        raise InvalidInput(f"{file}: missing (a directory with {MANIFEST} and images/ is needed)", field="data")
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = sorted({"file", "patient_id", "dataset"} - set(reader.fieldnames or ()))
        if missing:
            raise InvalidInput(f"{file}: lacks the columns {', '.join(missing)}", field="data")
        rows = list(reader)
    kept = rule.held_out_percent + rule.validation_percent
    by_patient: dict[str, str] = {}
    for row in rows:
        patient = row["patient_id"] or row["file"]
        if row["dataset"] in rule.datasets and rule.bucket(patient) < kept:
            name = row.get("native_file") or row["file"]
            by_patient[patient] = min(by_patient.get(patient, name), name, key=_order)
    names = sorted(by_patient.values(), key=_order)
    if len(names) < count:
        raise InvalidInput(
            f"{file}: {len(names)} patients of {', '.join(rule.datasets) or 'no data set'} that the model was not "
            f"trained on, {count} are needed",
            field="data",
        )
    return [_inside(data / "images", name) for name in names[:count]]


def read_films(paths: Iterable[Path]) -> Iterator[Film]:
    """Read PNG or JPEG files as grey films, one at a time (UnreadableImage)."""
    for path in paths:
        yield decode_encoded(path.read_bytes())


def phantom_films(count: int) -> Iterator[Film]:
    """Draw mild, medium and severe phantoms alike."""
    for phantom in cohort(count, PHANTOM_SEED):
        yield phantom.grey()


def _order(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _inside(images: Path, name: str) -> Path:
    if not name or Path(name).name != name:
        raise InvalidInput(f"{MANIFEST}: {name!r} is not a file name inside images/", field="data")
    return images / name
