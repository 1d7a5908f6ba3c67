"""Reading attributes of DICOM headers that may be missing, malformed or hostile.

pydicom converts values when they are accessed, so that a damaged element raises there, with whatever its parser hits
first. These accessors turn every such element into "not there": a header never decides by crashing.
"""

from __future__ import annotations

import logging
import math
import warnings
from typing import Any

from pydicom import config
from pydicom.dataset import Dataset


def quiet_pydicom() -> None:
    """Keep pydicom from writing values of headers, patient data among them, into warnings and logs of this process."""
    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?")


def value(ds: Dataset, keyword: str) -> Any:
    """Value of an attribute, or None when it is missing, empty or cannot be parsed."""
    try:
        found = ds.get(keyword)
    except Exception:  # noqa: BLE001 - whatever pydicom's converters raise on a damaged element: it counts as missing
        return None
    return None if found is None or found == "" else found


def values(ds: Dataset, keyword: str) -> list[Any]:
    """All values of an attribute; empty when it is missing or cannot be parsed."""
    found = value(ds, keyword)
    if found is None:
        return []
    if isinstance(found, str | bytes) or not hasattr(found, "__iter__"):
        return [found]
    return list(found)


def text(ds: Dataset, keyword: str) -> str:
    """Value as stripped text (multiple values joined by a backslash), "" when missing."""
    return "\\".join(str(v).strip(" \0") for v in values(ds, keyword))


def code(ds: Dataset, keyword: str) -> str:
    """Value as upper-case text, for code strings and for searching descriptions."""
    return text(ds, keyword).upper()


def numbers(ds: Dataset, keyword: str) -> list[float]:
    """All values as finite floats; empty when one of them is not a finite number."""
    found = []
    for v in values(ds, keyword):
        try:
            number = float(v)
        except (TypeError, ValueError, OverflowError):
            return []
        if not math.isfinite(number):
            return []
        found.append(number)
    return found


def number(ds: Dataset, keyword: str) -> float | None:
    """First value as a finite float, None when missing."""
    found = numbers(ds, keyword)
    return found[0] if found else None


def integer(ds: Dataset, keyword: str) -> int | None:
    """First value as an integer, None when missing or fractional."""
    found = number(ds, keyword)
    return int(found) if found is not None and found == int(found) else None


def items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence; empty when it is missing or no sequence."""
    return [item for item in values(ds, keyword) if isinstance(item, Dataset)]
