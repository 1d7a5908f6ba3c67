"""What the classifier and the explainer answer, as frozen values with numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from vidi import tensors
from vidi.api.classifier.v1 import classifier_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.client.models import ModelRef, affine
from vidi.errors import ViDiError
from vidi.imaging.geometry import Affine

T = TypeVar("T")
Float32 = npt.NDArray[np.float32]

#: Feature space of `Explanation.attribution_vector` (paper, section 3.3).
POOLED = "pooled14-signed"

TargetKind = Literal["logit", "class_vs_mean", "class_vs_class"]
_TARGETS: dict[TargetKind, explainer_pb2.TargetKind] = {
    "logit": explainer_pb2.TARGET_KIND_LOGIT,
    "class_vs_mean": explainer_pb2.TARGET_KIND_CLASS_VS_MEAN,
    "class_vs_class": explainer_pb2.TARGET_KIND_CLASS_VS_CLASS,
}
_TARGET_NAMES: dict[int, TargetKind] = {code: name for name, code in _TARGETS.items()}


@dataclass(frozen=True)
class ClassScore:
    """One class's outcome: `probability` in 0..1 (see `Classification.calibrated`), `logit` before the softmax."""

    name: str
    index: int
    probability: float
    logit: float


@dataclass(frozen=True)
class Classification:
    """What the classifier says of one film. A model's class is not a finding.

    Attributes
    ----------
    model
        The model that answered, digest included.
    scores
        All classes in output order.
    top_index, top_name
        The class with the highest probability.
    calibrated
        Whether probabilities are frequencies; if not, they only rank films.
    compute_seconds
        Seconds of computation, waiting excluded.
    """

    model: ModelRef
    scores: tuple[ClassScore, ...]
    top_index: int
    top_name: str
    calibrated: bool
    compute_seconds: float

    @property
    def probabilities(self) -> dict[str, float]:
        """Probability by class name."""
        return {score.name: score.probability for score in self.scores}

    @classmethod
    def from_proto(cls, response: classifier_pb2.ClassifyResponse) -> Classification:
        """Read the message."""
        c = response.classification
        return cls(
            model=ModelRef.from_proto(c.model),
            scores=tuple(ClassScore(s.name, s.index, s.probability, s.logit) for s in c.scores),
            top_index=c.top_index,
            top_name=c.top_name,
            calibrated=c.calibrated,
            compute_seconds=response.compute_seconds,
        )


@dataclass(frozen=True)
class Target:
    """What is explained: each class's logit, each class against the mean of the others, or class A against class B."""

    kind: TargetKind = "logit"
    class_a: str = ""
    class_b: str = ""

    def to_proto(self) -> explainer_pb2.Target:
        """Return the message."""
        return explainer_pb2.Target(kind=_TARGETS[self.kind], class_a=self.class_a, class_b=self.class_b)

    @classmethod
    def from_proto(cls, target: explainer_pb2.Target) -> Target:
        """Read the message."""
        return cls(_TARGET_NAMES.get(target.kind, "logit"), target.class_a, target.class_b)


@dataclass(frozen=True)
class Method:
    """How an explanation was computed: engine, arithmetic, how many references of which set."""

    engine: str
    engine_version: str
    precision: str
    references: int
    background_digest: str


