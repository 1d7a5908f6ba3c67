"""Synthetic frontal chest films with known opacities."""

from vidi.phantoms.film import PhantomFilm, PhantomSpec, cohort, cohort_specs, make
from vidi.phantoms.opacities import GRADES, SEVERITIES, Severity

__all__ = ["GRADES", "SEVERITIES", "PhantomFilm", "PhantomSpec", "Severity", "cohort", "cohort_specs", "make"]
