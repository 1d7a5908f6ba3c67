"""What makes a film urgent; and that nothing makes it less so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from vidi.imaging.geometry import Affine
from vidi.imaging.notes import Note
from vidi_gateway.outcome import ClassOutcome, Code, FilmOutcome, ModelInfo
from vidi_gateway.reading import ReadingOrder, Urgency, urgency_of
from vidi_gateway.reading.urgency import entropy

ORDER = ReadingOrder()
CODES = {
    "normal": Code("MODEL_NORMAL", "99VIDI", "Model favours its class 'normal'"),
    "pneumonia": Code("233604007", "SCT", "Pneumonia"),
    "mild": Code("255604002", "SCT", "Mild"),
    "medium": Code("6736007", "SCT", "Moderate"),
    "severe": Code("24484000", "SCT", "Severe"),
    "rare": Code("RARE", "99SITE", "Rare"),
}


def outcome(
    probabilities: dict[str, float], residual: float = 0.001, notes: Sequence[Note] = (), **changes: Any
) -> FilmOutcome:
    empty = np.zeros((2, 2), np.float32)
    classes = tuple(
        ClassOutcome(name, i, CODES[name], p, 0.0, 0.0, empty, 0.0, 0.0, 0.0, residual)
        for i, (name, p) in enumerate(probabilities.items())
    )
    values: dict[str, Any] = {
        "model": ModelInfo("m", "1", "sha256:0", calibrated=False),
        "top": max(range(len(classes)), key=lambda i: classes[i].probability),
        "target": "logit",
        "engine": "e",
        "engine_version": "1",
        "precision": "exact",
        "references": 8,
        "background_digest": "sha256:1",
        "explanation_key": "00",
        "map_to_film": Affine(1, 0, 0, 0, 1, 0),
    }
    return FilmOutcome(classes=classes, notes=tuple(notes), **(values | changes))


def codes(urgency: Urgency) -> list[str]:
    return [reason.code for reason in urgency.reasons]


def test_a_film_that_the_model_calls_normal_says_nothing() -> None:
    assert urgency_of(outcome({"normal": 0.97, "pneumonia": 0.03}), ORDER) == Urgency(0.0, ())


def test_severity_rises_with_the_grade_and_stands_in_bands() -> None:
    grades = [
        urgency_of(outcome({"mild": m, "medium": d, "severe": s}), ORDER)
        for m, d, s in ((0.96, 0.03, 0.01), (0.03, 0.95, 0.02), (0.01, 0.03, 0.96))
    ]
    assert [ORDER.band(u.score) for u in grades] == [1, 2, 3]
    assert all(codes(u) == ["SEVERITY"] for u in grades)


def test_a_pathological_class_of_a_binary_model_counts() -> None:
    urgency = urgency_of(outcome({"normal": 0.05, "pneumonia": 0.95}), ORDER)
    assert urgency.score == pytest.approx(0.57)
    assert codes(urgency) == ["SEVERITY"]


def test_it_is_said_whether_a_probability_is_calibrated() -> None:
    film = {"normal": 0.45, "pneumonia": 0.55}
    raw = urgency_of(outcome(film), ORDER)
    assert codes(raw) == ["SEVERITY", "UNCERTAIN"]
    assert all("not calibrated" in reason.message for reason in raw.reasons)
    calibrated = urgency_of(outcome(film, model=ModelInfo("m", "1", "sha256:0", calibrated=True)), ORDER)
    assert calibrated.score == raw.score
    assert not any("not calibrated" in reason.message for reason in calibrated.reasons)
    assert "probability calibrated" in calibrated.reasons[0].message


def test_reasons_never_speak_of_a_finding_or_a_diagnosis() -> None:
    film = outcome({"normal": 0.5, "pneumonia": 0.5}, 0.5, [Note("RESCALE_IGNORED", "x")], out_of_population=True)
    urgency = urgency_of(film, ORDER)
    assert codes(urgency) == ["SEVERITY", "NEAR_TIE", "OUT_OF_POPULATION", "ADDITIVITY", "QUALITY"]
    said = " ".join(reason.message for reason in urgency.reasons).lower()
    assert "diagnos" not in said and "finding" not in said and "normal'" not in said


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"residual": 0.06}, "ADDITIVITY"),
        ({"out_of_population": True}, "OUT_OF_POPULATION"),
        ({"notes": [Note("WINDOW_IGNORED", "x")]}, "QUALITY"),
    ],
)
def test_flags_pull_forward_by_themselves(changes: dict[str, Any], code: str) -> None:
    urgency = urgency_of(outcome({"normal": 0.99, "pneumonia": 0.01}, **changes), ORDER)
    assert codes(urgency) == [code] and ORDER.band(urgency.score) == 1
    assert urgency_of(outcome({"normal": 0.99, "pneumonia": 0.01}, notes=[Note("NO_WINDOW", "x")]), ORDER).score == 0


def test_less_than_a_band_is_nothing() -> None:
    film = outcome({"normal": 0.99, "pneumonia": 0.01}, out_of_population=True)
    assert urgency_of(film, ReadingOrder(out_of_population=0.24)) == Urgency(0.0, ())
    assert urgency_of(film, ReadingOrder(out_of_population=0.26)).score == pytest.approx(0.26)


def test_a_site_weighs_its_own_classes_by_name_or_code() -> None:
    film = outcome({"normal": 0.1, "rare": 0.9})
    assert urgency_of(film, ORDER).score == 0.0
    for key in ("rare", "99SITE:RARE"):
        assert urgency_of(film, ReadingOrder(weights={key: 1.0})).score == pytest.approx(0.9)
    assert urgency_of(outcome({"normal": 0.1, "pneumonia": 0.9}), ReadingOrder(weights={"pneumonia": 0.0})).score == 0


def test_the_journal_gives_back_what_it_was_given() -> None:
    urgency = urgency_of(outcome({"mild": 0.1, "medium": 0.1, "severe": 0.8}), ORDER)
    assert Urgency.from_row(urgency.score, urgency.to_json()) == urgency
    assert Urgency.from_row(0.0, Urgency().to_json()) == Urgency()


def test_entropy_is_between_certain_and_all_alike() -> None:
    assert entropy([1.0, 0.0, 0.0]) == 0.0
    assert entropy([1 / 3] * 3) == pytest.approx(1.0)
    assert entropy([1.0]) == 0.0 and entropy([0.0, 0.0]) == 0.0


probability = st.floats(0.001, 1.0)


@bounds(deadline=None)
@given(
    weights=st.lists(probability, min_size=3, max_size=3),
    residual=st.floats(0.0, 1.0),
    out=st.booleans(),
    noted=st.booleans(),
)
def test_one_more_reason_never_makes_a_film_less_urgent(
    weights: list[float], residual: float, out: bool, noted: bool
) -> None:
    shares = dict(zip(("mild", "medium", "severe"), (w / sum(weights) for w in weights), strict=True))
    notes = [Note("WINDOW_IGNORED", "x")] if noted else []
    bare = urgency_of(outcome(shares, 0.0), ORDER)
    more = urgency_of(outcome(shares, residual, notes, out_of_population=out), ORDER)
    assert 0.0 <= bare.score <= more.score <= 1.0
    assert (more.score == 0.0) == (more.reasons == ())
    assert urgency_of(outcome(shares, residual, notes, out_of_population=out), ORDER) == more
