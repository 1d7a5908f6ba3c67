"""Acknowledgments (HL7 2.5.1 section 2.9): MSH, MSA, and ERR where something was wrong."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from vidi_gateway.hl7.message import Header
from vidi_gateway.hl7.refusal import Refused

_ACCEPT = {"AA": "CA", "AE": "CE", "AR": "CR"}


def write(header: Header | None, refused: Refused | None = None) -> bytes:
    """Return the acknowledgment of a message, in its own separators and character set.

    Parameters
    ----------
    header
        Of the message; None: it could not be read.
    refused
        Why it was not obeyed; None: it was.
    """
    to = header or Header()
    s = to.separators
    code = refused.reason.acknowledgment if refused else "AA"
    said = _ACCEPT[code] if to.enhanced else code
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    # Sender and receiver change places; what they are called is repeated as it came.
    names = (*to.receiver, *to.sender)
    event = to.kind[1][:8] if to.kind[0] == "ADT" else ""
    kind = s.component.join(("ACK", event)) if event else "ACK"
    control_id = secrets.token_hex(10)
    version = to.version or "2.5"
    msh = ["MSH", s.encoding_characters, *names, now, "", kind, control_id, to.processing_id, version]
    if to.character_set:
        msh += [*[""] * 5, to.character_set]
    text = _escaped(refused.text, s.escape, s.field, s.component, s.repetition, s.subcomponent) if refused else ""
    segments = [msh, ["MSA", said, to.control_id, *([text] if refused else [])]]
    if refused:
        reason = s.component.join((str(refused.reason.error_code), refused.reason.error_text, "HL70357"))
        segments.append(["ERR", "", "", reason, "E", "", "", "", text])
    lines = "".join(s.field.join(_line(f) for f in segment) + "\r" for segment in segments)
    # The header was read byte by byte (Latin-1), so that names come back exactly as they were sent.
    return lines.encode("latin-1", "replace")


def _escaped(text: str, escape: str, *separators: str) -> str:
    """Write separators in a text of ours as escape sequences."""
    names = dict(zip((escape, *separators), "EFSRT", strict=True))
    return "".join(f"{escape}{names[c]}{escape}" if c in names else c for c in text)


def _line(text: str) -> str:
    """Keep a value in its field: what was read of MSH may hold anything but a line end."""
    return "".join(c for c in text if c not in "\r\n\v\x1c\0")[:200]
