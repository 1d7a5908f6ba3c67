"""Studies as they arrived, each with what its films' results say of urgency. Blocking: call it from a thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from vidi_gateway.reading import Reason, Urgency
from vidi_gateway.store.database import Database
from vidi_gateway.store.records import FilmState, mode_of
from vidi_gateway.store.schema import analyses, films

EXPLAINED = (FilmState.EXPLAINED, FilmState.DONE)
_SHADOW = "shadow"


@dataclass(frozen=True)
class ListedFilm:
    """A film of a study on the list.

    Attributes
    ----------
    film_id, state, arrived
        From the journal.
    urgency
        By the film's own model line, when it is live; else nothing.
    superseded
        Whether its result is of a model that was replaced since.
    """

    film_id: str
    state: FilmState
    arrived: float
    urgency: Urgency = field(default_factory=Urgency)
    superseded: bool = False


@dataclass(frozen=True)
class ListedStudy:
    """A study on the list. Films without a Study Instance UID are each a study of their own.

    Attributes
    ----------
    key
        Keyed digest of its Study Instance UID, or the film's id.
    films
        In order of arrival.
    """

    key: str
    films: tuple[ListedFilm, ...] = field(default=())

    @property
    def arrived(self) -> float:
        """When its first film came."""
        return self.films[0].arrived

    @property
    def urgency(self) -> Urgency:
        """The highest urgency of its films, with the reasons of all that have one; a late film never lowers it."""
        score = max(film.urgency.score for film in self.films)
        reasons: dict[str, Reason] = {}
        for film in sorted(self.films, key=lambda f: -f.urgency.score):
            for reason in film.urgency.reasons:
                reasons.setdefault(reason.code, reason)
        return Urgency(score, tuple(reasons.values()))

    @property
    def score(self) -> float:
        """The urgency's score."""
        return self.urgency.score

    @property
    def badge(self) -> str:
        """What must stand beside its results: "withdrawn", "superseded" or ""."""
        if any(film.state is FilmState.WITHDRAWN for film in self.films):
            return "withdrawn"
        return "superseded" if any(film.superseded for film in self.films) else ""

    @property
    def states(self) -> dict[FilmState, int]:
        """Number of its films by state."""
        counts: dict[FilmState, int] = {}
        for film in self.films:
            counts[film.state] = counts.get(film.state, 0) + 1
        return counts


class Worklist:
    """Reads the list."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def studies(self, since: float, limit: int) -> list[ListedStudy]:
        """Return studies in order of arrival, each whole: a late film does not make a study arrive later.

        Parameters
        ----------
        since
            Only studies with a film that came at or after this moment, in seconds since the epoch.
        limit
            Of at most so many of these films: the newest.
        """
        recent = (
            sa.select(films.c.film_id, films.c.study_key)
            .where(films.c.received_at >= since)
            .order_by(films.c.received_at.desc(), films.c.film_id.desc())
            .limit(limit)
        )
        found: dict[str, list[ListedFilm]] = {}
        with self._database.read() as c:
            rows = c.execute(recent).all()
            wanted = (
                (films.c.study_key, list(dict.fromkeys(study for _, study in rows if study))),
                (films.c.film_id, [film for film, study in rows if not study]),
            )
            for column, keys in wanted:
                for start in range(0, len(keys), _CHUNK):
                    query = _QUERY.where(column.in_(keys[start : start + _CHUNK]))
                    for row in c.execute(query).mappings():
                        found.setdefault(row["study_key"] or row["film_id"], []).append(_film(row))
        studies = [
            ListedStudy(key, tuple(sorted(members, key=lambda f: (f.arrived, f.film_id))))
            for key, members in found.items()
        ]
        return sorted(studies, key=lambda s: (s.arrived, s.key))


#: A film's own line only: what a background job tries on another model pulls nothing forward.
_QUERY = sa.select(
    films.c.film_id,
    films.c.study_key,
    films.c.state,
    films.c.received_at,
    films.c.routing,
    analyses.c.state.label("analysis_state"),
    analyses.c.mode,
    analyses.c.urgency,
    analyses.c.urgency_reasons,
    analyses.c.superseded_by,
).select_from(films.outerjoin(analyses, (analyses.c.film_id == films.c.film_id) & (analyses.c.model == films.c.model)))
_CHUNK = 500


def _film(row: Mapping[Any, Any]) -> ListedFilm:
    state = FilmState(row["state"])
    has_result = row["analysis_state"] in EXPLAINED and state is not FilmState.WITHDRAWN
    counts = has_result and not _in_shadow(row)
    return ListedFilm(
        film_id=row["film_id"],
        state=state,
        arrived=row["received_at"],
        urgency=Urgency.from_row(row["urgency"], row["urgency_reasons"]) if counts else Urgency(),
        superseded=has_result and bool(row["superseded_by"]),
    )


def _in_shadow(row: Mapping[Any, Any]) -> bool:
    """Whether the result is of a model on trial: nothing that people see may follow from it."""
    return (row["mode"] or mode_of(row["routing"])) == _SHADOW
