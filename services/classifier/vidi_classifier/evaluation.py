"""Evaluate a model on labelled films of patients that it was not trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from vidi.errors import InvalidInput
from vidi.manifest import Metric, SplitRule
from vidi_classifier.films import LabelledFilm, Part, Task, divide
from vidi_classifier.metrics import Answers, intervals, measure

# Severity has three ordered classes and few severe films: means over classes instead of one positive class.
POSITIVE: dict[Task, str] = {"pneumonia": "pneumonia", "covid": "covid", "severity": ""}
PARTS: tuple[Part, ...] = ("held_out", "unseen")


@dataclass(frozen=True)
class Selection:
    """The films to evaluate on, and how many were left out.

    Attributes
    ----------
    films, parts
        The films, and on which side of the model's split each lies.
    left_out
        Films of patients that the model was trained on or tuned with.
    """

    films: tuple[LabelledFilm, ...]
    parts: tuple[Part, ...]
    left_out: int


def select(films: Sequence[LabelledFilm], rule: SplitRule, *, include_trained: bool = False) -> Selection:
    """Choose the films of patients not trained on by the model's own split rule.

    Raises
    ------
    InvalidInput
        When no film is left.
    """
    parts = divide(films, rule)
    kept = [(f, p) for f, p in zip(films, parts, strict=True) if include_trained or p in PARTS]
    if not kept:
        raise InvalidInput(
            "the model was trained on every patient here; --include-trained evaluates on them all the same"
        )
    chosen = tuple(f for f, _ in kept)
    if not include_trained:
        seen = {f.patient_id for f, p in zip(films, parts, strict=True) if p not in PARTS}
        if seen & {f.patient_id for f in chosen}:
            raise InvalidInput("a patient stands on both sides of the split: patient_id does not group the films")
    return Selection(chosen, tuple(p for _, p in kept), len(films) - len(kept))


def summarise(
    selection: Selection,
    probabilities: npt.NDArray[np.float64],
    class_names: Sequence[str],
    task: Task,
    rule: SplitRule,
    *,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Return the object that `vidi evaluate --json` prints.

    Parameters
    ----------
    selection
        The films.
    probabilities
        (n, classes), the model's answers.
    class_names
        The model's classes, in that order.
    task
        What was asked.
    rule
        The model's split; films held out by its column and by its hash are also reported apart.

    Raises
    ------
    InvalidInput
        When a label of the films is no class of the model.
    """
    names = tuple(class_names)
    strange = sorted({f.label for f in selection.films} - set(names))
    if strange:
        raise InvalidInput(
            f"the model has no class {', '.join(strange)}: its classes are {', '.join(names)}", field="task"
        )
    labels = np.array([names.index(f.label) for f in selection.films], np.int64)
    answers = Answers(names, labels, probabilities, tuple(f.patient_id for f in selection.films))
    positive = POSITIVE[task]
    result: dict[str, Any] = {
        "task": task,
        "n": len(labels),
        "patients": len(set(answers.groups)),
        "left_out": selection.left_out,
        "positive": positive or "mean over classes",
        "classes": dict(Counter(f.label for f in selection.films)),
        **_with_intervals(answers, positive, resamples),
        "confusion": _confusion(answers),
    }
    result["parts"] = _parts(selection, answers, positive, rule, resamples)
    if task == "severity":
        result |= _severity(selection, answers)
    return result


def as_metrics(result: dict[str, Any], split: str) -> tuple[Metric, ...]:
    """Return the metrics of a summary as a bundle's manifest stores them."""
    names = ("accuracy", "balanced_accuracy", "auroc", "f1", "precision", "recall", "ece")
    return tuple(
        Metric(name=n, value=result[n], ci_low=result[f"{n}_ci"][0], ci_high=result[f"{n}_ci"][1], split=split)
        for n in names
    )


def _with_intervals(answers: Answers, positive: str, resamples: int) -> dict[str, Any]:
    values = measure(answers, positive)
    ranges = intervals(answers, partial(measure, positive=positive), resamples=resamples)
    return {**values, **{f"{name}_ci": ranges[name] for name in values}}


def _parts(
    selection: Selection, answers: Answers, positive: str, rule: SplitRule, resamples: int
) -> dict[str, dict[str, Any]]:
    """Metrics of the films held out by the published split and of those held out by the hash, each alone."""
    column, value = rule.held_out_column, rule.held_out_value
    published = np.array([bool(column) and f.row.get(column, "") == value for f in selection.films])
    hashed = np.array([p == "held_out" for p in selection.parts]) & np.array(
        [rule.bucket(f.patient_id) < rule.held_out_percent for f in selection.films]
    )
    found: dict[str, dict[str, Any]] = {}
    for name, mask in ((f"{column}={value}", published), (f"hash {rule.held_out_percent} %", hashed)):
        part = answers.take(np.flatnonzero(mask).astype(np.int64))
        if len(set(part.labels.tolist())) < 2 or mask.all():
            continue
        found[name] = {
            "n": len(part.labels),
            "patients": len(set(part.groups)),
            **_with_intervals(part, positive, resamples),
        }
    return found


def _confusion(answers: Answers) -> dict[str, dict[str, int]]:
    """{true class: {predicted class: films}}."""
    pairs = Counter(zip(answers.labels.tolist(), answers.predictions.tolist(), strict=True))
    names = answers.classes
    return {t: {p: pairs[i, j] for j, p in enumerate(names)} for i, t in enumerate(names)}


def _severity(selection: Selection, answers: Answers) -> dict[str, Any]:
    """Mild against the rest, and the rank correlation with the radiologists' opacity score."""
    mild = answers.classes.index("mild")
    two = Answers(
        ("mild", "rest"),
        (answers.labels != mild).astype(np.int64),
        np.stack([answers.probabilities[:, mild], 1.0 - answers.probabilities[:, mild]], 1),
        answers.groups,
    )
    extra: dict[str, Any] = {}
    if len(set(two.labels.tolist())) == 2:
        extra["mild_against_rest"] = measure(two, "rest")
    scores = [f.row.get("severity_opacity_mean", "") for f in selection.films]
    known = np.array([bool(s) for s in scores])
    if known.sum() >= 3:
        truth = np.array([float(s) for s in scores if s])
        order = [answers.classes.index(c) for c in ("mild", "medium", "severe")]
        expected = answers.probabilities[:, order] @ np.arange(3.0)
        extra["opacity_spearman"] = float(spearmanr(truth, expected[known]).statistic)
    return extra
