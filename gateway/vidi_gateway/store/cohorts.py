"""Cohorts in the journal: named lists of films, and the clusterings made of them. Blocking: call it from a thread."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from vidi.errors import InvalidInput, NotFound
from vidi_gateway.store.database import Database
from vidi_gateway.store.schema import cohort_clusterings, cohort_films, cohorts, films


@dataclass(frozen=True)
class Cohort:
    """A cohort. `labels` holds a reference label for every film or is empty; `film_ids` is empty in listings."""

    cohort_id: str
    display_name: str
    count: int
    created_at: float
    film_ids: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    clustering_ids: tuple[str, ...] = ()


class Cohorts:
    """The cohort tables.

    Parameters
    ----------
    database
        The journal.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, film_ids: Sequence[str], display_name: str, labels: Mapping[str, str]) -> Cohort:
        """Store a cohort.

        Raises
        ------
        InvalidInput
            When it is empty, names a film twice, or labels some films only.
        NotFound
            When a film is not in the journal.
        """
        if not film_ids or len(set(film_ids)) != len(film_ids):
            raise InvalidInput("a cohort needs films, each of them once", field="film_ids")
        if labels and set(labels) != set(film_ids):
            raise InvalidInput("labels are given for all films of a cohort or for none", field="labels")
        cohort = Cohort(
            f"c{secrets.token_hex(10)}", display_name, len(film_ids), time.time(), tuple(film_ids), dict(labels)
        )
        with self._database.write() as connection:
            require_films(connection, film_ids)
            connection.execute(
                cohorts.insert().values(
                    cohort_id=cohort.cohort_id,
                    display_name=display_name,
                    films=cohort.count,
                    created_at=cohort.created_at,
                )
            )
            rows = [
                {"cohort_id": cohort.cohort_id, "position": i, "film_id": f, "label": labels.get(f)}
                for i, f in enumerate(film_ids)
            ]
            connection.execute(cohort_films.insert(), rows)
        return cohort

    def get(self, cohort_id: str) -> Cohort:
        """Return a cohort with its films.

        Raises
        ------
        NotFound
            When there is none of this id.
        """
        with self._database.read() as connection:
            row = connection.execute(cohorts.select().where(cohorts.c.cohort_id == cohort_id)).first()
            if row is None:
                raise NotFound("cohort", cohort_id)
            members = connection.execute(
                sa.select(cohort_films.c.film_id, cohort_films.c.label)
                .where(cohort_films.c.cohort_id == cohort_id)
                .order_by(cohort_films.c.position)
            ).all()
            made = connection.execute(
                sa.select(cohort_clusterings.c.clustering_id)
                .where(cohort_clusterings.c.cohort_id == cohort_id)
                .order_by(cohort_clusterings.c.created_at.desc())
            ).scalars()
            return Cohort(
                row.cohort_id,
                row.display_name,
                row.films,
                row.created_at,
                tuple(m.film_id for m in members),
                {m.film_id: m.label for m in members if m.label is not None},
                tuple(made),
            )

    def page(self, size: int, after: str) -> tuple[list[Cohort], str]:
        """Return up to `size` cohorts, newest first, and the token of the next page ("" at the end)."""
        query = cohorts.select().order_by(cohorts.c.created_at.desc(), cohorts.c.cohort_id.desc()).limit(size + 1)
        with self._database.read() as connection:
            if after:
                last = connection.execute(cohorts.select().where(cohorts.c.cohort_id == after)).first()
                if last is None:
                    raise InvalidInput("page_token is not one of ours", field="page_token")
                query = query.where(
                    sa.tuple_(cohorts.c.created_at, cohorts.c.cohort_id) < sa.tuple_(last.created_at, last.cohort_id)
                )
            rows = connection.execute(query).all()
        listed = [Cohort(r.cohort_id, r.display_name, r.films, r.created_at) for r in rows[:size]]
        return listed, listed[-1].cohort_id if len(rows) > size else ""

    def delete(self, cohort_id: str) -> None:
        """Delete a cohort; its films stay.

        Raises
        ------
        NotFound
            When there is none of this id.
        """
        with self._database.write() as connection:
            for table in (cohort_films, cohort_clusterings):
                connection.execute(table.delete().where(table.c.cohort_id == cohort_id))
            if connection.execute(cohorts.delete().where(cohorts.c.cohort_id == cohort_id)).rowcount == 0:
                raise NotFound("cohort", cohort_id)

    def add_clustering(self, cohort_id: str, clustering_id: str) -> None:
        """Note that a clustering was made of a cohort."""
        row = {"cohort_id": cohort_id, "clustering_id": clustering_id, "created_at": time.time()}
        with self._database.write() as connection:
            self._database.insert_new(connection, cohort_clusterings, row)


def require_films(connection: sa.Connection, film_ids: Sequence[str]) -> None:
    """Check that the journal has all of these films.

    Raises
    ------
    NotFound
        Naming the first that it lacks.
    """
    found: set[str] = set()
    for start in range(0, len(film_ids), 500):
        chunk = film_ids[start : start + 500]
        found.update(connection.execute(sa.select(films.c.film_id).where(films.c.film_id.in_(chunk))).scalars())
    for film_id in film_ids:
        if film_id not in found:
            raise NotFound("film", film_id)
