"""Who and what a film is, and whether two films are of one patient."""

from __future__ import annotations

import unicodedata

from pydicom import Dataset

from vidi_gateway.objects import source, uids

_IDENTITY = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "AccessionNumber",
    "ImageLaterality",
    "Laterality",
    "ViewPosition",
    "PatientOrientation",
)


def identity_digest(header: Dataset) -> str:
    """Return "sha256:" and the hex digest of a film's identity: patient, study, accession, laterality, view.

    Two films of the same pixels and another identity digest are an amendment. The digest is of decoded text, so that a
    re-sending in another character set or with other padding stays the same film.

    Parameters
    ----------
    header
        The film's header, however sloppy.
    """
    return uids.digest_of("identity-1", *(_value(header, keyword) for keyword in _IDENTITY))


def same_patient(one: Dataset, other: Dataset) -> bool:
    """Whether two headers may stand in one object: nothing says that their patients are two.

    The Patient ID must be the same, or missing in both. Its issuer, the birth date and the name (its alphabetic part,
    without regard to case and missing components) must be the same where both headers have them. The sex does not
    count: it is corrected, and not rarely "O".
    """
    if _value(one, "PatientID") != _value(other, "PatientID"):
        return False
    for keyword in ("IssuerOfPatientID", "PatientBirthDate", "PatientName"):
        values = [_value(header, keyword) for header in (one, other)]
        if keyword == "PatientName":
            values = [value.split("=")[0].rstrip("^ ").casefold() for value in values]
        if all(values) and values[0] != values[1]:
            return False
    return True


def _value(header: Dataset, keyword: str) -> str:
    value = unicodedata.normalize("NFC", source.text(header, keyword))
    return value.rstrip("^= ") if keyword == "PatientName" else value
