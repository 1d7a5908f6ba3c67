"""A study's results as DICOM objects: structured report, parametric maps, secondary capture; rejection notes."""

from __future__ import annotations

from vidi_gateway.objects.build import build_study
from vidi_gateway.objects.identity import identity_digest, same_patient
from vidi_gateway.objects.own import is_own
from vidi_gateway.objects.parts import BuildOptions, BuiltObject, FilmPart, NotAnalysed, Predecessor, Withdrawn
from vidi_gateway.objects.reasons import RejectionReason
from vidi_gateway.objects.rejection import RejectedObject, RejectionNote, build_rejection, read_rejection
from vidi_gateway.objects.repeats import repeats_of, view_key

__all__ = [
    "BuildOptions",
    "BuiltObject",
    "FilmPart",
    "NotAnalysed",
    "Predecessor",
    "RejectedObject",
    "RejectionNote",
    "RejectionReason",
    "Withdrawn",
    "build_rejection",
    "build_study",
    "identity_digest",
    "is_own",
    "read_rejection",
    "repeats_of",
    "same_patient",
    "view_key",
]