@dataclass(frozen=True)
class Provenance:
    """Where vectors come from; vectors of different provenance are never mixed in a clustering."""

    model: ModelRef
    background_digest: str
    feature_space: str
    method: str
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Attribution:
    """The attribution of one output.

    Attributes
    ----------
    name, index
        The class; "A - B" and -1 when class A was explained against class B.
    map
        Float32 (height, width) of the model's grid, in logits: > 0 is favorable, < 0 is glum. Read-only.
    sum, favorable_sum, glum_sum
        Sums of the exact map and of its two parts, in logits.
    output, base_value
        The explained output of this film, and its mean over the references.
    additivity_residual
        |sum - (output - base_value)| relative to |output - base_value|; 0 is exact.
    channels
        Float32 (3, height, width), when asked for.
    """

    name: str
    index: int
    map: Float32
    sum: float
    favorable_sum: float
    glum_sum: float
    output: float
    base_value: float
    additivity_residual: float
    channels: Float32 | None

    @classmethod
    def from_proto(cls, a: explainer_pb2.ClassAttribution) -> Attribution:
        """Read the message; a float16 map is scaled back to logits."""
        grid = tensors.decode(a.map, field="map", ndim=2, dtypes=("float16", "float32"))
        if grid.dtype != np.float32:
            grid = (grid.astype(np.float64) * a.map_scale).astype(np.float32)
            grid.flags.writeable = False
        channels = (
            tensors.decode(a.channels, field="channels", ndim=3, dtypes=("float32",)) if a.channels.data else None
        )
        return cls(
            name=a.name,
            index=a.index,
            map=grid,  # type: ignore[arg-type]
            sum=a.sum,
            favorable_sum=a.favorable_sum,
            glum_sum=a.glum_sum,
            output=a.output,
            base_value=a.base_value,
            additivity_residual=a.additivity_residual,
            channels=channels,  # type: ignore[arg-type]
        )


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the explainer says of one film.

    Attributes
    ----------
    model
        The model that was explained, digest included.
    method, target
        How it was computed, and what was explained.
    attributions
        One per class in class order, or one for class A against class B.
    attribution_vector
        Float32 (196 x attributions): the maps sum-pooled to 14 x 14, which is what the clusterer takes. Read-only.
    logits
        Float64 (classes,), in class order.
    map_to_image
        From the map's grid to the pixels of the image that was sent.
    cache_hit, cache_key
        Whether it came from the cache, and its content key (hex).
    compute_seconds
        Seconds of computation when it was computed, waiting excluded.
    preprocessing_digest
        "sha256:" and hex.
    """

    model: ModelRef
    method: Method
    target: Target
    attributions: tuple[Attribution, ...]
    attribution_vector: Float32
    logits: npt.NDArray[np.float64]
    map_to_image: Affine
    cache_hit: bool
    cache_key: str
    compute_seconds: float
    preprocessing_digest: str

    @property
    def provenance(self) -> Provenance:
        """Where `attribution_vector` comes from, as `fit` and `sweep_k` ask."""
        return Provenance(
            model=self.model,
            background_digest=self.method.background_digest,
            feature_space=POOLED,
            method=f"{self.method.engine}/{self.method.precision}",
            classes=tuple(a.name for a in self.attributions),
        )

    @classmethod
    def from_proto(cls, r: explainer_pb2.ExplainResponse) -> Explanation:
        """Read the message."""
        vector = tensors.decode(r.attribution_vector, field="attribution_vector", ndim=1, dtypes=("float32",))
        logits = np.array(r.logits, dtype=np.float64)
        logits.flags.writeable = False
        m = r.method
        return cls(
            model=ModelRef.from_proto(r.model),
            method=Method(m.engine, m.engine_version, m.precision, m.references, m.background_digest),
            target=Target.from_proto(r.target),
            attributions=tuple(Attribution.from_proto(a) for a in r.attributions),
            attribution_vector=vector,  # type: ignore[arg-type]
            logits=logits,
            map_to_image=affine(r.map_to_image),
            cache_hit=r.cache_hit,
            cache_key=r.cache_key,
            compute_seconds=r.compute_seconds,
            preprocessing_digest=r.preprocessing_digest,
        )


@dataclass(frozen=True, eq=False)
class Answer(Generic[T]):
    """What became of one image of a stream: its position in what was given, and either a result or an error."""

    index: int
    result: T | None = None
    error: ViDiError | None = None

    def unwrap(self) -> T:
        """Return the result.

        Raises
        ------
        ViDiError
            What went wrong with this image.
        """
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result
