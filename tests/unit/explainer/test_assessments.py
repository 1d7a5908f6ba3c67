"""The way of an assessment: its turns in the queue, deadlines, callers that leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2, quality_pb2
from vidi.bundle import Bundle
from vidi.cache import SqliteCache
from vidi.errors import Exhausted, Expired, InvalidInput, NotFound, PreconditionFailed
from vidi.rpc.work import WorkQueue
from vidi_explainer.assessments import Assessments
from vidi_explainer.explanations import Explanations

ADDITIVITY = quality_pb2.MEASURE_ADDITIVITY
REPEATABILITY = quality_pb2.MEASURE_REPEATABILITY
CURVES = quality_pb2.MEASURE_DELETION_INSERTION
TRUTH = quality_pb2.MEASURE_TRUTH


def image(seed: int = 0, size: tuple[int, int] = (64, 64)) -> common_pb2.Image:
    return common_pb2.Image(tensor=tensors.encode(np.random.default_rng(seed).random(size, dtype=np.float32)))


def request(*measures: quality_pb2.Measure, **fields: Any) -> explainer_pb2.AssessExplanationRequest:
    return explainer_pb2.AssessExplanationRequest(**{"image": image(), "measures": measures, **fields})


@pytest.fixture
def queues() -> dict[str, WorkQueue]:
    return {
        "decoding": WorkQueue("test-decode", size=64, threads=2),
        "computing": WorkQueue("test-compute", size=2),
    }


@pytest_asyncio.fixture
async def assessments(bundle: Bundle, linear: Any, queues: dict[str, WorkQueue]) -> AsyncIterator[Assessments]:
    yield Assessments({"tiny": bundle}, "tiny", {"tiny": linear}, {"tiny": lambda _seed: linear}, **queues)
    linear.open.set()
    for queue in queues.values():
        await queue.close()


async def entered(linear: Any) -> None:
    """Wait until the engine is explaining."""
    assert await asyncio.to_thread(linear.entered.acquire, timeout=60)


async def test_what_it_says_of_a_linear_network(assessments: Assessments, linear: Any, bundle: Bundle) -> None:
    found = await assessments.assess(request(ADDITIVITY, REPEATABILITY, CURVES, seed=4, steps=5))
    assert found.model.digest == bundle.digest
    assert (found.method.engine, found.method.background_digest) == ("linear", bundle.manifest.background_sha256)
    assert found.target.kind == explainer_pb2.TARGET_KIND_LOGIT
    assert list(found.measures) == [ADDITIVITY, CURVES, REPEATABILITY]
    assert (found.seed, found.steps, found.smoothing_sigma) == (4, 5, 4.0)
    assert found.compute_seconds > 0
    assert [output.name for output in found.outputs] == ["mild", "medium", "severe"]
    for output in found.outputs:
        assert output.additivity_residual < 1e-5
        assert not output.HasField("sign_disagreement")
        assert len(output.deletion_insertion.deletion.values) == 6
        assert output.deletion_insertion.deletion.values[0] == pytest.approx(output.output, rel=1e-6)
        assert len(output.repeatability) == 6
        assert not output.HasField("noise_floor")
    assert linear.calls == 4


async def test_steps_have_a_default(assessments: Assessments) -> None:
    found = await assessments.assess(request(CURVES))
    assert found.steps == 20
    assert len(found.outputs[0].deletion_insertion.insertion.values) == 21


async def test_the_same_seed_gives_the_same_answer(assessments: Assessments) -> None:
    first, second, other = [await assessments.assess(request(CURVES, seed=seed)) for seed in (1, 1, 2)]
    first.compute_seconds = second.compute_seconds = 0.0
    assert first == second
    assert first.outputs[0].deletion_insertion.random_deletion != other.outputs[0].deletion_insertion.random_deletion


async def test_an_explanation_that_comes_in_between_does_not_wait_for_all_of_it(
    assessments: Assessments, linear: Any, bundle: Bundle, queues: dict[str, WorkQueue], tmp_path: Path
) -> None:
    cache = SqliteCache(tmp_path / "cache.sqlite", 3600, 1 << 28)
    explanations = Explanations({"tiny": bundle}, "tiny", {"tiny": linear}, cache, **queues)
    linear.open.clear()
    assessing = asyncio.create_task(assessments.assess(request(REPEATABILITY)))
    await entered(linear)
    explaining = asyncio.create_task(explanations.explain(explainer_pb2.ExplainRequest(image=image(1))))
    async with asyncio.timeout(60):
        while queues["computing"].depth == 0:  # noqa: ASYNC110 - nothing to wait for but a count
            await asyncio.sleep(0.005)
    linear.open.set()
    done, _ = await asyncio.wait({assessing, explaining}, return_when=asyncio.FIRST_COMPLETED)
    assert done == {explaining}
    assert (await assessing).outputs
    await cache.close()


async def test_a_deadline_ends_it(assessments: Assessments, linear: Any) -> None:
    with pytest.raises(Expired):
        await assessments.assess(request(ADDITIVITY), timeout=-1.0)
    assert linear.calls == 0
    linear.open.clear()
    assessing = asyncio.create_task(assessments.assess(request(CURVES, REPEATABILITY), timeout=0.4))
    await entered(linear)
    await asyncio.sleep(0.5)
    linear.open.set()
    with pytest.raises(Expired):
        await assessing
    assert linear.calls == 1, "nothing was begun after the deadline"


async def test_the_thread_stops_when_the_caller_leaves(
    assessments: Assessments, linear: Any, queues: dict[str, WorkQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()
    loop, batches = asyncio.get_running_loop(), 0
    logits = linear.logits

    def counted(grids: Any) -> Any:
        nonlocal batches
        batches += 1
        loop.call_soon_threadsafe(started.set)
        assert linear.open.wait(60)
        return logits(grids)

    monkeypatch.setattr(linear, "logits", counted)
    assessing = asyncio.create_task(assessments.assess(request(CURVES, steps=100)))
    linear.open.set()
    await entered(linear)
    linear.open.clear()
    await asyncio.wait_for(started.wait(), 60)
    assessing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await assessing
    linear.open.set()
    async with asyncio.timeout(60):
        while queues["computing"].in_flight:  # noqa: ASYNC110 - nothing to wait for but a count
            await asyncio.sleep(0.005)
    assert batches <= 3, "of more than a hundred"


async def test_a_full_queue_is_said(assessments: Assessments, linear: Any) -> None:
    linear.open.clear()
    running = [asyncio.create_task(assessments.assess(request(ADDITIVITY))) for _ in range(6)]
    await entered(linear)
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED, timeout=60)
    linear.open.set()
    results = await asyncio.gather(*running, return_exceptions=True)
    refused = [r for r in results if isinstance(r, BaseException)]
    assert refused
    assert all(isinstance(r, Exhausted) for r in refused)
    assert len(refused) < len(results)


async def test_a_truth_of_the_films_own_size_goes_the_films_way(assessments: Assessments) -> None:
    mask = np.zeros((128, 192), np.uint8)
    mask[:64, :96] = 1  # the upper left quarter
    found = await assessments.assess(
        request(TRUTH, image=image(size=(128, 192)), truth_mask=tensors.encode(mask), seed=1)
    )
    assert found.truth_chance.favorable_inside == pytest.approx(1 / 4)
    small = np.zeros((64, 64), np.uint8)
    small[:32, :32] = 255
    same = await assessments.assess(
        request(TRUTH, image=image(size=(128, 192)), truth_mask=tensors.encode(small), seed=1)
    )
    assert same.outputs == found.outputs
    assert list(found.outputs[0].truth.rivals) == ["random"]


async def test_a_truth_alone_adds_its_measure(assessments: Assessments) -> None:
    mask = np.ones((64, 64), np.uint8)
    found = await assessments.assess(request(truth_mask=tensors.encode(mask)))
    assert TRUTH in found.measures
    assert TRUTH not in (await assessments.assess(request())).measures


MASK = np.ones((64, 64), np.uint8)
NAN = np.full((64, 64), np.nan, np.float32)


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"model": common_pb2.ModelRef(name="nobody")}, NotFound, "nobody"),
        ({"model": common_pb2.ModelRef(digest="sha256:" + "0" * 64)}, PreconditionFailed, "digest"),
        ({"image": common_pb2.Image(tensor=tensors.encode(NAN))}, InvalidInput, "NaN"),
        ({"measures": [TRUTH]}, InvalidInput, "truth_mask"),
        ({"truth_mask": tensors.encode(MASK[:32])}, InvalidInput, r"\(32, 64\)"),
        ({"truth_mask": tensors.encode(MASK[None])}, InvalidInput, "axes"),
        ({"truth_mask": tensors.encode(NAN)}, InvalidInput, "FLOAT32"),
        ({"truth_mask": tensors.encode(0 * MASK)}, InvalidInput, "no pixel"),
        (
            {
                "target": explainer_pb2.Target(
                    kind=explainer_pb2.TARGET_KIND_CLASS_VS_CLASS, class_a="covid", class_b="mild"
                )
            },
            InvalidInput,
            "covid",
        ),
    ],
)
async def test_wrong_requests(
    assessments: Assessments, linear: Any, fields: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        await assessments.assess(request(**{"measures": [], **fields}))
    assert linear.calls == 0


async def test_engines_without_randomised_weights_say_so(
    bundle: Bundle, linear: Any, queues: dict[str, WorkQueue]
) -> None:
    alone = Assessments({"tiny": bundle}, "tiny", {"tiny": linear}, {}, **queues)
    with pytest.raises(PreconditionFailed, match="engine 'linear'"):
        await alone.assess(request(quality_pb2.MEASURE_NOISE_FLOOR))
    found = await alone.assess(request())
    assert [x.measure for x in found.left_out] == [quality_pb2.MEASURE_NOISE_FLOOR, quality_pb2.MEASURE_AREAS]
    assert all("'linear'" in x.reason for x in found.left_out)
    for queue in queues.values():
        await queue.close()
