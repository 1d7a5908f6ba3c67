"""What the gateway answers: films, jobs, cohorts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from vidi.api.gateway.v1 import gateway_pb2
from vidi.client.clusters import Clustering, Sweep
from vidi.client.models import ModelRef, affine, moment
from vidi.imaging.geometry import Affine

FilmState = Literal[
    "received", "processing", "explained", "done", "refused", "failed", "quarantined", "withdrawn", "unspecified"
]
ObjectKind = Literal["sr", "pm", "sc", "png", "ko"]
DeliveryState = Literal["pending", "sent", "confirmed", "dead_letter", "cancelled", "unspecified"]
JobState = Literal["running", "done", "cancelled", "unspecified"]

KINDS: dict[ObjectKind, gateway_pb2.ObjectKind] = {
    "sr": gateway_pb2.OBJECT_KIND_STRUCTURED_REPORT,
    "pm": gateway_pb2.OBJECT_KIND_PARAMETRIC_MAP,
    "sc": gateway_pb2.OBJECT_KIND_SECONDARY_CAPTURE,
    "png": gateway_pb2.OBJECT_KIND_OVERLAY_PNG,
    "ko": gateway_pb2.OBJECT_KIND_REJECTION_NOTE,
}
_KIND_NAMES: dict[int, ObjectKind] = {code: name for name, code in KINDS.items()}


@dataclass(frozen=True)
class Receipt:
    """What became of a submitted instance.

    Attributes
    ----------
    film_id
        The film's id; "" when the instance was dropped because it is no film.
    state
        Where the film stands.
    duplicate
        Whether the same film was there already.
    reason_code, reason
        Why it was dropped or refused; empty otherwise.
    """

    film_id: str
    state: FilmState
    duplicate: bool
    reason_code: str
    reason: str

    @classmethod
    def from_proto(cls, r: gateway_pb2.SubmitInstanceResponse) -> Receipt:
        """Read the message."""
        return cls(r.film_id, _film_state(r.state), r.duplicate, r.reason_code, r.reason)


@dataclass(frozen=True)
class Delivery:
    """One destination of a result object: where it stands, how often it was tried, why the last attempt failed."""

    destination: str
    state: DeliveryState
    attempts: int
    last_error: str


@dataclass(frozen=True)
class ResultObject:
    """One result object: a DICOM instance ("sr", "pm", "sc", "ko") or the film's picture with its maps ("png")."""

    sop_instance_uid: str
    kind: ObjectKind
    media_type: str
    size_bytes: int
    digest: str
    class_name: str
    sign: str
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True)
class FilmWarning:
    """A coded note on a film: something the reader should know."""

    code: str
    message: str


@dataclass(frozen=True)
class ClassResult:
    """Outcome of one class: probability in 0..1, logit, and sums of its map in logits."""

    name: str
    probability: float
    logit: float
    additivity_residual: float
    favorable_sum: float
    glum_sum: float


@dataclass(frozen=True)
class FilmResult:
    """The result of a film. `prediction` names the class that the model favours: not a finding.

    `superseded_by` is the digest that the model line has now, where that is another one; `urgency` (0..1) says how far
    the film is pulled forward in the reading order.
    """

    model: ModelRef
    prediction: str
    classes: tuple[ClassResult, ...]
    calibrated: bool
    warnings: tuple[FilmWarning, ...]
    cache_hit: bool
    explanation_key: str
    background_digest: str
    method: str
    objects: tuple[ResultObject, ...]
    map_to_film: Affine
    superseded_by: str = ""
    urgency: float = 0.0


@dataclass(frozen=True)
class Film:
    """A film and where it stands. `result` is None unless it is done; other final states say nothing of the patient."""

    film_id: str
    state: FilmState
    reason_code: str
    reason: str
    receive_time: datetime
    update_time: datetime
    result: FilmResult | None

    @property
    def final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in ("done", "refused", "failed", "quarantined", "withdrawn")

    @classmethod
    def from_proto(cls, f: gateway_pb2.Film) -> Film:
        """Read the message."""
        return cls(
            film_id=f.film_id,
            state=_film_state(f.state),
            reason_code=f.reason_code,
            reason=f.reason,
            receive_time=moment(f.receive_time.seconds, f.receive_time.nanos),
            update_time=moment(f.update_time.seconds, f.update_time.nanos),
            result=_result(f.result) if f.HasField("result") else None,
        )


