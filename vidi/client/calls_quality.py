"""The explainer's call that says how good an explanation is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.client.connection import Connection
from vidi.client.images import ImageLike, to_image
from vidi.client.models import ModelRef, model_ref
from vidi.client.quality import Assessment, Measure, measure_code
from vidi.client.results import Target
from vidi.errors import InvalidTensor


class QualityCalls(Connection):
    """Assess explanations."""

    async def assess(
        self,
        image: ImageLike,
        *,
        model: str | ModelRef = "",
        target: Target | None = None,
        measures: Iterable[Measure] = (),
        truth_mask: npt.NDArray[np.generic] | None = None,
        steps: int = 0,
        seed: int = 0,
        timeout: float | None = None,
    ) -> Assessment:
        """Measure how good the explanation of one film is. It costs as much as some ten explanations.

        Parameters
        ----------
        image, model, target, timeout
            As `explain`.
        measures
            What to measure; none: all that the engine can give, "truth" only with a mask.
        truth_mask
            Where the opacity is known to be, bool or uint8 (height, width), 0 outside; of the image's shape or of the
            model's grid.
        steps
            Steps of the deletion and insertion curves, at most 200; 0: the server's default.
        seed
            Of all randomness.

        Raises
        ------
        InvalidInput
            Also when there is no such measure, or the mask is neither bool nor uint8.
        NotFound, PreconditionFailed, Exhausted, Expired, Unavailable
            As explainer.proto says.
        """
        mask = None if truth_mask is None else _tensor(truth_mask)
        room = self._max_message_bytes - (0 if mask is None else mask.ByteSize())
        request = explainer_pb2.AssessExplanationRequest(
            model=model_ref(model),
            image=await asyncio.to_thread(to_image, image, max_bytes=room),
            target=None if target is None else target.to_proto(),
            measures=[measure_code(measure) for measure in measures],
            seed=seed,
            steps=steps,
            truth_mask=mask,
        )
        call = self._stub("explainer").AssessExplanation(request, timeout=self._deadline(timeout))
        return Assessment.from_proto(await self._answer("explainer", call))


def _tensor(mask: npt.NDArray[np.generic]) -> common_pb2.Tensor:
    if mask.dtype not in (np.bool_, np.uint8):
        raise InvalidTensor(f"a truth mask is bool or uint8; this array is {mask.dtype}", field="truth_mask")
    return tensors.encode(mask.astype(np.uint8))
