"""Audit messages are what DICOM PS3.15 A.5 says, for every event, and say who and what it was about."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from vidi_gateway.audit.events import KINDS, Event
from vidi_gateway.audit.messages import to_json, to_xml
from vidi_gateway.store.audit import AuditRecord

SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("audit-message.rng")))


def record(event: str, **changes: Any) -> AuditRecord:
    values: dict[str, Any] = {"id": 7, "at": 1_700_000_000.25, "event": event, "film_id": "f" + "0" * 31}
    values |= {"source": "dimse:MODALITY1@10.0.0.5", "outcome": "", "actor": "", "action": "", "detail": {}}
    return AuditRecord(**(values | {"writer": "w", "chain": "c" * 64} | changes))


def parsed(one: AuditRecord) -> Any:
    tree = etree.fromstring(to_xml(one, source_id="VIDI", site_id="Hospital"))
    assert SCHEMA.validate(tree), SCHEMA.error_log
    return tree


@pytest.mark.parametrize("event", [*Event, "something new"])
def test_every_event_makes_a_valid_message(event: str) -> None:
    for changes in (
        {},
        {"film_id": "", "source": ""},
        {"actor": "anna", "outcome": "PEER_UNKNOWN", "action": "D"},
        {"detail": {"study": "s1", "patient": "p1", "n": 3, "kinds": ["sr"]}},
        {"source": "http:127.0.0.1", "action": "nonsense"},
        {"source": "\x00<&>\ud800'\"@host", "outcome": "\x1b[31m", "actor": "é"},
    ):
        tree = parsed(record(event, **changes))
        assert tree.find("EventIdentification").get("EventDateTime") == "2023-11-14T22:13:20.250Z"


def test_the_schema_refuses_what_the_standard_does_not_allow() -> None:
    tree = parsed(record(Event.TAKEN))
    tree.find("EventIdentification").set("EventActionCode", "X")
    assert not SCHEMA.validate(tree)
    tree = parsed(record(Event.TAKEN))
    tree.remove(tree.find("AuditSourceIdentification"))
    assert not SCHEMA.validate(tree)


def test_events_that_are_noted_have_a_kind_of_their_own() -> None:
    plain = {Event.REPLAY, Event.PULL_STARTED, Event.PULL_CANCELLED, Event.PULL_RESUMED}
    assert set(Event) - set(KINDS) == plain


def test_a_film_that_came_in() -> None:
    tree = parsed(record(Event.TAKEN, detail={"study": "s1", "patient": "p1", "fate": "kept"}))
    assert tree.find("EventIdentification/EventID").get("csd-code") == "110104"
    assert tree.find("EventIdentification").get("EventOutcomeIndicator") == "0"
    peer, own = tree.findall("ActiveParticipant")
    assert peer.get("UserID") == "dimse:MODALITY1" and peer.get("NetworkAccessPointID") == "10.0.0.5"
    assert peer.get("NetworkAccessPointTypeCode") == "2" and peer.get("UserIsRequestor") == "true"
    assert peer.find("RoleIDCode").get("csd-code") == "110153"
    assert own.get("UserID") == "VIDI" and own.find("RoleIDCode").get("csd-code") == "110152"
    names = {
        o.find("ParticipantObjectIDTypeCode").get("csd-code"): o.get("ParticipantObjectID")
        for o in tree.findall("ParticipantObjectIdentification")
    }
    assert names == {"study-key": "s1", "film-key": "f" + "0" * 31, "patient-key": "p1"}
    details = {d.get("type"): base64.b64decode(d.get("value")).decode() for d in tree.iter("ParticipantObjectDetail")}
    assert details == {"fate": "kept", "record": "7:" + "c" * 64}


@pytest.mark.parametrize(
    ("event", "code", "type_code", "outcome", "action"),
    [
        (Event.STARTED, "110100", "110120", "0", "E"),
        (Event.STOPPED, "110100", "110121", "0", "E"),
        (Event.NOT_TAKEN, "110104", None, "4", "C"),
        (Event.DELIVERED, "110104", None, "0", "R"),
        (Event.NOT_DELIVERED, "110104", None, "8", "R"),
        (Event.ASSOCIATION_REJECTED, "110113", "110126", "4", "E"),
        (Event.DELIVERY_STOPPED, "110113", "110132", "0", "E"),
        (Event.QUERIED, "110112", None, "0", "E"),
        (Event.EXPORTED, "110106", None, "0", "R"),
        (Event.READ, "110103", None, "0", "R"),
        (Event.WITHDRAWN, "110103", None, "0", "D"),
        (Event.MERGED, "110110", None, "0", "U"),
        (Event.TRAIL_READ, "110101", None, "0", "R"),
    ],
)
def test_codes(event: str, code: str, type_code: str | None, outcome: str, action: str) -> None:
    said = parsed(record(event)).find("EventIdentification")
    kind = said.find("EventTypeCode")
    assert said.find("EventID").get("csd-code") == code
    assert (None if kind is None else kind.get("csd-code")) == type_code
    assert (said.get("EventOutcomeIndicator"), said.get("EventActionCode")) == (outcome, action)


def test_what_leaves_is_marked_as_anonymized() -> None:
    tree = parsed(record(Event.EXPORTED, actor="anna", source=""))
    assert [e.text for e in tree.iter("Anonymized")] == ["true"]
    assert tree.find("ActiveParticipant").get("UserID") == "anna"


def test_json_is_one_line_of_the_trails_own_words() -> None:
    line = to_json(record(Event.TAKEN, detail={"n": 1}, outcome="a\nb"), source_id="VIDI")
    assert "\n" not in line
    said = json.loads(line)
    assert (said["event"], said["event_id"], said["detail"], said["id"]) == ("instance taken", "110104", {"n": 1}, 7)