@dataclass(frozen=True)
class Job:
    """A background job over stored films, with its counts."""

    id: str
    state: JobState
    total: int
    done: int
    failed: int
    cancelled: int
    create_time: datetime
    model: ModelRef

    @property
    def final(self) -> bool:
        """Whether it is done or cancelled."""
        return self.state in ("done", "cancelled")

    @classmethod
    def from_proto(cls, j: gateway_pb2.Job) -> Job:
        """Read the message."""
        return cls(
            id=j.id,
            state=_short(gateway_pb2.JobState, j.state, "JOB_STATE_"),
            total=j.total,
            done=j.done,
            failed=j.failed,
            cancelled=j.cancelled,
            create_time=moment(j.create_time.seconds, j.create_time.nanos),
            model=ModelRef.from_proto(j.model),
        )


@dataclass(frozen=True)
class Cohort:
    """A named list of films; `film_ids` and `labels` are empty in lists, `count` is not."""

    id: str
    display_name: str
    film_ids: tuple[str, ...]
    labels: Mapping[str, str]
    count: int
    create_time: datetime
    clustering_ids: tuple[str, ...]

    @classmethod
    def from_proto(cls, c: gateway_pb2.Cohort) -> Cohort:
        """Read the message."""
        return cls(
            id=c.id,
            display_name=c.display_name,
            film_ids=tuple(c.film_ids),
            labels=dict(c.labels),
            count=c.count,
            create_time=moment(c.create_time.seconds, c.create_time.nanos),
            clustering_ids=tuple(c.clustering_ids),
        )


@dataclass(frozen=True, eq=False)
class CohortClustering:
    """A cohort's clustering, the sweep that chose its k (None when k was given), and its report.

    `report_html` is self-contained, de-identified UTF-8; member ids are film ids.
    """

    clustering: Clustering
    sweep: Sweep | None
    report_html: bytes

    def to_json(self) -> dict[str, Any]:
        """Return clustering and sweep as plain values."""
        sweep = None if self.sweep is None else self.sweep.to_json()
        return {"clustering": self.clustering.to_json(), "sweep": sweep}

    @classmethod
    def from_proto(cls, r: gateway_pb2.ClusterCohortResponse) -> CohortClustering:
        """Read the message."""
        sweep = Sweep.from_proto(r.sweep) if r.HasField("sweep") else None
        return cls(Clustering.from_proto(r.clustering), sweep, r.report_html)


def _result(r: gateway_pb2.FilmResult) -> FilmResult:
    return FilmResult(
        model=ModelRef.from_proto(r.model),
        prediction=r.prediction,
        classes=tuple(
            ClassResult(c.name, c.probability, c.logit, c.additivity_residual, c.favorable_sum, c.glum_sum)
            for c in r.classes
        ),
        calibrated=r.calibrated,
        warnings=tuple(FilmWarning(w.code, w.message) for w in r.warnings),
        cache_hit=r.cache_hit,
        explanation_key=r.explanation_key,
        background_digest=r.background_digest,
        method=r.method,
        objects=tuple(_object(o) for o in r.objects if o.kind in _KIND_NAMES),
        map_to_film=affine(r.map_to_film),
        superseded_by=r.superseded_by,
        urgency=r.urgency,
    )


def _object(o: gateway_pb2.ResultObject) -> ResultObject:
    return ResultObject(
        sop_instance_uid=o.sop_instance_uid,
        kind=_KIND_NAMES[o.kind],
        media_type=o.media_type,
        size_bytes=o.size_bytes,
        digest=o.digest,
        class_name=o.class_name,
        sign=o.sign,
        deliveries=tuple(
            Delivery(
                destination=d.destination,
                state=_short(gateway_pb2.DeliveryState, d.state, "DELIVERY_STATE_"),
                attempts=d.attempts,
                last_error=d.last_error,
            )
            for d in o.deliveries
        ),
    )


def _film_state(state: int) -> FilmState:
    return _short(gateway_pb2.FilmState, state, "FILM_STATE_")  # type: ignore[no-any-return]


def _short(enum: Any, value: int, prefix: str) -> Any:
    """Return an enum value's name without its prefix, in lower case; a newer server's value is "unspecified"."""
    known = enum.DESCRIPTOR.values_by_number.get(value)
    return known.name.removeprefix(prefix).lower() if known else "unspecified"
