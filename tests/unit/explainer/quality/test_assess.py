"""All measures together, and what becomes of those that an engine cannot give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidi.errors import Cancelled, InvalidInput, PreconditionFailed
from vidi_explainer.quality.areas import areas
from vidi_explainer.quality.assess import Assessment, Measure, Question
from vidi_explainer.quality.noise_floor import NETWORKS
from vidi_explainer.quality.signs import mean_disagreement
from vidi_explainer.targets import Target, TargetKind

RNG = np.random.default_rng(0)
SHAPE = (24, 24)
FILM = RNG.random(SHAPE, dtype=np.float32)
REFERENCES = RNG.random((3, *SHAPE))
WEIGHTS = RNG.standard_normal((2, *SHAPE))
MASK = np.zeros(SHAPE, bool)
MASK[4:12, 4:12] = True


def question(*measures: Measure, **changes: Any) -> Question:
    fields: dict[str, Any] = {"target": Target(), "replacement": REFERENCES.mean(axis=0).astype(np.float32)}
    return Question(FILM, measures=measures, **(fields | changes))


@pytest.fixture
def engine(linear: Any) -> Any:
    return linear(WEIGHTS, REFERENCES)


@pytest.fixture
def randomised(linear: Any) -> Any:
    """Opens networks of permuted weights; `opened` notes their seeds."""

    def opens(seed: int) -> Any:
        opens.opened.append(seed)  # type: ignore[attr-defined]
        shuffled = np.random.default_rng(seed).permutation(WEIGHTS.reshape(2, -1), axis=1)
        return linear(shuffled.reshape(WEIGHTS.shape), REFERENCES)

    opens.opened = []  # type: ignore[attr-defined]
    return opens


def test_everything_of_a_linear_network(engine: Any, randomised: Any, classes: tuple[str, ...]) -> None:
    found = Assessment(engine, classes, question(truth=MASK, steps=10, seed=5), randomised=randomised).run()
    assert found.measured == list(Measure)
    assert found.left_out == {}
    assert randomised.opened == [5, 6, 7]
    assert found.truth_chance is not None
    assert found.truth_chance.favorable_inside == pytest.approx(64 / 576)
    attribution = engine.explain(FILM, Target(), per_reference=True)
    for mine, exact in zip(found.outputs, attribution.outputs, strict=True):
        assert (mine.name, mine.index, mine.output, mine.base_value) == (
            exact.name,
            exact.index,
            exact.output,
            exact.base_value,
        )
        assert mine.additivity_residual == exact.additivity_residual
        assert exact.per_reference is not None
        assert mine.sign_disagreement == mean_disagreement(exact.per_reference)
        assert mine.deletion_insertion is not None
        assert len(mine.deletion_insertion.deletion.values) == 11
        assert mine.deletion_insertion.deletion.area < mine.deletion_insertion.random_deletion.area
        assert mine.deletion_insertion.insertion.area > mine.deletion_insertion.random_insertion.area
        assert [(r.perturbation.value, r.sigma) for r in mine.repeatability] == [
            (p, s) for p in ("shift", "rotation", "jpeg") for s in (0.0, 4.0)
        ]
        assert mine.noise_floor is not None
        assert mine.noise_floor.seeds == (5, 6, 7)
        assert mine.areas == areas(exact.map, mine.noise_floor.value)
        assert mine.truth is not None
        assert set(mine.truth.rivals) == {"random"}


def test_only_what_was_asked_for_is_computed(engine: Any, randomised: Any, classes: tuple[str, ...]) -> None:
    found = Assessment(engine, classes, question(Measure.ADDITIVITY), randomised=randomised).run()
    assert found.measured == [Measure.ADDITIVITY]
    assert len(engine.explained) == 1
    assert randomised.opened == []
    (output, _) = found.outputs
    assert output.additivity_residual is not None
    assert output.additivity_residual < 1e-5
    assert (output.sign_disagreement, output.deletion_insertion, output.areas, output.truth) == (None,) * 4
    assert output.repeatability == ()
    assert (output.noise_floor, found.truth_chance) == (None, None)


def test_areas_bring_their_floor(engine: Any, randomised: Any, classes: tuple[str, ...]) -> None:
    found = Assessment(engine, classes, question(Measure.AREAS), randomised=randomised).run()
    assert len(randomised.opened) == NETWORKS
    assert all(output.areas is not None for output in found.outputs)
    assert all(output.noise_floor is not None for output in found.outputs)
    floor = Assessment(engine, classes, question(Measure.NOISE_FLOOR), randomised=randomised).run()
    assert [output.noise_floor for output in floor.outputs] == [output.noise_floor for output in found.outputs]
    assert floor.outputs[0].areas is None


def test_class_against_class_is_one_output(engine: Any, randomised: Any, classes: tuple[str, ...]) -> None:
    versus = Target(TargetKind.CLASS_VS_CLASS, "b", "a")
    found = Assessment(engine, classes, question(target=versus, truth=MASK), randomised=randomised).run()
    (output,) = found.outputs
    assert output.name == "b - a"
    assert output.deletion_insertion is not None
    assert output.deletion_insertion.deletion.values[0] == pytest.approx(output.output)
    assert output.deletion_insertion.deletion.values[-1] == pytest.approx(output.base_value, rel=1e-5)


def test_what_an_engine_cannot_give_is_left_out_with_a_reason(linear: Any, classes: tuple[str, ...]) -> None:
    found = Assessment(linear(WEIGHTS, REFERENCES, apart=False), classes, question()).run()
    assert found.measured == [Measure.ADDITIVITY, Measure.DELETION_INSERTION, Measure.REPEATABILITY]
    assert set(found.left_out) == {Measure.SIGN_DISAGREEMENT, Measure.NOISE_FLOOR, Measure.AREAS}
    assert all("'linear'" in reason for reason in found.left_out.values())


def test_networks_that_do_not_react_give_no_floor(engine: Any, linear: Any, classes: tuple[str, ...]) -> None:
    def dead(_seed: int) -> Any:
        return linear(0 * WEIGHTS, REFERENCES)

    found = Assessment(engine, classes, question(), randomised=dead).run()
    assert list(found.left_out) == [Measure.NOISE_FLOOR, Measure.AREAS]
    assert Measure.REPEATABILITY in found.measured
    assert all(output.noise_floor is None for output in found.outputs)
    with pytest.raises(PreconditionFailed, match="reacts") as caught:
        Assessment(engine, classes, question(Measure.AREAS), randomised=dead).run()
    assert caught.value.reason == "NO_NOISE_FLOOR"


@pytest.mark.parametrize("measure", [Measure.SIGN_DISAGREEMENT, Measure.NOISE_FLOOR, Measure.AREAS])
def test_what_was_asked_for_in_vain_is_said(linear: Any, classes: tuple[str, ...], measure: Measure) -> None:
    with pytest.raises(PreconditionFailed, match="engine 'linear'"):
        Assessment(linear(WEIGHTS, REFERENCES, apart=False), classes, question(measure)).run()


def test_wrong_questions(engine: Any, classes: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="truth_mask"):
        Assessment(engine, classes, question(Measure.TRUTH))
    with pytest.raises(InvalidInput, match="no class 'c'"):
        Assessment(engine, classes, question(target=Target(TargetKind.CLASS_VS_CLASS, "c", "a")))
    with pytest.raises(InvalidInput, match="steps"):
        Assessment(engine, classes, question(Measure.DELETION_INSERTION, steps=1000)).run()
    assert len(engine.explained) == 1


def test_it_stops_between_parts_and_inside_them(engine: Any, randomised: Any, classes: tuple[str, ...]) -> None:
    for calls in range(4):
        asked = iter([False] * calls)

        def cancelled(asked: Any = asked) -> bool:
            return next(asked, True)

        with pytest.raises(Cancelled):
            Assessment(engine, classes, question(truth=MASK), randomised=randomised, cancelled=cancelled).run()
    assert randomised.opened == []
