"""What the explainer says of an explanation's worth, as frozen values: see docs/explanations.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vidi.api.explainer.v1 import explainer_pb2, quality_pb2
from vidi.client.models import ModelRef, jsonable
from vidi.client.results import Method, Target
from vidi.errors import InvalidInput

Measure = Literal[
    "additivity", "sign_disagreement", "deletion_insertion", "repeatability", "noise_floor", "areas", "truth"
]
_MEASURES: dict[Measure, quality_pb2.Measure] = {
    "additivity": quality_pb2.MEASURE_ADDITIVITY,
    "sign_disagreement": quality_pb2.MEASURE_SIGN_DISAGREEMENT,
    "deletion_insertion": quality_pb2.MEASURE_DELETION_INSERTION,
    "repeatability": quality_pb2.MEASURE_REPEATABILITY,
    "noise_floor": quality_pb2.MEASURE_NOISE_FLOOR,
    "areas": quality_pb2.MEASURE_AREAS,
    "truth": quality_pb2.MEASURE_TRUTH,
}
_MEASURE_NAMES: dict[int, Measure] = {code: name for name, code in _MEASURES.items()}
Perturbation = Literal["shift", "rotation", "jpeg", "unspecified"]
_PERTURBATION_NAMES: dict[int, Perturbation] = {
    quality_pb2.PERTURBATION_SHIFT: "shift",
    quality_pb2.PERTURBATION_ROTATION: "rotation",
    quality_pb2.PERTURBATION_JPEG: "jpeg",
}


def measure_code(measure: Measure) -> quality_pb2.Measure:
    """Return the API's number of a measure.

    Raises
    ------
    InvalidInput
        When there is no such measure.
    """
    if measure not in _MEASURES:
        raise InvalidInput(f"no measure {measure!r}: there is {', '.join(_MEASURES)}", field="measures")
    return _MEASURES[measure]


@dataclass(frozen=True, eq=False)
class Curve:
    """An output (logit) while pixels are exchanged: float64 (steps + 1,), read-only; `area` is its mean on the way."""

    values: npt.NDArray[np.float64]
    area: float

    @classmethod
    def from_proto(cls, c: quality_pb2.Curve) -> Curve:
        """Read the message."""
        values = np.array(c.values, dtype=np.float64)
        values.flags.writeable = False
        return cls(values, c.area)


@dataclass(frozen=True, eq=False)
class DeletionInsertion:
    """Curves in the map's order and in a random one. Good: deletion's area low, insertion's high."""

    deletion: Curve
    insertion: Curve
    random_deletion: Curve
    random_insertion: Curve

    @classmethod
    def from_proto(cls, d: quality_pb2.DeletionInsertion) -> DeletionInsertion:
        """Read the message."""
        parts = (d.deletion, d.insertion, d.random_deletion, d.random_insertion)
        return cls(*(Curve.from_proto(part) for part in parts))


@dataclass(frozen=True)
class Repeatability:
    """How alike the maps of the film and of the changed film are, -1..1, after smoothing by `sigma` pixels."""

    perturbation: Perturbation
    sigma: float
    rank_correlation: float | None
    cosine: float | None

    @classmethod
    def from_proto(cls, r: quality_pb2.Repeatability) -> Repeatability:
        """Read the message."""
        return cls(
            perturbation=_PERTURBATION_NAMES.get(r.perturbation, "unspecified"),
            sigma=r.sigma,
            rank_correlation=r.rank_correlation if r.HasField("rank_correlation") else None,
            cosine=r.cosine if r.HasField("cosine") else None,
        )


@dataclass(frozen=True)
class NoiseFloor:
    """How high networks with shuffled weights heap up as much attribution: the median of `by_seed`.

    In logits per pixel, after smoothing.
    """

    value: float
    percentile: float
    seeds: tuple[int, ...]
    by_seed: tuple[float, ...]

    @classmethod
    def from_proto(cls, f: quality_pb2.NoiseFloor) -> NoiseFloor:
        """Read the message."""
        return cls(f.value, f.percentile, tuple(f.seeds), tuple(f.by_seed))


@dataclass(frozen=True)
class Area:
    """The smallest area that holds `mass_share` of what is favorable above the floor; `level` is its lowest value."""

    mass_share: float
    pixels: int
    grid_share: float
    level: float


@dataclass(frozen=True)
class Areas:
    """Where a map stands out of the noise; without `stands_out` no region does, and there are no areas."""

    stands_out: bool
    mass_above_floor: float | None
    areas: tuple[Area, ...]

    @classmethod
    def from_proto(cls, a: quality_pb2.Areas) -> Areas:
        """Read the message."""
        return cls(
            stands_out=a.stands_out,
            mass_above_floor=a.mass_above_floor if a.HasField("mass_above_floor") else None,
            areas=tuple(Area(x.mass_share, x.pixels, x.grid_share, x.level) for x in a.areas),
        )


