"""Which films of a study are repeated exposures of one view, told from their headers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydicom import Dataset

from vidi_gateway.objects import source

_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_DATE_TIME = re.compile(r"([0-9]{8})([0-9.]{2,13})(?:[+-][0-9]{4})?")
_TIMES = (("AcquisitionDate", "AcquisitionTime"), ("ContentDate", "ContentTime"))


def view_key(header: Dataset) -> str:
    """Return what films of the same view have in common: modality, view, side and body part.

    Returns
    -------
    Such as "DX/PA//CHEST"; "" when the header does not say the view: nothing is said of such a film. No patient data.
    """
    view = _code(header, "ViewPosition")
    if not view:
        return ""
    side = _code(header, "ImageLaterality") or _code(header, "Laterality")
    return "/".join((_code(header, "Modality"), view, side, _code(header, "BodyPartExamined")))


def acquired(header: Dataset) -> str:
    """Return when a film was exposed, local time as YYYYMMDDHHMMSS.FFFFFF, "" when its header does not say.

    The first that is valid of Acquisition DateTime, Acquisition Date and Time, Content Date and Time. Local time, since
    films of one study name no other zone than their neighbours, or none.
    """
    match = _DATE_TIME.fullmatch(source.text(header, "AcquisitionDateTime"))
    if match and source.valid_day(match[1]) and source.valid_time(match[2]):
        return match[1] + _padded(match[2])
    for day_keyword, time_keyword in _TIMES:
        day, time = source.day(header, day_keyword), source.time_of_day(header, time_keyword)
        if day and time:
            return day + _padded(time)
    return ""


def exposure_order(header: Dataset) -> tuple[str, int, str]:
    """Return what films of a study are sorted by, earliest first: time, instance number, SOP Instance UID."""
    number = source.text(header, "InstanceNumber")
    instance = int(number) if re.fullmatch(r"[0-9]{1,9}", number) else -1
    return acquired(header), instance, source.text(header, "SOPInstanceUID")


def repeats_of(headers: Mapping[str, Dataset]) -> dict[str, str]:
    """Return for each film that was repeated the latest film of the same view.

    Parameters
    ----------
    headers
        Headers of one study by film.
    """
    views: dict[str, list[str]] = {}
    for film_id, header in headers.items():
        key = view_key(header)
        if key:
            views.setdefault(key, []).append(film_id)
    found: dict[str, str] = {}
    for films in views.values():
        *earlier, latest = sorted(films, key=lambda f: (exposure_order(headers[f]), f))
        found |= dict.fromkeys(earlier, latest)
    return found


def _code(header: Dataset, keyword: str) -> str:
    value = source.text(header, keyword).upper()
    return value if _CODE.fullmatch(value) else ""


def _padded(time: str) -> str:
    whole, _, fraction = time.partition(".")
    return f"{whole:0<6}.{fraction:0<6}"
