"""Metrics agree with definitions worked out by hand, and intervals respect patients."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from vidi.errors import InvalidInput
from vidi_classifier.metrics import Answers, expected_calibration_error, intervals, measure


def answers(labels: list[int], positive: list[float], groups: list[str] | None = None) -> Answers:
    p = np.array(positive)
    names = tuple(groups or [str(i) for i in range(len(labels))])
    return Answers(("normal", "pneumonia"), np.array(labels, np.int64), np.stack([1 - p, p], 1), names)


def test_metrics_worked_out_by_hand() -> None:
    # True 0: said 0, 0, 0, 1. True 1: said 1, 0.
    found = measure(answers([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.9, 0.8, 0.4]), "pneumonia")
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["precision"] == pytest.approx(1 / 2)
    assert found["recall"] == pytest.approx(1 / 2)
    assert found["f1"] == pytest.approx(1 / 2)
    assert found["auroc"] == pytest.approx(6 / 8)


def test_means_over_classes() -> None:
    p = np.eye(3)[[0, 1, 2, 1]]
    a = Answers(("mild", "medium", "severe"), np.array([0, 1, 2, 2]), p, ("a", "b", "c", "d"))
    found = measure(a, "")
    assert found["balanced_accuracy"] == pytest.approx(2.5 / 3)
    assert found["recall"] == pytest.approx(2.5 / 3)
    assert found["precision"] == pytest.approx((1 + 0.5 + 1) / 3)


def test_calibration_error() -> None:
    right_as_often_as_said = answers([1, 1, 1, 0], [0.75] * 4)
    assert expected_calibration_error(right_as_often_as_said) == pytest.approx(0.0)
    assert expected_calibration_error(answers([0, 0], [0.999, 0.999])) == pytest.approx(0.999)


def test_one_class_alone_cannot_be_measured() -> None:
    with pytest.raises(InvalidInput, match="two classes"):
        measure(answers([1, 1], [0.5, 0.5]), "pneumonia")


def test_intervals_widen_when_films_share_a_patient() -> None:
    rng = np.random.default_rng(0)
    labels, scores, groups = [], [], []
    for patient in range(40):
        right = rng.random() < 0.8
        for _ in range(8):
            labels.append(patient % 2)
            scores.append(0.9 if (patient % 2 == 1) == right else 0.1)
            groups.append(f"p{patient}")
    measured = partial(measure, positive="pneumonia")
    by_patient = intervals(answers(labels, scores, groups), measured, resamples=150)["accuracy"]
    by_film = intervals(answers(labels, scores), measured, resamples=150)["accuracy"]
    value = measure(answers(labels, scores), "pneumonia")["accuracy"]
    assert by_patient[0] < value < by_patient[1]
    assert by_patient[1] - by_patient[0] > 1.8 * (by_film[1] - by_film[0])
    assert by_patient == intervals(answers(labels, scores, groups), measured, resamples=150)["accuracy"]
