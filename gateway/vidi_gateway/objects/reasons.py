"""Why results, or the films that they were made from, are rejected (IHE RAD IOCM)."""

from __future__ import annotations

from enum import Enum

from vidi_gateway.outcome import Code


class RejectionReason(Enum):
    """Titles of rejection notes (PS3.16 CID 7011, CID 7010); each value is the code's value in the scheme DCM."""

    QUALITY = "113001"
    PATIENT_SAFETY = "113037"
    WORKLIST = "113038"
    EXPIRED = "113039"

    @property
    def code(self) -> Code:
        """The coded concept."""
        return Code(self.value, "DCM", _MEANINGS[self.value])

    @classmethod
    def from_code(cls, value: str) -> RejectionReason | None:
        """Return the reason with this code value, None when it is none."""
        return next((reason for reason in cls if reason.value == value), None)


_MEANINGS = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}
