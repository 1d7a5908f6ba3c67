"""The way of a request to assess an explanation: model, image, the work part by part in the queue. Knows no RPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from vidi import bundle as bundles
from vidi.api.explainer.v1 import explainer_pb2
from vidi.bundle import Bundle
from vidi.errors import Cancelled, Expired
from vidi.imaging.image_proto import grid_source
from vidi.rpc.work import WorkQueue
from vidi_explainer import metrics
from vidi_explainer.engine import Engine
from vidi_explainer.messages import target_from_proto
from vidi_explainer.quality.assess import Assessment, Question
from vidi_explainer.quality.curves import STEPS, mean_reference
from vidi_explainer.quality.noise_floor import Randomised
from vidi_explainer.quality_messages import assessment_response, measures_from_proto, truth_on_grid


class Assessments:
    """Assesses explanations by the engines that make them.

    Parameters
    ----------
    models, default, engines
        As in `Explanations`.
    randomised
        What opens a model with randomised weights, by model name; models whose engine offers none are not in it.
    decoding, computing
        The queues of `Explanations`. An assessment waits in the second anew for each of its parts, so that films which
        came in between are explained in between.
    """

    def __init__(
        self,
        models: Mapping[str, Bundle],
        default: str,
        engines: Mapping[str, Engine],
        randomised: Mapping[str, Randomised],
        *,
        decoding: WorkQueue,
        computing: WorkQueue,
    ) -> None:
        self._models = models
        self._default = default
        self._engines = engines
        self._randomised = randomised
        self._decoding = decoding
        self._computing = computing

    async def assess(
        self, request: explainer_pb2.AssessExplanationRequest, *, timeout: float | None = None
    ) -> explainer_pb2.AssessExplanationResponse:
        """Assess the explanation of one film.

        Parameters
        ----------
        timeout
            Seconds until the caller's deadline; None: none. The work stops soon after it, or when the call is
            cancelled.

        Raises
        ------
        InvalidInput
            When the image is unreadable or not 0..1, the target names a class that the model lacks, or the truth mask
            is missing where it is needed, empty, or of another shape.
        NotFound
            When the model is unknown.
        PreconditionFailed
            When a pinned version or digest is not the loaded one, or the engine cannot give a measure asked for.
        Exhausted
            When a queue is full, before the work or half-way.
        Expired
            When the deadline passed before the work was done.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        given_up = threading.Event()

        def left() -> float | None:
            return None if deadline is None else deadline - time.monotonic()

        def cancelled() -> bool:
            return given_up.is_set() or (deadline is not None and time.monotonic() >= deadline)

        bundle = bundles.resolve(self._models, request.model, self._default)
        engine = self._engines[bundle.name]

        def prepare() -> tuple[Question, Assessment]:
            question = _question(request, bundle)
            randomised = self._randomised.get(bundle.name)
            return question, Assessment(
                engine, bundle.class_names, question, randomised=randomised, cancelled=cancelled
            )

        question, assessment = await self._decoding.run(prepare, timeout=timeout)
        seconds = 0.0
        try:
            for part in assessment.parts():
                seconds += await self._computing.run(_timed, part, timeout=left())
        except Cancelled:
            raise Expired("the deadline passed before the assessment was done") from None
        finally:
            given_up.set()  # the thread of a part whose caller left stops soon
        metrics.ASSESSMENTS.labels(bundle.name).inc()
        return assessment_response(bundle, engine, question, assessment, seconds)


def _question(request: explainer_pb2.AssessExplanationRequest, bundle: Bundle) -> Question:
    target = target_from_proto(request.target)
    target.plan(bundle.class_names)  # a wrong target is refused before any work
    film = grid_source(request.image)
    grid, _ = bundle.preprocessing.to_grid(film)
    truth = (
        truth_on_grid(request.truth_mask, film.shape, bundle.preprocessing) if request.HasField("truth_mask") else None
    )
    return Question(
        grid=grid,
        target=target,
        replacement=mean_reference(bundle.background()),
        measures=measures_from_proto(request.measures),
        truth=truth,
        steps=request.steps or STEPS,
        seed=request.seed,
    )


def _timed(part: Callable[[], None]) -> float:
    start = time.perf_counter()
    part()
    return time.perf_counter() - start
