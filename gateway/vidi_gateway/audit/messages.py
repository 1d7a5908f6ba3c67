"""One record of the trail as a DICOM audit message (PS3.15 A.5.1) or as a line of JSON."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import re
from typing import Any
from xml.etree import ElementTree as ET

from vidi_gateway.audit.events import DESTINATION, FILM_KEY, PATIENT_KEY, STUDY_KEY, Code, Event, Kind, kind_of
from vidi_gateway.store.audit import AuditRecord, as_dict

#: What XML 1.0 cannot hold (section 2.2).
_UNFIT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Audit source type: application server process (PS3.15 A.5.1.2.1).
_APPLICATION_SERVER = "4"
_LEFT_OUT = frozenset({"study", "patient", "starts"})  # told elsewhere, or of use to nobody else


def to_xml(record: AuditRecord, *, source_id: str, site_id: str = "") -> str:
    """Return the record as an audit message, without an XML declaration, on one line.

    Parameters
    ----------
    record
        From the trail.
    source_id
        AuditSourceID: the name of this node.
    site_id
        AuditEnterpriseSiteID; "": none.
    """
    kind = kind_of(record.event)
    message = ET.Element("AuditMessage")
    identification = ET.SubElement(
        message,
        "EventIdentification",
        {
            "EventActionCode": record.action if record.action in {"C", "R", "U", "D", "E"} else kind.action,
            "EventDateTime": moment(record.at),
            "EventOutcomeIndicator": kind.outcome,
        },
    )
    _coded(identification, "EventID", kind.id)
    for code in kind.types:
        _coded(identification, "EventTypeCode", code)
    if record.outcome:
        ET.SubElement(identification, "EventOutcomeDescription").text = _fit(record.outcome)
    _participants(message, record, kind, source_id)
    origin = {"AuditSourceID": _fit(source_id)} | ({"AuditEnterpriseSiteID": _fit(site_id)} if site_id else {})
    source = ET.SubElement(message, "AuditSourceIdentification", origin)
    ET.SubElement(source, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    _objects(message, record, kind)
    return ET.tostring(message, encoding="unicode")


def to_json(record: AuditRecord, *, source_id: str, site_id: str = "") -> str:
    """Return the record as one line of JSON: the trail's own words, and DICOM's event code."""
    values: dict[str, Any] = as_dict(record) | {"at": moment(record.at), "source_id": source_id}
    values |= {"site_id": site_id} if site_id else {}
    kind = kind_of(record.event)
    return json.dumps(values | {"event_id": kind.id.value, "success": kind.outcome == "0"}, sort_keys=True)


def moment(at: float) -> str:
    """Return a time as xsd:dateTime in UTC, to the millisecond."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _participants(message: ET.Element, record: AuditRecord, kind: Kind, source_id: str) -> None:
    """Who did it and with whom: the other party if there is one, the person if one is named, and we."""
    if record.source:
        _participant(message, record.source, kind.peer_role, not record.actor and kind.peer_role is not DESTINATION)
    if record.actor and record.actor != record.source:
        _participant(message, record.actor, None, True)
    _participant(message, source_id, kind.own_role, not record.source and not record.actor)


def _participant(message: ET.Element, name: str, role: Code | None, requests: bool) -> None:
    user, host = name, ""
    if "@" in name:
        user, _, host = name.rpartition("@")
    elif name.startswith(("http:", "grpc:", "stow:", "operator:")):
        host = name.partition(":")[2]
    attributes = {"UserID": _fit(user) or "unknown", "UserIsRequestor": "true" if requests else "false"}
    if host:
        attributes |= {"NetworkAccessPointID": _fit(host), "NetworkAccessPointTypeCode": _network(host)}
    element = ET.SubElement(message, "ActiveParticipant", attributes)
    if role:
        _coded(element, "RoleIDCode", role)


def _network(host: str) -> str:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "1"  # a name
    return "2"


def _objects(message: ET.Element, record: AuditRecord, kind: Kind) -> None:
    """What it was about, by keyed digests. Details go to the first object; where there is none, to the event's own."""
    details = [(k, v) for k, v in sorted(record.detail.items()) if k not in _LEFT_OUT]
    details.append(("record", f"{record.id}:{record.chain}"))
    told = [
        (str(record.detail.get("study", "")), "2", "3", STUDY_KEY),
        (record.film_id, "2", "3", FILM_KEY),
        (str(record.detail.get("patient", "")), "1", "1", PATIENT_KEY),
    ]
    told = [t for t in told if t[0]] or [(record.event, "2", "4", Code("event", "99VIDI", "Event of the trail"))]
    for name, type_code, role, code in told:
        attributes = {
            "ParticipantObjectID": _fit(name),
            "ParticipantObjectTypeCode": type_code,
            "ParticipantObjectTypeCodeRole": role if record.event != Event.QUERIED else "24",
        }
        if kind.life_cycle and code is not PATIENT_KEY:
            attributes["ParticipantObjectDataLifeCycle"] = kind.life_cycle
        element = ET.SubElement(message, "ParticipantObjectIdentification", attributes)
        _coded(element, "ParticipantObjectIDTypeCode", code)
        ET.SubElement(element, "ParticipantObjectName").text = _fit(name)
        for key, value in details:
            encoded = base64.b64encode(_words(value).encode()).decode()
            ET.SubElement(element, "ParticipantObjectDetail", {"type": _fit(str(key)), "value": encoded})
        details = []
        if kind.anonymized:
            description = ET.SubElement(element, "ParticipantObjectDescription")
            ET.SubElement(description, "Anonymized").text = "true"


def _coded(parent: ET.Element, name: str, code: Code) -> None:
    attributes = {"csd-code": _fit(code.value), "codeSystemName": code.scheme}
    ET.SubElement(parent, name, attributes | {"originalText": _fit(code.meaning)})


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _fit(text: str) -> str:
    """Return a text that XML can hold."""
    return _UNFIT.sub("?", text)