@dataclass(frozen=True)
class TruthScore:
    """One map against the truth: the share of what is favorable inside, and whether its maximum lies there."""

    favorable_inside: float | None
    points_inside: bool

    @classmethod
    def from_proto(cls, s: quality_pb2.TruthScore) -> TruthScore:
        """Read the message."""
        return cls(s.favorable_inside if s.HasField("favorable_inside") else None, s.points_inside)


@dataclass(frozen=True)
class TruthAgreement:
    """The explanation and its rivals against the truth."""

    map: TruthScore
    rivals: Mapping[str, TruthScore]

    @classmethod
    def from_proto(cls, t: quality_pb2.TruthAgreement) -> TruthAgreement:
        """Read the message."""
        return cls(
            TruthScore.from_proto(t.map), {name: TruthScore.from_proto(score) for name, score in t.rivals.items()}
        )


@dataclass(frozen=True)
class TruthChance:
    """What chance gives of both parts of a `TruthScore`; `tolerance` of the pointing, in pixels of the model's grid."""

    favorable_inside: float
    points_inside: float
    tolerance: float


@dataclass(frozen=True, eq=False)
class OutputQuality:
    """What was measured of one output; None, or nothing, where it was not.

    The fields are those of `vidi.api.explainer.v1.OutputQuality`.
    """

    name: str
    index: int
    output: float
    base_value: float
    additivity_residual: float | None
    sign_disagreement: float | None
    deletion_insertion: DeletionInsertion | None
    repeatability: tuple[Repeatability, ...]
    noise_floor: NoiseFloor | None
    areas: Areas | None
    truth: TruthAgreement | None

    @classmethod
    def from_proto(cls, o: quality_pb2.OutputQuality) -> OutputQuality:
        """Read the message."""
        curves = DeletionInsertion.from_proto(o.deletion_insertion) if o.HasField("deletion_insertion") else None
        return cls(
            name=o.name,
            index=o.index,
            output=o.output,
            base_value=o.base_value,
            additivity_residual=o.additivity_residual if o.HasField("additivity_residual") else None,
            sign_disagreement=o.sign_disagreement if o.HasField("sign_disagreement") else None,
            deletion_insertion=curves,
            repeatability=tuple(Repeatability.from_proto(r) for r in o.repeatability),
            noise_floor=NoiseFloor.from_proto(o.noise_floor) if o.HasField("noise_floor") else None,
            areas=Areas.from_proto(o.areas) if o.HasField("areas") else None,
            truth=TruthAgreement.from_proto(o.truth) if o.HasField("truth") else None,
        )


@dataclass(frozen=True, eq=False)
class Assessment:
    """How good the explanation of one film is.

    Attributes
    ----------
    model, method, target
        As in `Explanation`.
    measures
        What was measured.
    left_out
        What was not, though no measure was asked for by name: the reason by measure.
    outputs
        One per class in class order, or one for class A against class B.
    truth_chance
        What chance gives against the truth; None where not measured.
    smoothing_sigma
        Standard deviation in pixels of the smoothing that areas, pointing and the noise floors use.
    seed, steps
        As used.
    compute_seconds
        Seconds of computation, waiting excluded.
    """

    model: ModelRef
    method: Method
    target: Target
    measures: tuple[Measure, ...]
    left_out: Mapping[Measure, str]
    outputs: tuple[OutputQuality, ...]
    truth_chance: TruthChance | None
    smoothing_sigma: float
    seed: int
    steps: int
    compute_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dict(jsonable(self))

    @classmethod
    def from_proto(cls, r: explainer_pb2.AssessExplanationResponse) -> Assessment:
        """Read the message."""
        m, chance = r.method, r.truth_chance
        return cls(
            model=ModelRef.from_proto(r.model),
            method=Method(m.engine, m.engine_version, m.precision, m.references, m.background_digest),
            target=Target.from_proto(r.target),
            measures=tuple(_MEASURE_NAMES[code] for code in r.measures if code in _MEASURE_NAMES),
            left_out={_MEASURE_NAMES[x.measure]: x.reason for x in r.left_out if x.measure in _MEASURE_NAMES},
            outputs=tuple(OutputQuality.from_proto(o) for o in r.outputs),
            truth_chance=(
                TruthChance(chance.favorable_inside, chance.points_inside, chance.tolerance)
                if r.HasField("truth_chance")
                else None
            ),
            smoothing_sigma=r.smoothing_sigma,
            seed=r.seed,
            steps=r.steps,
            compute_seconds=r.compute_seconds,
        )
