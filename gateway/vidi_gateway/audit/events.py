"""What the trail's events are in DICOM's words (PS3.15 A.5.3, PS3.16 CID 400 to 403).

An event that is not in the table is written as an application activity of its own name: nothing is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Event(StrEnum):
    """What is noted. Values are words of the trail: never change them."""

    STARTED = "application started"
    STOPPED = "application stopped"
    TAKEN = "instance taken"
    REFUSED = "instance refused"  # taken note of, and not kept
    NOT_TAKEN = "instance not taken"
    DROPPED = "dropped"
    QUARANTINED = "quarantined"
    SENT = "object sent"  # the peer answered Success
    DELIVERED = "object delivered"  # the peer said on being asked that it has it
    NOT_DELIVERED = "object not delivered"
    READ = "instance read"
    QUERIED = "query"
    EXPORTED = "film exported"
    NOT_EXPORTED = "film not exported"
    PURGED = "bytes deleted"
    AMENDED = "amended"
    WITHDRAWN = "withdrawn"
    RESULTS_WITHDRAWN = "results withdrawn"
    REJECTION_NOTE = "rejection note"
    MERGED = "patients merged"
    ASSOCIATION_REJECTED = "association rejected"
    REQUEST_REFUSED = "request refused"
    CONNECTION_ENDED = "connection ended"
    NOT_OBEYED = "message not obeyed"
    DELIVERY_STOPPED = "delivery stopped"
    DELIVERY_RUNNING = "delivery running"
    REPLAY = "replay"
    PULL_STARTED = "pull started"
    PULL_CANCELLED = "pull cancelled"
    PULL_RESUMED = "pull resumed"
    TRAIL_READ = "audit log used"
    TRAIL_TRIMMED = "audit trimmed"


@dataclass(frozen=True)
class Code:
    """A coded value: code, scheme, meaning."""

    value: str
    scheme: str
    meaning: str


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


APPLICATION_ACTIVITY = _dcm("110100", "Application Activity")
AUDIT_LOG_USED = _dcm("110101", "Audit Log Used")
BEGIN_TRANSFERRING = _dcm("110102", "Begin Transferring DICOM Instances")
INSTANCES_ACCESSED = _dcm("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED = _dcm("110104", "DICOM Instances Transferred")
EXPORT = _dcm("110106", "Export")
PATIENT_RECORD = _dcm("110110", "Patient Record")
QUERY = _dcm("110112", "Query")
SECURITY_ALERT = _dcm("110113", "Security Alert")

APPLICATION_START = _dcm("110120", "Application Start")
APPLICATION_STOP = _dcm("110121", "Application Stop")
NODE_AUTHENTICATION = _dcm("110126", "Node Authentication")
SOFTWARE_CONFIGURATION = _dcm("110131", "Software Configuration")
RESTRICTED_FUNCTION = _dcm("110132", "Use of Restricted Function")

APPLICATION = _dcm("110150", "Application")
APPLICATION_LAUNCHER = _dcm("110151", "Application Launcher")
DESTINATION = _dcm("110152", "Destination Role ID")
SOURCE = _dcm("110153", "Source Role ID")
DESTINATION_MEDIA = _dcm("110154", "Destination Media")

#: Ours: names that cannot be traced without the site key take the place of UIDs and patient numbers.
STUDY_KEY = Code("study-key", "99VIDI", "Keyed digest of the Study Instance UID")
PATIENT_KEY = Code("patient-key", "99VIDI", "Keyed digest of issuer and Patient ID")
FILM_KEY = Code("film-key", "99VIDI", "Keyed digest of the SOP Instance UID")

#: EventOutcomeIndicator.
SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = "0", "4", "8"


@dataclass(frozen=True)
class Kind:
    """How an event is told.

    Attributes
    ----------
    id, types
        EventID and EventTypeCode.
    action
        EventActionCode, where the record has none of its own.
    outcome
        EventOutcomeIndicator.
    peer_role, own_role
        What the other party and we are in it; a peer without a role did nothing but ask.
    life_cycle
        ParticipantObjectDataLifeCycle of the film; "": none.
    anonymized
        What left was de-identified.
    """

    id: Code
    types: tuple[Code, ...] = ()
    action: str = "E"
    outcome: str = SUCCESS
    peer_role: Code | None = None
    own_role: Code = APPLICATION
    life_cycle: str = ""
    anonymized: bool = False


def _received(outcome: str = SUCCESS) -> Kind:
    return Kind(INSTANCES_TRANSFERRED, (), "C", outcome, SOURCE, DESTINATION, "2")


def _sent(outcome: str = SUCCESS) -> Kind:
    return Kind(INSTANCES_TRANSFERRED, (), "R", outcome, DESTINATION, SOURCE, "10")


def _alert(code: Code, outcome: str = MINOR_FAILURE) -> Kind:
    return Kind(SECURITY_ALERT, (code,), "E", outcome)


def _changed(life_cycle: str, action: str = "U") -> Kind:
    return Kind(INSTANCES_ACCESSED, (), action, life_cycle=life_cycle)


KINDS: dict[str, Kind] = {
    Event.STARTED: Kind(APPLICATION_ACTIVITY, (APPLICATION_START,), peer_role=APPLICATION_LAUNCHER),
    Event.STOPPED: Kind(APPLICATION_ACTIVITY, (APPLICATION_STOP,), peer_role=APPLICATION_LAUNCHER),
    Event.TAKEN: _received(),
    Event.REFUSED: _received(MINOR_FAILURE),
    Event.NOT_TAKEN: _received(MINOR_FAILURE),
    Event.DROPPED: _received(MINOR_FAILURE),
    Event.QUARANTINED: _received(SERIOUS_FAILURE),
    Event.SENT: _sent(),
    Event.DELIVERED: _sent(),
    Event.NOT_DELIVERED: _sent(SERIOUS_FAILURE),
    Event.READ: Kind(INSTANCES_ACCESSED, (), "R", life_cycle="6"),
    Event.QUERIED: Kind(QUERY, (), "E", SUCCESS, DESTINATION, SOURCE),
    Event.EXPORTED: Kind(EXPORT, (), "R", SUCCESS, None, SOURCE, "7", anonymized=True),
    Event.NOT_EXPORTED: Kind(EXPORT, (), "R", MINOR_FAILURE, None, SOURCE),
    Event.PURGED: _changed("15", "D"),
    Event.AMENDED: _changed("3"),
    Event.WITHDRAWN: _changed("14", "D"),
    Event.RESULTS_WITHDRAWN: _changed("14", "D"),
    Event.REJECTION_NOTE: _changed("14", "U"),
    Event.MERGED: Kind(PATIENT_RECORD, (), "U", life_cycle="3"),
    Event.ASSOCIATION_REJECTED: _alert(NODE_AUTHENTICATION),
    Event.REQUEST_REFUSED: _alert(NODE_AUTHENTICATION),
    Event.CONNECTION_ENDED: _alert(NODE_AUTHENTICATION),
    Event.NOT_OBEYED: Kind(PATIENT_RECORD, (), "U", MINOR_FAILURE),
    Event.DELIVERY_STOPPED: _alert(RESTRICTED_FUNCTION, SUCCESS),
    Event.DELIVERY_RUNNING: _alert(RESTRICTED_FUNCTION, SUCCESS),
    Event.TRAIL_READ: Kind(AUDIT_LOG_USED, (), "R"),
    Event.TRAIL_TRIMMED: Kind(AUDIT_LOG_USED, (), "D"),
}


def kind_of(event: str) -> Kind:
    """Return how an event is told."""
    return KINDS.get(event) or Kind(APPLICATION_ACTIVITY, (Code(event.replace(" ", "-")[:64], "99VIDI", event),))
