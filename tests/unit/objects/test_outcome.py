"""An outcome survives its file, and a damaged file is said to be one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidi.api.common.v1 import common_pb2
from vidi.errors import InvalidInput
from vidi_gateway.outcome import FilmOutcome, ModelInfo


def test_it_survives_its_file(make_outcome: Callable[..., FilmOutcome], tmp_path: Path) -> None:
    outcome = make_outcome(attribution_vector=np.arange(392, dtype=np.float32), out_of_population=True)
    outcome.save(tmp_path / "outcome.npz")
    loaded = FilmOutcome.load(tmp_path / "outcome.npz")
    assert loaded.digest == outcome.digest
    assert (loaded.model, loaded.notes, loaded.map_to_film) == (outcome.model, outcome.notes, outcome.map_to_film)
    for a, b in zip(loaded.classes, outcome.classes, strict=True):
        assert a.map.tobytes() == b.map.tobytes() and a.map.dtype == np.float32
        assert (a.name, a.index, a.code, a.probability, a.logit) == (b.name, b.index, b.code, b.probability, b.logit)
        assert (a.total, a.favorable_sum, a.glum_sum, a.base_value) == (
            b.total,
            b.favorable_sum,
            b.glum_sum,
            b.base_value,
        )
    assert np.array_equal(loaded.attribution_vector, outcome.attribution_vector)
    assert loaded.favoured.name == "pneumonia" and loaded.grid == (224, 224)


def test_a_damaged_file_is_said_to_be_one(make_outcome: Callable[..., FilmOutcome]) -> None:
    data = make_outcome(grid=(16, 16)).to_bytes()
    for damaged in (b"", b"x" * 100, data[: len(data) // 2], data[:-1], data.replace(b"outcome", b"outcame")):
        with pytest.raises(InvalidInput):
            FilmOutcome.from_bytes(damaged)


def test_every_part_is_in_its_digest(make_outcome: Callable[..., FilmOutcome]) -> None:
    base = make_outcome()
    c = base.classes
    others = [
        make_outcome(seed=1),
        replace(base, top=0),
        replace(base, target="class_vs_mean"),
        replace(base, notes=()),
        replace(base, model=replace(base.model, calibrated=True)),
        replace(base, classes=(replace(c[0], probability=0.31), c[1])),
        replace(base, attribution_vector=np.ones(1, np.float32)),
    ]
    assert len({o.digest for o in [base, *others]}) == len(others) + 1


def test_values_that_are_not_numbers_are_refused(make_outcome: Callable[..., FilmOutcome]) -> None:
    base = make_outcome(grid=(16, 16))
    c = base.classes
    broken = c[0].map.copy()
    broken[3, 3] = np.nan
    for classes in (
        (),
        (replace(c[0], map=broken), c[1]),
        (replace(c[0], logit=float("inf")), c[1]),
        (replace(c[0], map=c[0].map[:8]), c[1]),
        (replace(c[0], map=c[0].map.astype(np.float64)), c[1]),
    ):
        with pytest.raises(InvalidInput):
            replace(base, classes=classes)
    with pytest.raises(InvalidInput):
        replace(base, top=2)


def test_the_model_is_taken_from_a_services_description() -> None:
    message = common_pb2.Model(
        ref=common_pb2.ModelRef(name="m", version="1", digest="sha256:" + "1" * 64), calibrated=True, map_scale=0.5
    )
    info = ModelInfo.from_proto(message)
    assert (info.name, info.digest, info.calibrated, info.map_scale) == ("m", "sha256:" + "1" * 64, True, 0.5)
    assert info.content_qualification == "RESEARCH"
