"""Reading the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from vidi.errors import NotFound
from vidi_gateway.store.database import Database
from vidi_gateway.store.records import (
    ACTIVE,
    Analysis,
    Change,
    Delivery,
    DeliveryState,
    Film,
    FilmRecord,
    FilmState,
    StoredObject,
    Summary,
)
from vidi_gateway.store.schema import analyses, films, objects, outbox

# Asked for each film that comes: making a statement costs more than executing it.
_FILM = films.select().where(films.c.film_id == sa.bindparam("film_id"))


def analysis_id(film_id: str, model: str) -> str:
    """Id of a film's analysis on a model line."""
    return f"{film_id}.{model}"


class Reader:
    """What the journal answers; see `vidi_gateway.store.journal.Journal`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def film(self, film_id: str) -> Film:
        """Return a film.

        Raises
        ------
        NotFound
            When there is none.
        """
        with self.database.read() as c:
            return self._require_film(c, film_id)

    def find_film(self, film_id: str, within: sa.Connection | None = None) -> Film | None:
        """Return a film, if it is there; `within` a transaction that the caller has."""
        with self.database.read(within) as c:
            row = c.execute(_FILM, {"film_id": film_id}).mappings().first()
        return to_film(row) if row else None

    def analysis(self, analysis_id: str) -> Analysis:
        """Return an analysis.

        Raises
        ------
        NotFound
            When there is none.
        """
        with self.database.read() as c:
            row = c.execute(analyses.select().where(analyses.c.analysis_id == analysis_id)).mappings().first()
        if not row:
            raise NotFound("analysis", analysis_id)
        return to_analysis(row)

    def analyses_by_id(self, ids: Sequence[str]) -> dict[str, Analysis]:
        """Return analyses by id; unknown ids are left out."""
        found: dict[str, Analysis] = {}
        with self.database.read() as c:
            for chunk in _chunks(ids):
                rows = c.execute(analyses.select().where(analyses.c.analysis_id.in_(chunk))).mappings()
                found |= {r["analysis_id"]: to_analysis(r) for r in rows}
        return found

    def records(self, film_ids: Sequence[str], model: str = "") -> dict[str, FilmRecord]:
        """Return films by id with their results; unknown ids are left out.

        Parameters
        ----------
        film_ids
            The films.
        model
            The model line; empty: each film's line of arrival.
        """
        found: dict[str, FilmRecord] = {}
        with self.database.read() as c:
            for chunk in _chunks(film_ids):
                found |= self._records(c, chunk, model)
        return found

    def page(self, limit: int, before: tuple[float, str] | None = None, states: Sequence[FilmState] = ()) -> list[str]:
        """Return ids of films, the last received first. `before` is (received_at, film_id) of the last page's end."""
        query = sa.select(films.c.film_id).order_by(films.c.received_at.desc(), films.c.film_id.desc()).limit(limit)
        if before:
            query = query.where(sa.tuple_(films.c.received_at, films.c.film_id) < before)
        if states:
            query = query.where(films.c.state.in_(states))
        with self.database.read() as c:
            return list(c.execute(query).scalars())

    def changes_since(self, moment: float) -> list[Change]:
        """Return films that changed at or after a moment, in order."""
        columns = (films.c.film_id, films.c.revision, films.c.state, films.c.updated_at)
        query = sa.select(*columns).where(films.c.updated_at >= moment).order_by(films.c.updated_at)
        with self.database.read() as c:
            return [Change(f, r, FilmState(s), u) for f, r, s, u in c.execute(query)]

    def object(self, film_id: str, uid: str, kind: str) -> StoredObject:
        """Return a result object.

        Raises
        ------
        NotFound
            When there is none.
        """
        where = (objects.c.film_id == film_id) & (objects.c.uid == uid) & (objects.c.kind == kind)
        with self.database.read() as c:
            row = c.execute(objects.select().where(where)).mappings().first()
        if not row:
            raise NotFound("object", film_id)
        return _object(row, ())

    def unfinished_count(self) -> int:
        """Number of analyses that are waiting or being worked on."""
        with self.database.read() as c:
            query = sa.select(sa.func.count()).select_from(analyses).where(analyses.c.state.in_(ACTIVE))
            return int(c.execute(query).scalar_one())

    def state_counts(self) -> dict[FilmState, int]:
        """Number of films by state."""
        with self.database.read() as c:
            rows = c.execute(sa.select(films.c.state, sa.func.count()).group_by(films.c.state))
            return {FilmState(state): count for state, count in rows}

    def _require_film(self, c: sa.Connection, film_id: str) -> Film:
        row = c.execute(films.select().where(films.c.film_id == film_id)).mappings().first()
        if not row:
            raise NotFound("film", film_id)
        return to_film(row)

    def _records(self, c: sa.Connection, film_ids: Sequence[str], model: str) -> dict[str, FilmRecord]:
        found = {
            r["film_id"]: to_film(r) for r in c.execute(films.select().where(films.c.film_id.in_(film_ids))).mappings()
        }
        ids = [analysis_id(f.film_id, model or f.model) for f in found.values()]
        rows = c.execute(analyses.select().where(analyses.c.analysis_id.in_(ids))).mappings()
        lines = {r["film_id"]: to_analysis(r) for r in rows}
        sent: dict[str, list[Delivery]] = {}
        columns = (outbox.c.uid, outbox.c.destination, outbox.c.state, outbox.c.attempts, outbox.c.last_error)
        query = sa.select(*columns).where(outbox.c.film_id.in_(film_ids)).order_by(outbox.c.id)
        for uid, destination, state, attempts, error in c.execute(query):
            sent.setdefault(uid, []).append(Delivery(destination, DeliveryState(state), attempts, error))
        results: dict[str, list[StoredObject]] = {}
        query = objects.select().where(objects.c.analysis_id.in_(ids)).order_by(objects.c.film_id, objects.c.position)
        for row in c.execute(query).mappings():
            line = lines[row["film_id"]]
            if row["model_digest"] == line.model_digest and line.state == FilmState.DONE and row["retired_at"] is None:
                deliveries = tuple(sent.get(row["uid"], ())) if row["kind"] != "png" else ()
                results.setdefault(row["film_id"], []).append(_object(row, deliveries))
        return {f: FilmRecord(film, lines.get(f), tuple(results.get(f, ()))) for f, film in found.items()}


def to_film(row: Mapping[Any, Any]) -> Film:
    """A row of `films`."""
    return Film(**{**row, "state": FilmState(row["state"])})


def to_analysis(row: Mapping[Any, Any]) -> Analysis:
    """A row of `analyses`."""
    summary = Summary.from_json(row["summary"]) if row["summary"] else None
    return Analysis(**{**row, "state": FilmState(row["state"]), "summary": summary})


def _chunks(ids: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (ids[i : i + size] for i in range(0, len(ids), size))


def _object(row: Mapping[Any, Any], deliveries: tuple[Delivery, ...]) -> StoredObject:
    names = StoredObject.__dataclass_fields__.keys() - {"deliveries"}
    return StoredObject(**{n: row[n] for n in names}, deliveries=deliveries)
