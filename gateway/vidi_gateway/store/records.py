"""What the journal says, as plain values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from vidi.imaging.geometry import Affine
from vidi.imaging.notes import Note

#: Lower runs first (1 to 2^31).
PRIORITY_LIVE = 1
PRIORITY_BULK = 100


class FilmState(StrEnum):
    """Where a film stands, or its analysis on one model line."""

    RECEIVED = "received"
    PROCESSING = "processing"
    EXPLAINED = "explained"  # the outcome is stored; results come when its study has settled
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    WITHDRAWN = "withdrawn"

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in UNFINISHED


#: Waiting for a workflow, or in one.
ACTIVE = (FilmState.RECEIVED, FilmState.PROCESSING)
UNFINISHED = (*ACTIVE, FilmState.EXPLAINED)


class DeliveryState(StrEnum):
    """Where an object stands with one destination."""

    PENDING = "pending"
    SENT = "sent"  # the peer answered Success
    CONFIRMED = "confirmed"  # the peer said on being asked that it has it: delivered
    DEAD = "dead"
    CANCELLED = "cancelled"  # retired before it was sent


class StudyState(StrEnum):
    """Where the publication of a study's results stands."""

    WAITING = "waiting"
    SETTLED = "settled"


class Retirement(StrEnum):
    """Why results are current no more."""

    REPLACED = "replaced"  # the study changed: a film came late, or was analysed again
    AMENDED = "amended"  # who or what a film shows was corrected, or patients were merged
    WITHDRAWN = "withdrawn"  # by an operator, or with a model that should not have been used
    QUALITY = "quality"  # a rejection note, DCM 113001
    SAFETY = "safety"  # DCM 113037
    WORKLIST = "worklist"  # DCM 113038
    RETENTION = "retention"  # DCM 113039
    REFUSED = "refused"  # the archive rejected our result itself


class Verdict(StrEnum):
    """What became of other bytes under a SOP Instance UID that was there already."""

    PENDING = "pending"
    DUPLICATE = "duplicate"
    AMENDED = "amended"  # the same pixels with another identity
    REPLACED = "replaced"  # what was there could not be read, what came can
    QUARANTINED = "quarantined"


def mode_of(routing: str) -> str:
    """Mode of a film's routing (JSON, "" for films that no rule has seen): "live" or "shadow"."""
    return str(json.loads(routing).get("mode", "live")) if routing else "live"


@dataclass(frozen=True)
class NewFilm:
    """A film to be journalled. `source` says how it came ("dimse:AET@host"); `file_key` is "" when it was not kept."""

    film_id: str
    sop_instance_uid: str
    sop_class_uid: str
    file_key: str
    file_digest: str
    file_bytes: int
    model: str
    source: str
    priority: int = PRIORITY_LIVE
    study_key: str = ""
    patient_key: str = ""
    routing: str = ""
    identity_key: str = ""

    @property
    def mode(self) -> str:
        """Whether its results are sent: "live" or "shadow"."""
        return mode_of(self.routing)


@dataclass(frozen=True)
class Film:
    """A row of `films`."""

    film_id: str
    sop_instance_uid: str
    sop_class_uid: str
    file_key: str
    file_digest: str
    file_bytes: int
    pixel_digest: str
    identity_digest: str
    state: FilmState
    reason_code: str
    reason: str
    model: str
    source: str
    revision: int
    received_at: float
    updated_at: float
    study_key: str = ""
    patient_key: str = ""
    routing: str = ""
    identity_key: str = ""
    withdrawn_at: float | None = None
    purged_at: float | None = None

    @property
    def mode(self) -> str:
        """Whether its results are sent: "live" or "shadow"."""
        return mode_of(self.routing)


@dataclass(frozen=True)
class ClassSummary:
    """One class of a result: see `vidi.api.gateway.v1.ClassResult`."""

    name: str
    probability: float
    logit: float
    additivity_residual: float
    favorable_sum: float
    glum_sum: float


@dataclass(frozen=True)
class Summary:
    """A result without its arrays: see `vidi.api.gateway.v1.FilmResult`."""

    prediction: str
    classes: tuple[ClassSummary, ...]
    calibrated: bool
    cache_hit: bool
    explanation_key: str
    background_digest: str
    method: str
    map_to_film: Affine
    notes: tuple[Note, ...] = ()

    def to_json(self) -> str:
        """Return JSON for the journal."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """Read what `to_json` returned."""
        values: dict[str, Any] = json.loads(text)
        values["classes"] = tuple(ClassSummary(**c) for c in values["classes"])
        values["notes"] = tuple(Note(**n) for n in values["notes"])
        values["map_to_film"] = Affine(**values["map_to_film"])
        return cls(**values)


@dataclass(frozen=True)
class Analysis:
    """A row of `analyses`: a film on one model line."""

    analysis_id: str
    film_id: str
    model: str
    model_version: str
    model_digest: str
    state: FilmState
    reason_code: str
    reason: str
    priority: int
    run: int
    attempts: int
    waits: int
    enqueued_at: float | None
    created_at: float
    updated_at: float
    outcome_key: str
    outcome_digest: str
    summary: Summary | None
    mode: str = ""
    explained_at: float | None = None
    superseded_by: str = ""
    urgency: float = 0.0
    urgency_reasons: str = ""
    forgotten: bool = False

    @property
    def workflow_id(self) -> str:
        """Id of the workflow of the current run. Deterministic: enqueueing twice starts one workflow."""
        return f"{self.analysis_id}.{self.run}"


@dataclass(frozen=True)
class Delivery:
    """One object at one destination."""

    destination: str
    state: DeliveryState
    attempts: int
    last_error: str


@dataclass(frozen=True)
class StoredObject:
    """One result object. `key` names its bytes in the store."""

    film_id: str
    uid: str
    kind: str
    model_digest: str
    sop_class_uid: str
    media_type: str
    key: str
    digest: str
    size_bytes: int
    class_name: str = ""
    sign: str = ""
    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True)
class FilmRecord:
    """A film with its result on one model line: by default the line that it arrived on.

    `analysis` is None for a film that was refused on arrival or quarantined. `objects` are those of `analysis`.
    """

    film: Film
    analysis: Analysis | None = None
    objects: tuple[StoredObject, ...] = field(default=())

    @property
    def film_id(self) -> str:
        """The film's id."""
        return self.film.film_id

    @property
    def state(self) -> FilmState:
        """The film's state."""
        return self.film.state

    @property
    def standing(self) -> tuple[FilmState, str, str]:
        """State, coded reason and reason on the line that is looked at: a film may be done on one line only."""
        row: Film | Analysis = self.film
        if self.analysis is not None and self.analysis.model != self.film.model:
            row = self.analysis
        return row.state, row.reason_code, row.reason


@dataclass(frozen=True)
class Arrival:
    """A row of `arrivals`."""

    arrival_id: str
    film_id: str
    file_key: str
    file_digest: str
    file_bytes: int
    source: str
    verdict: Verdict
    received_at: float


@dataclass(frozen=True)
class OutboxEntry:
    """An object that is due at a destination."""

    id: int
    film_id: str
    uid: str
    destination: str
    key: str
    attempts: int
    denials: int = 0
    commit_transaction: str = ""


@dataclass(frozen=True)
class Change:
    """A film changed: `revision` counts its changes from 1."""

    film_id: str
    revision: int
    state: FilmState
    updated_at: float
