"""What a patient merge is, whichever way it comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Identifier:
    """Who a patient is to one authority. Both are patient data: they are not shown.

    Attributes
    ----------
    id
        Patient ID (0010,0020), 1 to 64 characters.
    issuer
        Issuer of Patient ID (0010,0021); "": not said.
    """

    id: str = field(repr=False)
    issuer: str = field(default="", repr=False)

    def as_in_films(self, local_issuer: str) -> tuple[Identifier, ...]:
        """Return how films may name this patient: most films name no issuer, and mean the hospital's own.

        Parameters
        ----------
        local_issuer
            The authority that films without an issuer belong to; "": there is only one authority at this site.
        """
        if not self.issuer:
            return (self, Identifier(self.id, local_issuer)) if local_issuer else (self,)
        anonymous = Identifier(self.id)
        return (self, anonymous) if local_issuer in ("", self.issuer) else (self,)


@dataclass(frozen=True)
class Patient:
    """The patient whom the films belong to from now on, in DICOM's terms. Patient data: not shown.

    Attributes
    ----------
    identifier
        The surviving identifier.
    name
        Patient's Name (0010,0010), VR PN, up to three groups; "": not said, what the film says stays.
    birth_date
        "YYYYMMDD"; "": not said.
    sex
        "M", "F" or "O"; "": not said.
    """

    identifier: Identifier = field(repr=False)
    name: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)
    sex: str = field(default="", repr=False)


@dataclass(frozen=True)
class PatientMerge:
    """Two identifiers turned out to be one patient.

    Attributes
    ----------
    prior
        The identifier that is no longer valid.
    surviving
        Who its films show.
    message_id
        At most 128 characters, no patient data: the same message says the same, and need be obeyed once only. Another
        message under a control id that was used before has another id.
    at
        When it came, seconds since the epoch.
    """

    prior: Identifier
    surviving: Patient
    message_id: str
    at: float


class Merger(Protocol):
    """Carries merges out."""

    def merge(self, merge: PatientMerge) -> int:
        """Make the films of the prior identifier those of the surviving patient. Blocking; called from threads.

        It is durable when this returns. Called again with the same `message_id` it changes nothing, and returns what it
        returned before.

        Returns
        -------
        Number of films concerned.

        Raises
        ------
        ViDiError
            It could not be made durable; it may be tried again.
        """
