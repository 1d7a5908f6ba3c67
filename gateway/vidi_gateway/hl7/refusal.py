"""Why a message is not obeyed."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidi_gateway.hl7.message import Header


class Reason(Enum):
    """Acknowledgment code, and error code of HL7 table 0357 with its text.

    AE: the sender has to change the message. AR: the message is not for us, or may be sent again as it is.
    """

    SEGMENT = ("AR", 100, "Segment sequence error")
    REQUIRED = ("AE", 101, "Required field missing")
    DATA = ("AE", 102, "Data type error")
    MESSAGE = ("AR", 200, "Unsupported message type")
    EVENT = ("AR", 201, "Unsupported event code")
    PROCESSING = ("AR", 202, "Unsupported processing id")
    VERSION = ("AR", 203, "Unsupported version id")
    INTERNAL = ("AR", 207, "Application internal error")

    @property
    def acknowledgment(self) -> str:
        """MSA-1 of the original mode."""
        return self.value[0]

    @property
    def error_code(self) -> int:
        """ERR-3.1."""
        return self.value[1]

    @property
    def error_text(self) -> str:
        """ERR-3.2."""
        return self.value[2]


class Refused(Exception):
    """A message that is not obeyed.

    Attributes
    ----------
    reason
        Why, for programs.
    text
        Why, for people; no patient data.
    header
        Whom to answer; None: that could not be read.
    """

    def __init__(self, reason: Reason, text: str, header: Header | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.header = header
