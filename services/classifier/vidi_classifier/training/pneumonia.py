"""pneumonia-slim: normal against pneumonia, learned from the paediatric films of Kermany et al."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidi.background import Films, from_films
from vidi.bundle import Bundle, write_bundle
from vidi.errors import InvalidInput
from vidi.imaging.preprocess import Preprocessing
from vidi.manifest import Code, IntendedUse, ModelClass, PreprocessingSpec, SplitRule
from vidi.models.save import compact_state
from vidi_classifier.films import LabelledFilm, divide, read_films
from vidi_classifier.training.augment import Augmentation
from vidi_classifier.training.fit import Precision, fit
from vidi_classifier.training.grids import Grids, LabelledGrids, read_grids
from vidi_classifier.training.module import Schedule

NAME = "pneumonia-slim"
CLASSES = (
    # A model's class is no finding: "normal" is no coded absence of disease.
    ModelClass(
        name="normal", code=Code(value="MODEL_NORMAL", scheme="99VIDI", meaning="Model favours its class 'normal'")
    ),
    ModelClass(name="pneumonia", code=Code(value="233604007", scheme="SCT", meaning="Pneumonia")),
)
SPLIT = SplitRule(
    description=(
        "By patient. Held out: every patient with a film in the published test part (kaggle_split = test), and 20 % of "
        "the others by a hash of the patient id; validation (choice of the epoch, temperature): 10 %; training: the "
        "rest."
    ),
    datasets=("kermany",),
    salt="vidi/pneumonia-slim/1:",
    held_out_percent=20,
    validation_percent=10,
    held_out_column="kaggle_split",
    held_out_value="test",
)
USE = IntendedUse(
    statement=(
        "Research and teaching: shows which parts of a frontal chest film speak for or against pneumonia to a network "
        "that learned from children aged 1 to 5 of one hospital. Not for diagnosis."
    ),
    age_min_years=1.0,
    age_max_years=5.0,
    modalities=("CR", "DX"),
    views=("AP",),
    source_population=(
        "Children aged 1 to 5, Guangzhou Women and Children's Medical Center, Guangzhou, China; AP films of routine "
        "care"
    ),
    content_qualification="RESEARCH",
    subjects=("patient",),
)
TRAINING_DATA = (
    "Chest X-Ray Images (Pneumonia): D. Kermany, K. Zhang, M. Goldbaum, Labeled Optical Coherence Tomography (OCT) and "
    "Chest X-Ray Images for Classification, Mendeley Data, 2018, doi 10.17632/rscbjbr9sj"
)
LICENCE = (
    "CC BY 4.0 (attribution: Kermany, Zhang, Goldbaum 2018, Mendeley Data rscbjbr9sj; changed: only weights and "
    "averages of at least 50 films are given on)"
)


def train(
    data: Path,
    output: Path,
    *,
    version: str,
    schedule: Schedule,
    width: float = 0.25,
    seed: int = 0,
    precision: Precision = "auto",
    report: Callable[[str], None],
    progress: bool = True,
) -> Bundle:
    """Train and write the bundle, without metrics.

    Parameters
    ----------
    data
        Directory with manifest.csv and images/, see `vidi_classifier.films`.
    output
        The bundle's directory.
    version
        The bundle's version.
    schedule, width, seed, precision, progress
        See `vidi_classifier.training.fit.fit`.
    report
        Gets lines for people.

    Raises
    ------
    InvalidInput
        When `data` holds too few films.
    """
    preprocessing = Preprocessing()
    films = [film for film in read_films(data, "pneumonia") if film.dataset in SPLIT.datasets]
    parts = divide(films, SPLIT)
    chosen = {part: [f for f, p in zip(films, parts, strict=True) if p == part] for part in ("training", "validation")}
    held_out = {f.patient_id for f, p in zip(films, parts, strict=True) if p == "held_out"}
    if any(film.patient_id in held_out for part in chosen.values() for film in part):
        raise InvalidInput("a patient stands on both sides of the split")
    for part, members in chosen.items():
        if len({film.label for film in members}) < len(CLASSES):
            raise InvalidInput(f"{data}: the {part} part lacks a class", field="data")
        report(f"{part}: {len(members)} films of {len({f.patient_id for f in members})} patients")
    training = _grids(chosen["training"], preprocessing, "training films")
    validation = replace(_grids(chosen["validation"], preprocessing, "validation films"), variants={})
    films_seen = Films(training.grids, training.labels, tuple(c.name for c in CLASSES), patients=True)
    references = from_films("kmeans", films_seen, seed=seed)
    report(f"references: {references.description}")
    fitted = fit(
        training,
        validation,
        num_classes=len(CLASSES),
        width=width,
        preprocessing=preprocessing,
        schedule=schedule,
        augmentation=Augmentation(),
        seed=seed,
        precision=precision,
        report=report,
        progress=progress,
    )
    report(f"temperature {fitted.temperature:.3f}")
    return write_bundle(
        output,
        state=compact_state(fitted.network),
        background=references.images,
        fields={
            "name": NAME,
            "version": version,
            "arch": "vgg19_bn",
            "width": width,
            "batch_norm": True,
            "head": "gap",
            "classes": CLASSES,
            "preprocessing": PreprocessingSpec.of(preprocessing),
            "intended_use": USE,
            "training_data": TRAINING_DATA,
            "training_data_licence": LICENCE,
            "split": SPLIT,
            **references.fields,
            "calibrated": True,
            "temperature": fitted.temperature,
        },
    )


def _grids(films: list[LabelledFilm], preprocessing: Preprocessing, what: str) -> LabelledGrids:
    """Read films at their own aspect, and as a variant those that also exist squashed."""
    names = [c.name for c in CLASSES]
    both = [i for i, film in enumerate(films) if film.squashed_path != film.path]
    grids = read_grids([film.path for film in films], preprocessing, what=what)
    squashed = read_grids([films[i].squashed_path for i in both], preprocessing, what=f"{what}, squashed")
    variants: dict[int, Grids] = dict(zip(both, squashed, strict=True))
    labels = np.array([names.index(film.label) for film in films], np.int64)
    return LabelledGrids(grids, labels, tuple(film.patient_id for film in films), variants)
