"""Reading a film's header, which may be sloppy or hostile.

Nothing here raises or warns about a value, and no value is repeated in a message: headers are patient data. Values are
taken from the raw elements: pydicom's own conversion raises for some invalid values and quotes others in warnings.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from datetime import date, timedelta, timezone
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.valuerep import PersonName

_TEXT_VRS = frozenset({"LO", "SH", "PN", "LT", "ST", "UC", "UT"})
_STANDALONE = frozenset({"ISO_IR 192", "GB18030", "GBK"})
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")


def text(header: Dataset, keyword: str) -> str:
    r"""Return an attribute as text, "" when absent, empty or unreadable.

    Several values come joined by a backslash, as they stand in the file. Control characters (which no text of a header
    may hold) and surrounding spaces are removed; otherwise nothing is shortened or corrected.
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no DICOM keyword")
    try:
        element = header.get_item(tag)
        value: Any = None if element is None else element.value
        if isinstance(value, bytes):
            value = _decode(header, value, dictionary_VR(tag))
        return _clean(_flat(value))
    except Exception:  # noqa: BLE001 - whatever a hostile element does, it has no readable value
        return ""


def texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a multi-valued attribute; empty when there is none."""
    joined = text(header, keyword)
    return tuple(part.strip() for part in joined.split("\\")) if joined else ()


def uid(header: Dataset, keyword: str) -> str:
    """Return a valid UID (PS3.5 section 9.1), else ""."""
    value = text(header, keyword)
    return value if len(value) <= 64 and _UID.fullmatch(value) else ""


def study_uid(header: Dataset) -> str:
    """Return the Study Instance UID, else "".

    Leading zeros in a component, which some devices write, are left in place: the study is known under this UID, and
    results must reach the same study.
    """
    value = text(header, "StudyInstanceUID")
    return value if len(value) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)*", value, re.ASCII) else ""


def code_string(header: Dataset, keyword: str, allowed: Sequence[str]) -> str:
    """Return a coded string if it is one of `allowed`, else ""."""
    value = text(header, keyword).upper()
    return value if value in allowed else ""


def day(header: Dataset, keyword: str) -> str:
    """Return a date as YYYYMMDD, else "". The retired form YYYY.MM.DD is converted."""
    return valid_day(text(header, keyword))


def valid_day(value: str) -> str:
    """Return a text as a date, see `day`."""
    match = re.fullmatch(r"(\d{4})[.]?(\d{2})[.]?(\d{2})", value, re.ASCII)
    if not match:
        return ""
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return ""
    return match[1] + match[2] + match[3]


def time_of_day(header: Dataset, keyword: str) -> str:
    """Return a time as HH[MM[SS[.F]]], else "". The retired form HH:MM:SS is converted."""
    return valid_time(text(header, keyword))


def valid_time(value: str) -> str:
    """Return a text as a time of day, see `time_of_day`."""
    value = value.replace(":", "")
    match = re.fullmatch(r"([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d|60)(?:\.\d{1,6})?)?)?", value, re.ASCII)
    return value if match else ""


def age(header: Dataset) -> str:
    """Return PatientAge as nnnD, nnnW, nnnM or nnnY, else ""."""
    value = text(header, "PatientAge").upper()
    return value if re.fullmatch(r"\d{3}[DWMY]", value, re.ASCII) else ""


def numbers(header: Dataset, keyword: str) -> tuple[float, ...]:
    """Return the values of a decimal string; empty when there is none, or one is not a finite number."""
    try:
        values = tuple(float(v) for v in texts(header, keyword))
    except ValueError:
        return ()
    return values if all(map(math.isfinite, values)) else ()


def utc_offset(header: Dataset) -> timezone | None:
    """Return the time zone that the header's dates and times are in, None when it says nothing valid."""
    match = re.fullmatch(r"([+-])(\d{2})([0-5]\d)", text(header, "TimezoneOffsetFromUTC"), re.ASCII)
    if not match:
        return None
    minutes = (int(match[2]) * 60 + int(match[3])) * (-1 if match[1] == "-" else 1)
    return timezone(timedelta(minutes=minutes)) if -12 * 60 <= minutes <= 14 * 60 else None


def spacing(header: Dataset) -> tuple[float, float] | None:
    """Return the distance of pixel centres in mm, (between rows, between columns); None when unknown.

    PixelSpacing first, else ImagerPixelSpacing (at the detector, PS3.3 10.7.1.3).
    """
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        values = numbers(header, keyword)
        if len(values) == 2 and all(1e-4 <= v <= 1e3 for v in values):
            return values[0], values[1]
    return None


def patient_orientation(header: Dataset) -> tuple[str, str] | None:
    """Return PatientOrientation (direction of rows, of columns), such as ("L", "F"), when both are valid and differ."""
    values = tuple(v.upper() for v in texts(header, "PatientOrientation"))
    if len(values) != 2 or not all(re.fullmatch(r"[APRLHF]{1,3}", v) for v in values):
        return None
    axes = [{"A": 0, "P": 0, "R": 1, "L": 1, "H": 2, "F": 2}[v[0]] for v in values]
    return (values[0], values[1]) if axes[0] != axes[1] else None


def _decode(header: Dataset, value: bytes, vr: str) -> str:
    if vr not in _TEXT_VRS:
        return value.decode("ascii", "replace")
    encodings = _encodings(header)
    if vr == "PN":
        return str(PersonName(value, encodings))
    return decode_bytes(value, encodings, {0x09, 0x0A, 0x0C, 0x0D, 0x5C})


def _encodings(header: Dataset) -> list[str]:
    """Return the Python encodings of the header's character sets, without unknown ones and illegal combinations."""
    raw = header.get_item("SpecificCharacterSet")
    named = None if raw is None else raw.value
    if isinstance(named, bytes):
        named = named.decode("ascii", "replace").split("\\")
    names = [str(n).strip() for n in ([named] if isinstance(named, str) else named or [])]
    known = [n for n in names if n in python_encoding]
    if known and known[0] in _STANDALONE:
        known = known[:1]
    return convert_encodings([n for n in known if n not in _STANDALONE] or known)


def _flat(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str | PersonName):
        return str(value)
    if isinstance(value, Sequence):
        return "\\".join(_flat(v) for v in value)
    return str(value)


def _clean(value: str) -> str:
    """Remove control characters and lone surrogates, and spaces at the ends."""
    kept = "".join(c for c in value if unicodedata.category(c) not in ("Cc", "Cs"))
    return kept.strip(" ")
