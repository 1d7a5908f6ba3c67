"""The codes of ViDi's objects: standard ones where they exist, else the private scheme 99VIDI.

A class of a model is not a finding. It is always named by a private code ("the model's class 'normal'"), never by a
code for the disease or for its absence; the standard concept that a class is named after stands beside it, except where
that concept would read as a normal film (docs/dicom-conformance.md lists all codes).
"""

from __future__ import annotations

import hashlib
import re

from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code as PydicomCode

from vidi_gateway.outcome import ClassOutcome, Code

SCHEME = "99VIDI"
SCHEME_VERSION = "1"


def _private(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator=SCHEME, meaning=meaning)


def _standard(code: PydicomCode) -> CodedConcept:
    return CodedConcept.from_code(code)


PROBABILITY = _standard(standard.DCM.Probability)
SALIENCY = _standard(standard.DCM.Saliency)
QUANTITY = CodedConcept("246205007", "SCT", "Quantity")
ARTIFICIAL_INTELLIGENCE = _standard(standard.DCM.ArtificialIntelligence)
IMAGING_MEASUREMENT_REPORT = CodedConcept("126000", "DCM", "Imaging Measurement Report")
CHEST_RADIOGRAPHY = CodedConcept("399208008", "SCT", "Plain chest X-ray")
THORAX = CodedConcept("51185008", "SCT", "Thoracic structure")
SOURCE_IMAGE_FOR_PROCESSING = CodedConcept("121322", "DCM", "Source image for image processing operation")
SOURCE = CodedConcept("260753009", "SCT", "Source")
COMMENT = CodedConcept("121106", "DCM", "Comment")
NO_UNITS = CodedConcept("1", "UCUM", "no units")
LOGIT_UNIT = CodedConcept("{logit}", "UCUM", "logit")
PIXELS = CodedConcept("{pixels}", "UCUM", "pixels")

LOGIT = _private("LOGIT", "Logit of model class")
BASE_VALUE = _private("BASE_VALUE", "Mean explained output over references")
ATTRIBUTION_SUM = _private("ATTR_SUM", "Sum of attribution")
FAVORABLE_SUM = _private("FAVORABLE_SUM", "Sum of favorable attribution")
GLUM_SUM = _private("GLUM_SUM", "Sum of glum attribution")
RESIDUAL = _private("RESIDUAL", "Additivity residual, relative")
MODEL_FAVOURS = _private("MODEL_FAVOURS", "Model favours its class")
MODEL_CLASS = _private("MODEL_CLASS", "Model class")
NAMED_AFTER = _private("NAMED_AFTER", "Concept that the model class is named after")
WARNING = _private("WARNING", "Warning to the reader")
URGENCY = _private("URGENCY", "Reading order, urgency 0 to 1")
URGENCY_REASON = _private("URGENCY_REASON", "Reason of urgency in the reading order")
WITHDRAWN_FOR = _private("WITHDRAWN_FOR", "Reason why results were withdrawn")
SIGN = _private("SIGN", "Sign of attribution")
FAVORABLE = _private("FAVORABLE", "Favorable: spoke for the model class")
GLUM = _private("GLUM", "Glum: spoke against the model class")
DEEP_SHAP = _private("DEEPSHAP", "Attribution by DeepSHAP")
CALIBRATED = _private("CALIBRATED", "Softmax probability, calibrated")
UNCALIBRATED = _private("UNCALIBRATED", "Softmax output, not calibrated")

_NORMAL = re.compile(
    r"\b(normal|unremarkable|healthy|clear|negative|no|none|not|without|absent|absence|free)\b", re.IGNORECASE
)
_NORMAL_CODES = frozenset({("SCT", "17621005"), ("SCT", "260385009"), ("SCT", "2667000"), ("SRT", "G-A460")})


def of_class(outcome: ClassOutcome) -> CodedConcept:
    """Return the private code of a model's class: the bundle's own if it is one, else made from the class's name."""
    if outcome.code.scheme == SCHEME and re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", outcome.code.value):
        value = outcome.code.value
    else:
        slug = re.sub(r"[^A-Z0-9]+", "_", outcome.name.upper()).strip("_")
        exact = slug.lower() == re.sub(r"[ _-]", "_", outcome.name.lower()) and len(slug) <= 10
        value = "CLASS_" + (slug if exact else hashlib.sha256(outcome.name.encode()).hexdigest()[:10].upper())
    return _private(value, short(f"Model class '{printable(outcome.name)}'"))


def named_after(outcome: ClassOutcome) -> CodedConcept | None:
    """Return the standard concept that a class is named after; None when it would read as a normal film."""
    code = outcome.code
    if not code.value or code.scheme in ("", SCHEME) or (code.scheme, code.value) in _NORMAL_CODES:
        return None
    if _NORMAL.search(outcome.name) or _NORMAL.search(code.meaning):
        return None
    if len(code.scheme) > 16 or any(printable(t) != t for t in (code.value, code.scheme)):
        return None
    return concept(code)


def concept(code: Code) -> CodedConcept:
    """Return a code as a DICOM concept; a meaning of more than 64 characters is shortened."""
    return CodedConcept(code.value, code.scheme, short(printable(code.meaning) or code.value))


def warning(note_code: str) -> CodedConcept:
    """Return the private code of a warning or of a reason, such as OUT_OF_POPULATION."""
    value = re.sub(r"[^A-Z0-9_]+", "_", note_code.upper()).strip("_") or "UNSPECIFIED"
    return _private(value[:64], short(value.replace("_", " ").capitalize()))


def printable(text: str) -> str:
    """Return text without what a DICOM string may not hold: control characters and backslashes."""
    return "".join("/" if c == "\\" else c for c in text if c.isprintable()).strip()


def short(text: str, limit: int = 64) -> str:
    """Return text cut to `limit` characters, an ellipsis at the end when it was longer."""
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."


def scheme_identification() -> Dataset:
    """Return the item that says whose scheme 99VIDI is (PS3.3 C.12.1, Coding Scheme Identification Sequence)."""
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "ViDi private codes"
    item.CodingSchemeVersion = SCHEME_VERSION
    item.CodingSchemeResponsibleOrganization = "ViDi"
    return item
