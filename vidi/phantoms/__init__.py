"""Synthetic frontal chest films with known opacities.

`to_dicom`, `variant` and `QUIRKS` need pydicom (extra `gateway`) and live in `vidi.phantoms.dicom`; they are loaded on
first use, so that training images do without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidi.phantoms.film import PhantomFilm, PhantomSpec, cohort, cohort_specs, make
from vidi.phantoms.opacities import GRADES, SEVERITIES, Severity

if TYPE_CHECKING:
    from vidi.phantoms.dicom import QUIRKS, Variant, to_dicom, variant

__all__ = [
    "GRADES",
    "QUIRKS",
    "SEVERITIES",
    "PhantomFilm",
    "PhantomSpec",
    "Severity",
    "Variant",
    "cohort",
    "cohort_specs",
    "make",
    "to_dicom",
    "variant",
]


def __getattr__(name: str) -> Any:
    if name in ("QUIRKS", "Variant", "to_dicom", "variant"):
        from vidi.phantoms import dicom

        return getattr(dicom, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
