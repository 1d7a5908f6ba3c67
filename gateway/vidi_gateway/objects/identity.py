"""Who and what a film is, as one digest."""

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
    values = []
    for keyword in _IDENTITY:
        value = unicodedata.normalize("NFC", source.text(header, keyword))
        values.append(value.rstrip("^= ") if keyword == "PatientName" else value)
    return uids.digest_of("identity-1", *values)
