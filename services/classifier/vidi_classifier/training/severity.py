"""severity-phantom: mild, medium and severe, learned from synthetic films (the classes of the paper's scenario 3)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from vidi.background import Films, from_films
from vidi.bundle import Bundle, write_bundle
from vidi.imaging.preprocess import Preprocessing
from vidi.manifest import Code, IntendedUse, ModelClass, PreprocessingSpec, SplitRule
from vidi.models.save import compact_state
from vidi.phantoms import PhantomSpec, cohort_specs, make
from vidi.phantoms.film import SMALL
from vidi_classifier.training.augment import Augmentation
from vidi_classifier.training.fit import Precision, fit
from vidi_classifier.training.grids import Grids, LabelledGrids
from vidi_classifier.training.module import Schedule

NAME = "severity-phantom"
CLASSES = (
    ModelClass(name="mild", code=Code(value="255604002", scheme="SCT", meaning="Mild")),
    ModelClass(name="medium", code=Code(value="6736007", scheme="SCT", meaning="Moderate")),
    ModelClass(name="severe", code=Code(value="24484000", scheme="SCT", meaning="Severe")),
)
# Cohort seeds of the three parts: cohorts of different seeds share no phantom. The demo and the tests use others.
TRAINING_SEED, VALIDATION_SEED, HELD_OUT_SEED = 9001, 9002, 9003
SPLIT = SplitRule(
    description=(
        f"By cohort of vidi.phantoms: seed {TRAINING_SEED} for training, {VALIDATION_SEED} for validation (choice of "
        f"the epoch, temperature), {HELD_OUT_SEED} held out. No film of a patient was used."
    ),
    held_out_percent=100,
    validation_percent=0,
)
USE = IntendedUse(
    statement=(
        "Demonstrations and tests on ViDi's own phantoms: how much of the lungs synthetic opacities cover. It learned "
        "from drawings and knows nothing about patients. Not for diagnosis."
    ),
    modalities=("CR", "DX"),
    views=("PA", "AP"),
    source_population="Synthetic chest films drawn by vidi.phantoms; no patients",
    content_qualification="RESEARCH",
    subjects=("phantom",),
)


def phantoms(
    count: int, seed: int, preprocessing: Preprocessing, *, side: int = SMALL, threads: int = 2
) -> LabelledGrids:
    """Draw a cohort of phantoms on a model's grid, with a progress bar.

    Parameters
    ----------
    count
        Films; the three severities are equally frequent.
    seed
        The cohort's seed; every phantom is its own group.
    preprocessing
        Of the model.
    side
        Height and width of the films before they are resized, in pixels.
    threads
        Phantoms drawn at a time.
    """
    names = [c.name for c in CLASSES]
    specs = cohort_specs(count, seed, height=side, width=side)

    def draw(spec: PhantomSpec) -> Grids:
        grid, _ = preprocessing.to_grid(make(spec).grey())
        return np.round(grid * 255.0).astype(np.uint8)

    with ThreadPoolExecutor(threads) as pool:
        drawn = track(pool.map(draw, specs), f"drawing {count} phantoms", total=count, console=Console(stderr=True))
        grids = np.stack(list(drawn))
    labels = np.array([names.index(spec.severity) for spec in specs], np.int64)
    return LabelledGrids(grids, labels, tuple(str(spec.seed) for spec in specs), {})


def train(
    output: Path,
    *,
    version: str,
    schedule: Schedule,
    films: int = 900,
    width: float = 0.25,
    seed: int = 0,
    precision: Precision = "auto",
    report: Callable[[str], None],
    progress: bool = True,
) -> Bundle:
    """Train and write the bundle, without metrics.

    Parameters
    ----------
    output
        The bundle's directory.
    version
        The bundle's version.
    films
        Training phantoms, at least 400 (8 references of at least 50); a quarter as many are drawn for validation.
    schedule, width, seed, precision, progress
        See `vidi_classifier.training.fit.fit`.
    report
        Gets lines for people.
    """
    preprocessing = Preprocessing()
    training = phantoms(films, TRAINING_SEED, preprocessing)
    validation = phantoms(films // 4, VALIDATION_SEED, preprocessing)
    films_seen = Films(training.grids, training.labels, tuple(c.name for c in CLASSES), patients=False)
    references = from_films("kmeans", films_seen, seed=seed)
    report(f"training: {films} phantoms, validation: {films // 4}")
    report(f"references: {references.description}")
    fitted = fit(
        training,
        validation,
        num_classes=len(CLASSES),
        width=width,
        preprocessing=preprocessing,
        schedule=schedule,
        augmentation=Augmentation(gamma=0.25, contrast=0.2, brightness=0.08),
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
            "training_data": f"{films} synthetic chest films (vidi.phantoms, cohort seed {TRAINING_SEED})",
            "training_data_licence": "Apache-2.0 (drawn by this project)",
            "split": SPLIT,
            **references.fields,
            "calibrated": True,
            "temperature": fitted.temperature,
        },
    )
