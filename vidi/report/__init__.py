"""The HTML report: one self-contained file, no scripts, no hosts, no patient data.

`cohort_report` shows a clustering and its films, `films_report` films alone.
"""

from __future__ import annotations

from vidi.report.cards import FilmCard
from vidi.report.render import cohort_report, films_report

__all__ = ["FilmCard", "cohort_report", "films_report"]
