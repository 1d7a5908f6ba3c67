"""What the journal says, as messages of the API: one conversion for gRPC and REST."""

from __future__ import annotations

from dataclasses import asdict

from google.protobuf.timestamp_pb2 import Timestamp

from vidi.api.common.v1 import common_pb2
from vidi.api.gateway.v1 import gateway_pb2
from vidi_gateway.store.cohorts import Cohort
from vidi_gateway.store.jobs import Job, JobState
from vidi_gateway.store.records import Delivery, DeliveryState, FilmRecord, FilmState, StoredObject

FILM_STATES = {
    FilmState.RECEIVED: gateway_pb2.FILM_STATE_RECEIVED,
    FilmState.PROCESSING: gateway_pb2.FILM_STATE_PROCESSING,
    FilmState.DONE: gateway_pb2.FILM_STATE_DONE,
    FilmState.REFUSED: gateway_pb2.FILM_STATE_REFUSED,
    FilmState.FAILED: gateway_pb2.FILM_STATE_FAILED,
    FilmState.QUARANTINED: gateway_pb2.FILM_STATE_QUARANTINED,
    FilmState.EXPLAINED: gateway_pb2.FILM_STATE_EXPLAINED,
    FilmState.WITHDRAWN: gateway_pb2.FILM_STATE_WITHDRAWN,
}
OBJECT_KINDS = {
    "sr": gateway_pb2.OBJECT_KIND_STRUCTURED_REPORT,
    "pm": gateway_pb2.OBJECT_KIND_PARAMETRIC_MAP,
    "sc": gateway_pb2.OBJECT_KIND_SECONDARY_CAPTURE,
    "png": gateway_pb2.OBJECT_KIND_OVERLAY_PNG,
    "ko": gateway_pb2.OBJECT_KIND_REJECTION_NOTE,
}
KIND_NAMES: dict[int, str] = {code: name for name, code in OBJECT_KINDS.items()}
_DELIVERY_STATES = {
    DeliveryState.PENDING: gateway_pb2.DELIVERY_STATE_PENDING,
    DeliveryState.SENT: gateway_pb2.DELIVERY_STATE_SENT,
    DeliveryState.DEAD: gateway_pb2.DELIVERY_STATE_DEAD_LETTER,
    DeliveryState.CONFIRMED: gateway_pb2.DELIVERY_STATE_CONFIRMED,
    DeliveryState.CANCELLED: gateway_pb2.DELIVERY_STATE_CANCELLED,
}
_JOB_STATES = {
    JobState.RUNNING: gateway_pb2.JOB_STATE_RUNNING,
    JobState.DONE: gateway_pb2.JOB_STATE_DONE,
    JobState.CANCELLED: gateway_pb2.JOB_STATE_CANCELLED,
}


def timestamp(seconds: float) -> Timestamp:
    """Seconds since the epoch as a Timestamp, to the microsecond."""
    value = Timestamp()
    value.FromMicroseconds(round(seconds * 1e6))
    return value


def film(record: FilmRecord) -> gateway_pb2.Film:
    """A film with its result, when there is one."""
    row = record.film
    state, reason_code, reason = record.standing
    message = gateway_pb2.Film(
        film_id=row.film_id,
        state=FILM_STATES[state],
        reason_code=reason_code,
        reason=reason,
        receive_time=timestamp(row.received_at),
        update_time=timestamp(row.updated_at),
    )
    result = _result(record)
    if result is not None:
        message.result.CopyFrom(result)
    return message


def _result(record: FilmRecord) -> gateway_pb2.FilmResult | None:
    analysis = record.analysis
    if analysis is None or analysis.summary is None or analysis.state is not FilmState.DONE:
        return None
    summary = analysis.summary
    return gateway_pb2.FilmResult(
        model=common_pb2.ModelRef(name=analysis.model, version=analysis.model_version, digest=analysis.model_digest),
        prediction=summary.prediction,
        classes=[gateway_pb2.ClassResult(**asdict(c)) for c in summary.classes],
        calibrated=summary.calibrated,
        warnings=[gateway_pb2.Warning(code=n.code, message=n.message) for n in summary.notes],
        cache_hit=summary.cache_hit,
        explanation_key=summary.explanation_key,
        background_digest=summary.background_digest,
        method=summary.method,
        objects=[_object(o) for o in record.objects],
        map_to_film=common_pb2.Affine(**asdict(summary.map_to_film)),
        superseded_by=analysis.superseded_by,
        urgency=analysis.urgency,
    )


def _object(stored: StoredObject) -> gateway_pb2.ResultObject:
    return gateway_pb2.ResultObject(
        sop_instance_uid=stored.uid,
        kind=OBJECT_KINDS[stored.kind],
        media_type=stored.media_type,
        size_bytes=stored.size_bytes,
        digest=stored.digest,
        class_name=stored.class_name,
        sign=stored.sign,
        deliveries=[_delivery(d) for d in stored.deliveries],
    )


def _delivery(delivery: Delivery) -> gateway_pb2.Delivery:
    return gateway_pb2.Delivery(
        destination=delivery.destination,
        state=_DELIVERY_STATES[delivery.state],
        attempts=delivery.attempts,
        last_error=delivery.last_error,
    )


def cohort(value: Cohort) -> gateway_pb2.Cohort:
    """A cohort."""
    return gateway_pb2.Cohort(
        id=value.cohort_id,
        display_name=value.display_name,
        film_ids=value.film_ids,
        labels=value.labels,
        count=value.count,
        create_time=timestamp(value.created_at),
        clustering_ids=value.clustering_ids,
    )


def job(value: Job) -> gateway_pb2.Job:
    """A job."""
    return gateway_pb2.Job(
        id=value.job_id,
        state=_JOB_STATES[value.state],
        total=value.total,
        done=value.done,
        failed=value.failed,
        cancelled=value.left_out,
        create_time=timestamp(value.created_at),
        model=common_pb2.ModelRef(name=value.model, version=value.model_version, digest=value.model_digest),
    )
