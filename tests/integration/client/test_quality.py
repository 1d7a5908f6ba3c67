"""`assess` of the client against the real explainer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from vidi.client import AsyncClient, Client, Target
from vidi.errors import InvalidInput, InvalidTensor, NotFound

FILM = np.random.default_rng(12).random((64, 48)).astype(np.float32)


async def test_an_assessment_holds_what_was_measured(backends: dict[str, str]) -> None:
    mask = np.zeros((64, 48), bool)
    mask[:32] = True
    async with AsyncClient(explainer=backends["explainer"]) as client:
        found = await client.assess(
            FILM, measures=("additivity", "deletion_insertion", "truth"), truth_mask=mask, steps=3, seed=2
        )
        explained = await client.explain(FILM)
        versus = await client.assess(
            FILM, target=Target("class_vs_class", "pneumonia", "normal"), measures=("repeatability",)
        )
    assert (found.model, found.method, found.target.kind) == (explained.model, explained.method, "logit")
    assert found.measures == ("additivity", "deletion_insertion", "truth")
    assert (found.steps, found.seed, found.left_out) == (3, 2, {})
    assert found.truth_chance is not None
    assert found.truth_chance.favorable_inside == pytest.approx(0.5, abs=0.01)
    for mine, exact in zip(found.outputs, explained.attributions, strict=True):
        assert mine.noise_floor is None
        assert mine.additivity_residual is not None
        assert mine.name == exact.name
        assert mine.deletion_insertion is not None
        assert mine.deletion_insertion.deletion.values.shape == (4,)
        assert mine.deletion_insertion.deletion.values[0] == pytest.approx(exact.output, abs=1e-3)
        with pytest.raises(ValueError):
            mine.deletion_insertion.deletion.values[0] = 0
        assert mine.truth is not None
        assert set(mine.truth.rivals) == {"random"}
        assert (mine.repeatability, mine.areas, mine.sign_disagreement) == ((), None, None)
    (output,) = versus.outputs
    assert output.name == "pneumonia - normal"
    assert [(r.perturbation, r.sigma) for r in output.repeatability] == [
        (p, s) for p in ("shift", "rotation", "jpeg") for s in (0.0, 4.0)
    ]
    told = json.loads(json.dumps(found.to_json()))
    assert told["outputs"][0]["deletion_insertion"]["insertion"]["area"] == pytest.approx(
        found.outputs[0].deletion_insertion.insertion.area  # type: ignore[union-attr]
    )


async def test_what_cannot_be_assessed_is_said(backends: dict[str, str]) -> None:
    wrong: Any = "beauty"
    async with AsyncClient(explainer=backends["explainer"]) as client:
        with pytest.raises(InvalidInput, match=r"no measure 'beauty'.*additivity"):
            await client.assess(FILM, measures=[wrong])
        with pytest.raises(InvalidTensor, match="bool or uint8"):
            await client.assess(FILM, truth_mask=np.zeros((64, 48), np.float32))
        with pytest.raises(InvalidInput, match="shape"):
            await client.assess(FILM, truth_mask=np.ones((10, 10), bool))
        with pytest.raises(NotFound):
            await client.assess(FILM, model="nonsense")


def test_the_sync_client_does_the_same(backends: dict[str, str]) -> None:
    with Client(explainer=backends["explainer"]) as client:
        assert client.assess(FILM, measures=["additivity"]).measures == ("additivity",)
