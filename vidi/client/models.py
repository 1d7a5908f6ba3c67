"""What a server says of its models, and small conversions that all results share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from vidi.api.common.v1 import common_pb2
from vidi.imaging.geometry import Affine


@dataclass(frozen=True)
class ModelRef:
    """Names a model; an empty part is left to the server. A `digest` pins the very bytes ("sha256:" and hex)."""

    name: str = ""
    version: str = ""
    digest: str = ""

    def to_proto(self) -> common_pb2.ModelRef:
        """Return the message."""
        return common_pb2.ModelRef(name=self.name, version=self.version, digest=self.digest)

    @classmethod
    def from_proto(cls, ref: common_pb2.ModelRef) -> ModelRef:
        """Read the message."""
        return cls(ref.name, ref.version, ref.digest)


def model_ref(model: str | ModelRef) -> common_pb2.ModelRef:
    """Return the message for a model given by name or reference; "" is the server's default."""
    return (ModelRef(model) if isinstance(model, str) else model).to_proto()


@dataclass(frozen=True)
class Code:
    """A coded concept (DICOM PS3.3 section 8): value, coding scheme designator, meaning for people."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class ModelClass:
    """One class of a model: position in its output, name, and its code in DICOM results. Not a finding."""

    index: int
    name: str
    code: Code


@dataclass(frozen=True)
class IntendedUse:
    """Films that a model was made for. Ages in years, None: no bound. `subjects`: "patient", "phantom"."""

    statement: str
    age_min_years: float | None
    age_max_years: float | None
    modalities: tuple[str, ...]
    views: tuple[str, ...]
    source_population: str
    content_qualification: str
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class ModelMetric:
    """A measured quality, its 95 % interval where computed, and the films it was measured on."""

    name: str
    value: float
    ci_low: float | None
    ci_high: float | None
    split: str


@dataclass(frozen=True)
class Model:
    """What a server says of a loaded model; the fields are those of `vidi.api.common.v1.Model`."""

    ref: ModelRef
    arch: str
    width: float
    classes: tuple[ModelClass, ...]
    input_height: int
    input_width: int
    preprocessing_version: str
    preprocessing_digest: str
    preprocessing_geometry: str
    intended_use: IntendedUse
    training_data: str
    training_data_licence: str
    metrics: tuple[ModelMetric, ...]
    weights_digest: str
    background_digest: str
    background_size: int
    background_description: str
    calibrated: bool
    map_scale: float
    is_default: bool

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.ref.name

    @classmethod
    def from_proto(cls, m: common_pb2.Model) -> Model:
        """Read the message."""
        use = m.intended_use
        return cls(
            ref=ModelRef.from_proto(m.ref),
            arch=m.arch,
            width=m.width,
            classes=tuple(
                ModelClass(c.index, c.name, Code(c.code.value, c.code.scheme, c.code.meaning)) for c in m.classes
            ),
            input_height=m.input_height,
            input_width=m.input_width,
            preprocessing_version=m.preprocessing_version,
            preprocessing_digest=m.preprocessing_digest,
            preprocessing_geometry=m.preprocessing_geometry,
            intended_use=IntendedUse(
                statement=use.statement,
                age_min_years=use.age_min_years if use.HasField("age_min_years") else None,
                age_max_years=use.age_max_years if use.HasField("age_max_years") else None,
                modalities=tuple(use.modalities),
                views=tuple(use.views),
                source_population=use.source_population,
                content_qualification=use.content_qualification,
                subjects=tuple(use.subjects),
            ),
            training_data=m.training_data,
            training_data_licence=m.training_data_licence,
            metrics=tuple(
                ModelMetric(
                    name=x.name,
                    value=x.value,
                    ci_low=x.ci_low if x.HasField("ci_low") else None,
                    ci_high=x.ci_high if x.HasField("ci_high") else None,
                    split=x.split,
                )
                for x in m.metrics
            ),
            weights_digest=m.weights_digest,
            background_digest=m.background_digest,
            background_size=m.background_size,
            background_description=m.background_description,
            calibrated=m.calibrated,
            map_scale=m.map_scale,
            is_default=m.is_default,
        )


def affine(a: common_pb2.Affine) -> Affine:
    """Read the message."""
    return Affine(a.a, a.b, a.c, a.d, a.e, a.f)


def jsonable(value: Any, leave_out: frozenset[str] = frozenset()) -> Any:
    """Return a result as plain lists, dicts and numbers; `leave_out` names fields to drop at any depth."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name), leave_out) for f in fields(value) if f.name not in leave_out}
    if isinstance(value, Mapping):
        return {str(k): jsonable(v, leave_out) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(v, leave_out) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.isoformat() if isinstance(value, datetime) else value


def moment(seconds: int, nanos: int) -> datetime:
    """Return a Timestamp's parts as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
