"""What the REST API returns. The same values as the gRPC API (gateway.proto), with names for states and kinds."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, Field

from vidi_gateway.store import cohorts, jobs
from vidi_gateway.store.records import DeliveryState, FilmRecord, FilmState, StoredObject


class Problem(BaseModel):
    """An error. `reason` is stable, for programs; `message` is for people and carries no patient data."""

    reason: str
    message: str
    violations: list[dict[str, str]] = Field(default_factory=list)


class Receipt(BaseModel):
    """What became of a submitted instance. `film_id` is empty for what is not a film; `reason_code` says why."""

    film_id: str
    state: FilmState
    duplicate: bool = False
    reason_code: str = ""
    reason: str = ""


class Warning(BaseModel):
    """Something the reader should know."""

    code: str
    message: str


class ClassResult(BaseModel):
    """One class of the model. Sums are in logits; the residual is relative, 0 is exact."""

    name: str
    probability: float
    logit: float
    additivity_residual: float
    favorable_sum: float
    glum_sum: float


class Delivery(BaseModel):
    """Where an object stands with one destination."""

    destination: str
    state: DeliveryState
    attempts: int
    last_error: str


class ResultObject(BaseModel):
    """One result object."""

    sop_instance_uid: str
    kind: Literal["sr", "pm", "sc", "png", "ko"]
    media_type: str
    size_bytes: int
    digest: str
    class_name: str
    sign: str
    deliveries: list[Delivery]

    @classmethod
    def of(cls, stored: StoredObject) -> ResultObject:
        """From the journal."""
        return cls.model_validate(
            {
                "sop_instance_uid": stored.uid,
                "kind": stored.kind,
                "media_type": stored.media_type,
                "size_bytes": stored.size_bytes,
                "digest": stored.digest,
                "class_name": stored.class_name,
                "sign": stored.sign,
                "deliveries": [vars(d) for d in stored.deliveries],
            }
        )


class Result(BaseModel):
    """A film's result. `prediction` is the class that the model favours: not a finding, and not a diagnosis."""

    model: str
    model_version: str
    model_digest: str
    prediction: str
    calibrated: bool
    classes: list[ClassResult]
    warnings: list[Warning]
    cache_hit: bool
    explanation_key: str
    background_digest: str
    method: str
    objects: list[ResultObject]
    superseded_by: str = ""
    urgency: float = 0.0


class Film(BaseModel):
    """A film. Refused, failed and pending films say nothing about the patient."""

    film_id: str
    state: FilmState
    reason_code: str
    reason: str
    received: dt.datetime
    updated: dt.datetime
    result: Result | None = None

    @classmethod
    def of(cls, record: FilmRecord) -> Film:
        """From the journal."""
        row, analysis = record.film, record.analysis
        state, reason_code, reason = record.standing
        result = None
        if analysis is not None and analysis.summary is not None and analysis.state is FilmState.DONE:
            summary = analysis.summary
            result = Result(
                model=analysis.model,
                model_version=analysis.model_version,
                model_digest=analysis.model_digest,
                prediction=summary.prediction,
                calibrated=summary.calibrated,
                classes=[ClassResult(**vars(c)) for c in summary.classes],
                warnings=[Warning(**vars(n)) for n in summary.notes],
                cache_hit=summary.cache_hit,
                explanation_key=summary.explanation_key,
                background_digest=summary.background_digest,
                method=summary.method,
                objects=[ResultObject.of(o) for o in record.objects],
                superseded_by=analysis.superseded_by,
                urgency=analysis.urgency,
            )
        return cls(
            film_id=row.film_id,
            state=state,
            reason_code=reason_code,
            reason=reason,
            received=moment(row.received_at),
            updated=moment(row.updated_at),
            result=result,
        )


class FilmPage(BaseModel):
    """Films, the last received first."""

    films: list[Film]
    next_page_token: str


class NewCohort(BaseModel):
    """A cohort to be made. `labels` holds a reference label for every film, or nothing."""

    display_name: str = Field(default="", max_length=128)
    film_ids: list[str] = Field(min_length=1, max_length=100_000)
    labels: dict[str, str] = Field(default_factory=dict)


class Cohort(BaseModel):
    """A named list of films."""

    id: str
    display_name: str
    count: int
    created: dt.datetime
    film_ids: list[str]
    labels: dict[str, str]
    clustering_ids: list[str]

    @classmethod
    def of(cls, value: cohorts.Cohort) -> Cohort:
        """From the journal."""
        return cls(
            id=value.cohort_id,
            display_name=value.display_name,
            count=value.count,
            created=moment(value.created_at),
            film_ids=list(value.film_ids),
            labels=value.labels,
            clustering_ids=list(value.clustering_ids),
        )


class CohortPage(BaseModel):
    """Cohorts, newest first, without their films."""

    cohorts: list[Cohort]
    next_page_token: str


class ClusterCohort(BaseModel):
    """How to cluster a cohort. `k` 0: chosen by a sweep."""

    k: int = Field(default=0, ge=0, le=65536)
    seed: int = Field(default=0, ge=0)
    model: str = Field(default="", max_length=128)


class CohortClustering(BaseModel):
    """A clustering of a cohort: `vidi.api.clusterer.v1.Clustering` and `SweepKResponse` in proto3 JSON."""

    clustering: dict[str, Any]
    sweep: dict[str, Any] | None


class NewJob(BaseModel):
    """A background job to be started."""

    film_ids: list[str] = Field(min_length=1, max_length=100_000)
    model: str = Field(default="", max_length=128)


class Job(BaseModel):
    """A background job. Counts are films."""

    id: str
    state: jobs.JobState
    model: str
    model_digest: str
    total: int
    done: int
    failed: int
    left_out: int
    created: dt.datetime

    @classmethod
    def of(cls, value: jobs.Job) -> Job:
        """From the journal."""
        return cls(
            id=value.job_id,
            state=value.state,
            model=value.model,
            model_digest=value.model_digest,
            total=value.total,
            done=value.done,
            failed=value.failed,
            left_out=value.left_out,
            created=moment(value.created_at),
        )


def moment(seconds: float) -> dt.datetime:
    """Seconds since the epoch as a moment in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
