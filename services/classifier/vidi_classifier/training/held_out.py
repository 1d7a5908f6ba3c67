"""Measure a finished bundle on the films that its training left out, and write that into its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from vidi.bundle import Bundle, update_manifest
from vidi.imaging.encoded import decode_encoded
from vidi.manifest import Metric
from vidi_classifier.engine import Engine
from vidi_classifier.evaluation import as_metrics, select, summarise
from vidi_classifier.films import Task, read_films
from vidi_classifier.metrics import Answers, intervals, measure
from vidi_classifier.training.card import card
from vidi_classifier.training.severity import HELD_OUT_SEED, phantoms


def measure_films(bundle: Bundle, data: Path, task: Task) -> dict[str, Any]:
    """Evaluate on the held-out films of the data sets that the bundle was trained on; see `vidi evaluate`."""
    rule = bundle.manifest.split
    films = [film for film in read_films(data, task) if film.dataset in rule.datasets]
    selection = select(films, rule)
    engine = Engine({bundle.name: bundle}, bundle.name)
    probabilities = [
        engine.classify(bundle, decode_encoded(film.path.read_bytes())).probabilities
        for film in track(selection.films, "held-out films", console=Console(stderr=True))
    ]
    return summarise(selection, np.stack(probabilities), bundle.class_names, task, rule)


def measure_phantoms(bundle: Bundle, count: int) -> tuple[Metric, ...]:
    """Measure on `count` phantoms of the held-out cohort."""
    films = phantoms(count, HELD_OUT_SEED, bundle.preprocessing)
    engine = Engine({bundle.name: bundle}, bundle.name)
    answers = Answers(bundle.class_names, films.labels, _probabilities(engine, bundle, films.grids), films.groups)
    values = measure(answers, "")
    ranges = intervals(answers, partial(measure, positive=""))
    split = f"{count} phantoms of cohort seed {HELD_OUT_SEED}"
    return tuple(
        Metric(name=name, value=value, ci_low=ranges[name][0], ci_high=ranges[name][1], split=split)
        for name, value in values.items()
    )


def film_metrics(result: dict[str, Any]) -> tuple[Metric, ...]:
    """Return the metrics of an evaluation as a manifest stores them: all held-out films, then each part alone."""
    metrics = as_metrics(result, f"held out: {result['n']} films of {result['patients']} patients")
    for name, part in result["parts"].items():
        metrics += as_metrics(part, f"{name}: {part['n']} films of {part['patients']} patients")[1:3]
    return metrics


def finish(bundle: Bundle, metrics: Sequence[Metric], command: str) -> Bundle:
    """Store metrics in the manifest and write the model card."""
    done = update_manifest(bundle.path, metrics=[m.model_dump(mode="json") for m in metrics])
    (done.path / "README.md").write_text(card(done, command), encoding="utf-8")
    return done


def _probabilities(engine: Engine, bundle: Bundle, grids: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    return np.stack([engine.classify(bundle, grid / np.float32(255.0)).probabilities for grid in grids])
