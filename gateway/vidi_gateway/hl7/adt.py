"""What an ADT^A40 says (HL7 2.5.1 section 3.3.40; IHE ITI-30, PIX and PAM: merge patient).

Its patients come in pairs: a PID with the surviving patient, then an MRG with the identifiers that are no longer valid.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import date

from vidi_gateway.hl7.merge import Identifier, Patient, PatientMerge
from vidi_gateway.hl7.message import Header, Segment, read_segments
from vidi_gateway.hl7.refusal import Reason, Refused

#: Trigger events that are obeyed, all of structure ADT_A39.
EVENTS = ("A40",)
MAX_PAIRS = 50
_SEX = {"M": "M", "F": "F", "O": "O", "A": "O", "N": "O"}
_VERSION = re.compile(r"2\.[1-9](\.\d)?")

#: A repetition of CX (extended composite id): identifier, assigning authority, type code.
_Cx = tuple[str, str, str]


def read_merges(data: bytes, header: Header, mac: Callable[[str], str], *, processing_id: str) -> list[PatientMerge]:
    """Read the merges of a message.

    Parameters
    ----------
    data, header
        The message, and its header.
    mac
        Keyed digest of a text: makes message ids, which must not show what is in a message.
    processing_id
        Processing id (MSH-11) that is obeyed: "P", production.

    Raises
    ------
    Refused
        It is no A40, it is for another purpose, or a patient in it cannot be told.
    """
    _check(header, processing_id)
    merges: list[PatientMerge] = []
    now = time.time()
    patient: Segment | None = None
    for segment in read_segments(data, header, frozenset({"PID", "MRG"})):
        if segment.name == "PID":
            if patient is not None:
                raise Refused(Reason.SEGMENT, "a PID without its MRG", header)
            patient = segment
            continue
        if patient is None:
            raise Refused(Reason.SEGMENT, "an MRG without its PID", header)
        for prior, surviving in _pairs(patient, segment, header):
            new = surviving.identifier
            said = (prior.id, prior.issuer, new.id, new.issuer, surviving.name, surviving.birth_date, surviving.sex)
            message_id = "hl7-" + mac("\0".join(("hl7", *header.sender, header.control_id, *said)))
            merges.append(PatientMerge(prior, surviving, message_id, now))
        patient = None
        if len(merges) > MAX_PAIRS:
            raise Refused(Reason.DATA, f"more than {MAX_PAIRS} merges in a message", header)
    if patient is not None:
        raise Refused(Reason.SEGMENT, "a PID without its MRG", header)
    if not merges:
        raise Refused(Reason.SEGMENT, "no PID with MRG", header)
    return merges


def _check(header: Header, processing_id: str) -> None:
    if header.kind[0] != "ADT":
        raise Refused(Reason.MESSAGE, "only ADT messages are taken", header)
    if header.kind[1] not in EVENTS:
        raise Refused(Reason.EVENT, f"of ADT only {', '.join(EVENTS)} (merge patient) is taken", header)
    if not _VERSION.fullmatch(header.version):
        raise Refused(Reason.VERSION, "HL7 version 2.x is understood", header)
    if header.processing_id != processing_id:
        raise Refused(Reason.PROCESSING, f"processing id {processing_id} is taken here", header)
    if not header.control_id:
        raise Refused(Reason.REQUIRED, "MSH-10 (message control id) is missing", header)


def _pairs(pid: Segment, mrg: Segment, header: Header) -> list[tuple[Identifier, Patient]]:
    """Return prior identifiers, each with the patient who survives under the same authority."""
    surviving, prior = _identifiers(pid, 3, header), _identifiers(mrg, 1, header)
    if not surviving:
        raise Refused(Reason.REQUIRED, "PID-3 (surviving identifier) is missing", header)
    if not prior:
        raise Refused(Reason.REQUIRED, "MRG-1 (prior identifier) is missing", header)
    pairs: list[tuple[Identifier, Patient]] = []
    for number, issuer, kind in prior:
        found = _counterpart((number, issuer, kind), surviving, alone=len(prior) == 1)
        if found is None:
            raise Refused(Reason.DATA, "MRG-1 has no counterpart of its assigning authority in PID-3", header)
        old, new = Identifier(number, issuer or found[1]), Identifier(found[0], found[1] or issuer)
        if old == new:
            raise Refused(Reason.DATA, "the prior identifier is the surviving one", header)
        pairs.append((old, Patient(new, _name(pid), _birth_date(pid), _sex(pid))))
    return pairs


def _counterpart(prior: _Cx, surviving: list[_Cx], *, alone: bool) -> _Cx | None:
    """Choose the surviving identifier that replaces a prior one: same authority, same type where there are several."""
    same = [s for s in surviving if s[1] == prior[1]]
    if len(same) > 1:
        same = [s for s in same if s[2] == prior[2]]
    if len(same) == 1:
        return same[0]
    if not same and alone and len(surviving) == 1 and not (surviving[0][1] and prior[1]):
        return surviving[0]  # one of the two names no authority
    return None


def _identifiers(segment: Segment, number: int, header: Header) -> list[_Cx]:
    found: dict[_Cx, None] = {}
    for repetition in segment.repetitions(number):
        parts = [*repetition, *([[""]] * 5)]
        # CX.4 is HD: namespace, universal id, its type. DICOM's Issuer of Patient ID is the namespace (PS3.3 C.7.1.1).
        value, authority, kind = parts[0][0], parts[3][0] or (parts[3][1] if len(parts[3]) > 1 else ""), parts[4][0]
        if not value:
            continue
        if len(value) > 64 or len(authority) > 64 or "\\" in value + authority:
            raise Refused(Reason.DATA, "an identifier is no DICOM Patient ID (VR LO)", header)
        found[value, authority, kind] = None
    return list(found)


def _name(pid: Segment) -> str:
    """PID-5 (XPN: family, given, middle, suffix, prefix) as VR PN: family, given, middle, prefix, suffix; three groups.

    The legal name is preferred; repetitions of other representation (XPN.8) become the ideographic and phonetic groups.
    """
    groups: dict[str, str] = {}
    names = pid.repetitions(5)
    for repetition in sorted(names, key=lambda r: _part(r, 6) not in ("L", "")):
        representation = _part(repetition, 7) or "A"
        order = (0, 1, 2, 4, 3)
        group = "^".join(re.sub(r"[\\=^]", " ", _part(repetition, i)) for i in order).rstrip("^ ")
        if group and len(group) <= 64:
            groups.setdefault(representation, group)
    return "=".join(groups.get(r, "") for r in ("A", "I", "P")).rstrip("=")


def _part(repetition: list[list[str]], index: int) -> str:
    return repetition[index][0] if index < len(repetition) else ""


def _birth_date(pid: Segment) -> str:
    """PID-7 as "YYYYMMDD"; "" when it is not given to the day."""
    said = pid.repetitions(7)
    text = _part(said[0], 0)[:8] if said else ""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])).strftime("%Y%m%d") if text.isdecimal() else ""
    except ValueError:
        return ""


def _sex(pid: Segment) -> str:
    said = pid.repetitions(8)
    return _SEX.get(_part(said[0], 0).upper(), "") if said else ""
