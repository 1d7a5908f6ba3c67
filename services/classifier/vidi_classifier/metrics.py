"""Metrics of a classifier with intervals that respect patients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from vidi.errors import InvalidInput

RESAMPLES = 1000
BINS = 15


@dataclass(frozen=True)
class Answers:
    """What a model said of labelled films.

    Attributes
    ----------
    classes
        Names of the classes, in the order of the probabilities.
    labels
        int (n,), the true class's index.
    probabilities
        float (n, classes), rows sum to 1.
    groups
        Patient of each film.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    groups: tuple[str, ...]

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """Most probable class of each film."""
        return np.asarray(self.probabilities.argmax(1), np.int64)

    def take(self, indices: npt.NDArray[np.int64]) -> Answers:
        """Return the answers at `indices` (repetitions allowed)."""
        groups = tuple(self.groups[i] for i in indices)
        return Answers(self.classes, self.labels[indices], self.probabilities[indices], groups)


def measure(answers: Answers, positive: str) -> dict[str, float]:
    """Return accuracy, balanced accuracy, AUROC, F1, precision, recall and expected calibration error, all in 0..1.

    Parameters
    ----------
    answers
        Labelled answers.
    positive
        The positive class of AUROC, F1, precision and recall; "": their mean over classes (one against the rest).

    Raises
    ------
    InvalidInput
        When the films show fewer than two classes, or `positive` is no class.
    """
    if len(np.unique(answers.labels)) < 2:
        raise InvalidInput("films of at least two classes are needed to measure a classifier")
    labels, predictions = answers.labels, answers.predictions
    f1, precision, recall, auroc = _of_class(answers, positive) if positive else _mean_over_classes(answers)
    return {
        "accuracy": float(sk.accuracy_score(labels, predictions)),
        "balanced_accuracy": _balanced_accuracy(labels, predictions),
        "auroc": auroc,
        "f1": f1,
        "precision": precision,
        "recall": recall,
        "ece": expected_calibration_error(answers),
    }


def intervals(
    answers: Answers,
    measured: Callable[[Answers], dict[str, float]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Return the 95 % percentile intervals of metrics, by a bootstrap over patients (not films).

    Films of one patient resemble each other; drawing films alone would make the intervals too narrow. A resample that
    lacks a class is drawn again.

    Returns
    -------
    {metric: [low, high]}.
    """
    rng = np.random.default_rng(seed)
    _, group = np.unique(np.asarray(answers.groups), return_inverse=True)
    members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]
    classes = len(np.unique(answers.labels))
    values: dict[str, list[float]] = {}
    done = tries = 0
    while done < resamples and tries < 20 * resamples:
        tries += 1
        drawn = rng.integers(0, len(members), len(members))
        indices = np.concatenate([members[g] for g in drawn]).astype(np.int64)
        if len(np.unique(answers.labels[indices])) < classes:
            continue
        for name, value in measured(answers.take(indices)).items():
            values.setdefault(name, []).append(value)
        done += 1
    return {name: [float(q) for q in np.nanpercentile(v, (2.5, 97.5))] for name, v in values.items()}


def expected_calibration_error(answers: Answers, bins: int = BINS) -> float:
    """Return the expected calibration error of the predicted class's probability, 0..1 (equal-width bins)."""
    confidence = answers.probabilities.max(1)
    right = (answers.predictions == answers.labels).astype(np.float64)
    which = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(which, minlength=bins)
    gap = np.abs(np.bincount(which, confidence, bins) - np.bincount(which, right, bins))
    assert count.sum() == len(right)
    return float(gap.sum() / len(right))


def _of_class(answers: Answers, positive: str) -> tuple[float, float, float, float]:
    if positive not in answers.classes:
        raise InvalidInput(f"{positive!r} is no class of the model: {', '.join(answers.classes)}")
    index = answers.classes.index(positive)
    truth, said = answers.labels == index, answers.predictions == index
    precision, recall, f1, _ = sk.precision_recall_fscore_support(truth, said, average="binary", zero_division=0.0)
    return float(f1), float(precision), float(recall), _auroc(truth, answers.probabilities[:, index])


def _mean_over_classes(answers: Answers) -> tuple[float, float, float, float]:
    present = sorted(set(answers.labels.tolist()))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        answers.labels, answers.predictions, labels=present, average="macro", zero_division=0.0
    )
    auroc = float(np.mean([_auroc(answers.labels == k, answers.probabilities[:, k]) for k in present]))
    return float(f1), float(precision), float(recall), auroc


def _auroc(truth: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> float:
    return float(sk.roc_auc_score(truth, score)) if truth.any() and not truth.all() else float("nan")


def _balanced_accuracy(labels: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64]) -> float:
    with warnings.catch_warnings():
        # A predicted class that no film has is a wrong answer, not a reason to warn.
        warnings.filterwarnings("ignore", message=".*y_pred contains classes not in y_true.*")
        return float(sk.balanced_accuracy_score(labels, predictions))
