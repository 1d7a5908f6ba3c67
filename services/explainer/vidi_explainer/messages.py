"""Between explanations and the API's messages; the content key."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import numpy.typing as npt

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.bundle import Bundle, to_ref
from vidi.imaging.geometry import Affine
from vidi_explainer.attribution import Attribution
from vidi_explainer.engine import Engine
from vidi_explainer.targets import Target, TargetKind

#: Version of what is computed around the engine and of how it is stored; part of every key.
SCHEMA = 1
_KINDS = {
    explainer_pb2.TARGET_KIND_UNSPECIFIED: TargetKind.LOGIT,
    explainer_pb2.TARGET_KIND_LOGIT: TargetKind.LOGIT,
    explainer_pb2.TARGET_KIND_CLASS_VS_MEAN: TargetKind.CLASS_VS_MEAN,
    explainer_pb2.TARGET_KIND_CLASS_VS_CLASS: TargetKind.CLASS_VS_CLASS,
}
_TO_PROTO = {kind: code for code, kind in _KINDS.items()}  # the last code of a kind: never UNSPECIFIED
# Largest magnitude of a scaled float16 map: a power of two below float16's largest, 65504, so that scaling is exact.
_FLOAT16_TOP = 2.0**15


def target_from_proto(message: explainer_pb2.Target) -> Target:
    """Return what a request asks to be explained; the logits when it says nothing."""
    return Target(_KINDS[message.kind], message.class_a, message.class_b)


def target_to_proto(target: Target) -> explainer_pb2.Target:
    """Return the message of a target."""
    return explainer_pb2.Target(kind=_TO_PROTO[target.kind], class_a=target.class_a, class_b=target.class_b)


def method_of(bundle: Bundle, engine: Engine) -> explainer_pb2.Method:
    """Say how an engine explains a bundle's model."""
    return explainer_pb2.Method(
        engine=engine.name,
        engine_version=engine.version,
        precision=engine.precision,
        references=engine.references,
        background_digest=bundle.manifest.background_sha256,
    )


def explanation_key(
    bundle: Bundle, engine: Engine, target: Target, grid: npt.NDArray[np.float32], *, channels: bool
) -> str:
    """Return the content key of an explanation, 64 hex digits.

    Equal keys mean equal maps: model, weights, references, preprocessing, engine and its arithmetic, target, classes
    and the pixels that the model sees are all in it. The film's own size is not: the transform to it is not stored.
    """
    head = {
        "schema": SCHEMA,
        "model": bundle.digest,
        "weights": bundle.manifest.weights_sha256,
        "background": bundle.manifest.background_sha256,
        "preprocessing": bundle.preprocessing.digest,
        "engine": [engine.name, engine.version, engine.precision],
        "target": [target.kind.value, target.class_a, target.class_b],
        "classes": bundle.class_names,
        "channels": channels,
        "shape": grid.shape,
    }
    digest = hashlib.sha256(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
    digest.update(b"\0")
    digest.update(grid.astype("<f4").tobytes())
    return digest.hexdigest()


def stored_response(
    bundle: Bundle, engine: Engine, target: Target, key: str, attribution: Attribution, seconds: float
) -> explainer_pb2.ExplainResponse:
    """Return a response as it is cached: float32 maps, and nothing that belongs to one call only."""
    return explainer_pb2.ExplainResponse(
        model=to_ref(bundle),
        method=method_of(bundle, engine),
        target=target_to_proto(target),
        attributions=[
            explainer_pb2.ClassAttribution(
                name=output.name,
                index=output.index,
                map=tensors.encode(output.map),
                map_scale=1.0,
                sum=output.total,
                favorable_sum=output.favorable_sum,
                glum_sum=output.glum_sum,
                output=output.output,
                base_value=output.base_value,
                additivity_residual=output.additivity_residual,
                channels=None if output.channels is None else tensors.encode(output.channels),
            )
            for output in attribution.outputs
        ],
        attribution_vector=tensors.encode(attribution.vector),
        logits=attribution.logits.tolist(),
        cache_key=key,
        compute_seconds=seconds,
        preprocessing_digest=bundle.preprocessing.digest,
    )


def for_call(
    response: explainer_pb2.ExplainResponse,
    *,
    map_to_image: Affine,
    cache_hit: bool,
    map_dtype: common_pb2.DataType,
) -> explainer_pb2.ExplainResponse:
    """Complete a stored response for one call, in place: its image's geometry, and float16 maps where asked for."""
    a = map_to_image
    response.map_to_image.CopyFrom(common_pb2.Affine(a=a.a, b=a.b, c=a.c, d=a.d, e=a.e, f=a.f))
    response.cache_hit = cache_hit
    if map_dtype == common_pb2.DATA_TYPE_FLOAT16:
        for attribution in response.attributions:
            half, scale = to_float16(np.asarray(tensors.decode(attribution.map), np.float32))
            attribution.map.CopyFrom(tensors.encode(half))
            attribution.map_scale = scale
    return response


def to_float16(map_: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float16], float]:
    """Return a map as float16 and the power of two to multiply it with.

    Values down to 2^-29 of the largest keep a relative precision of 2^-11.
    """
    largest = float(np.abs(map_).max(initial=0.0))
    if largest == 0.0:
        return map_.astype(np.float16), 1.0
    scale = math.ldexp(1.0, math.frexp(largest)[1]) / _FLOAT16_TOP
    return (map_.astype(np.float64) / scale).astype(np.float16), scale
