"""The journal: which films came, where each stands, what its result is. The truth that everything else is rebuilt from.

Every method is one transaction and blocks until it is durable: call it from a thread. No method waits for a service.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from vidi.errors import InvalidInput, NotFound
from vidi.imaging.notes import Refusal
from vidi_gateway.store.database import Database
from vidi_gateway.store.records import (
    PRIORITY_BULK,
    Analysis,
    Change,
    Delivery,
    DeliveryState,
    Film,
    FilmRecord,
    FilmState,
    NewFilm,
    StoredObject,
    Summary,
)
from vidi_gateway.store.schema import analyses, films, objects, outbox

UNFINISHED = (FilmState.RECEIVED, FilmState.PROCESSING)


def analysis_id(film_id: str, model: str) -> str:
    """Id of a film's analysis on a model line."""
    return f"{film_id}.{model}"


class Journal:
    """Films, analyses and results."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # ---- in -----------------------------------------------------------------------------------------------------

    def add_film(self, new: NewFilm, refusal: Refusal | None = None) -> bool:
        """Journal a film, to be analysed unless it is refused. Returns False when its id is there already."""
        now = time.time()
        with self.database.write() as c:
            return self.insert_film(c, new, refusal, now)

    def reconsider(self, new: NewFilm, refusal: Refusal | None) -> None:
        """Judge anew a film that was refused on arrival and not kept: it came again, the rules may have changed."""
        now = time.time()
        where = (films.c.film_id == new.film_id) & (films.c.state == FilmState.REFUSED) & (films.c.file_key == "")
        values: dict[str, Any] = {k: v for k, v in asdict(new).items() if k not in ("film_id", "priority")}
        if refusal:
            values |= {"reason_code": refusal.code, "reason": refusal.message}
        else:
            values |= {"state": FilmState.RECEIVED, "reason_code": "", "reason": ""}
        with self.database.write() as c:
            if c.execute(films.update().where(where).values(**values)).rowcount and not refusal:
                self._insert_analysis(c, new.film_id, new.model, new.priority, now)
            self._touch(c, new.film_id, now)

    def add_analysis(self, film_id: str, model: str, priority: int = PRIORITY_BULK) -> str:
        """Ask for a film's analysis on a model line; one that is there stays. Returns the analysis id.

        Raises
        ------
        NotFound
            When there is no such film, or its bytes were not kept.
        """
        now = time.time()
        with self.database.write() as c:
            film = self._film(c, film_id)
            if not film.file_key:
                raise NotFound("film", film_id, hint="it was refused on arrival and not kept")
            if film.state == FilmState.QUARANTINED:
                raise InvalidInput("a quarantined film is not analysed", reason="QUARANTINED")
            self._insert_analysis(c, film_id, model, priority, now)
        return analysis_id(film_id, model)

    # ---- reading ------------------------------------------------------------------------------------------------

    def film(self, film_id: str) -> Film:
        """Return a film.

        Raises
        ------
        NotFound
            When there is none.
        """
        with self.database.read() as c:
            return self._film(c, film_id)

    def find_film(self, film_id: str) -> Film | None:
        """Return a film, if it is there."""
        with self.database.read() as c:
            row = c.execute(films.select().where(films.c.film_id == film_id)).mappings().first()
        return _film(row) if row else None

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
        return _analysis(row)

    def analyses_by_id(self, ids: Sequence[str]) -> dict[str, Analysis]:
        """Return analyses by id; unknown ids are left out."""
        found: dict[str, Analysis] = {}
        with self.database.read() as c:
            for chunk in _chunks(ids):
                rows = c.execute(analyses.select().where(analyses.c.analysis_id.in_(chunk))).mappings()
                found |= {r["analysis_id"]: _analysis(r) for r in rows}
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
            query = sa.select(sa.func.count()).select_from(analyses).where(analyses.c.state.in_(UNFINISHED))
            return int(c.execute(query).scalar_one())

    def state_counts(self) -> dict[FilmState, int]:
        """Number of films by state."""
        with self.database.read() as c:
            rows = c.execute(sa.select(films.c.state, sa.func.count()).group_by(films.c.state))
            return {FilmState(state): count for state, count in rows}

    # ---- the way of an analysis -----------------------------------------------------------------------------------

    def unqueued(self, limit: int) -> list[Analysis]:
        """Return analyses that no workflow was started for, most urgent first, then in order of arrival."""
        where = (analyses.c.state == FilmState.RECEIVED) & analyses.c.enqueued_at.is_(None)
        order = (analyses.c.priority, analyses.c.created_at)
        with self.database.read() as c:
            return [
                _analysis(r) for r in c.execute(analyses.select().where(where).order_by(*order).limit(limit)).mappings()
            ]

    def queued_count(self) -> int:
        """Number of unfinished analyses that a workflow was started for."""
        where = analyses.c.state.in_(UNFINISHED) & analyses.c.enqueued_at.is_not(None)
        with self.database.read() as c:
            return int(c.execute(sa.select(sa.func.count()).select_from(analyses).where(where)).scalar_one())

    def mark_queued(self, ids: Iterable[tuple[str, int]]) -> None:
        """Note that the workflows of these (analysis id, run) exist."""
        now = time.time()
        with self.database.write() as c:
            for one, run in ids:
                where = (analyses.c.analysis_id == one) & (analyses.c.run == run)
                c.execute(analyses.update().where(where).values(enqueued_at=now))

    def queued_before(self, moment: float, limit: int = 1000) -> list[Analysis]:
        """Return unfinished analyses whose workflow was started, or that last changed, before a moment."""
        where = analyses.c.state.in_(UNFINISHED) & (analyses.c.enqueued_at < moment) & (analyses.c.updated_at < moment)
        with self.database.read() as c:
            return [_analysis(r) for r in c.execute(analyses.select().where(where).limit(limit)).mappings()]

    def begin(self, analysis_id: str, run: int) -> Analysis | None:
        """Count an attempt and mark the film as being worked on. None: another run has taken over, or it is final."""
        now = time.time()
        with self.database.write() as c:
            row = c.execute(analyses.select().where(analyses.c.analysis_id == analysis_id)).mappings().first()
            if not row or row["run"] != run or FilmState(row["state"]).final:
                return None
            self.move(c, row, FilmState.PROCESSING, now, attempts=row["attempts"] + 1)
            return _analysis(c.execute(analyses.select().where(analyses.c.analysis_id == analysis_id)).mappings().one())

    def note_wait(self, analysis_id: str) -> None:
        """Count an attempt at a service that did not answer."""
        where = analyses.c.analysis_id == analysis_id
        with self.database.write() as c:
            c.execute(analyses.update().where(where).values(waits=analyses.c.waits + 1, updated_at=time.time()))

    def pin(self, analysis_id: str, version: str, digest: str) -> None:
        """Record which model an analysis uses from here on."""
        where = analyses.c.analysis_id == analysis_id
        with self.database.write() as c:
            c.execute(analyses.update().where(where).values(model_version=version, model_digest=digest))

    def identify(self, film_id: str, pixel_digest: str, identity_digest: str) -> None:
        """Record the two digests that tell films apart."""
        values = {"pixel_digest": pixel_digest, "identity_digest": identity_digest}
        with self.database.write() as c:
            c.execute(films.update().where(films.c.film_id == film_id).values(**values))

    def conclude(self, analysis_id: str, run: int, state: FilmState, code: str, message: str) -> bool:
        """End an analysis without a result: refused or failed. False: another run has taken over, or it is final."""
        now = time.time()
        with self.database.write() as c:
            row = self._unfinished(c, analysis_id, run)
            if row:
                self.move(c, row, state, now, reason_code=code, reason=message)
            return row is not None

    def finish(
        self,
        analysis_id: str,
        run: int,
        *,
        outcome_key: str,
        outcome_digest: str,
        summary: Summary,
        results: Sequence[StoredObject],
        routes: Mapping[str, Sequence[str]],
    ) -> bool:
        """End an analysis with its result, and put what is to be sent into the outbox: one transaction.

        Parameters
        ----------
        analysis_id, run
            The analysis.
        outcome_key, outcome_digest
            The stored outcome.
        summary
            The outcome without its arrays.
        results
            Result objects; their bytes are in the store already.
        routes
            Kinds of object by destination name.

        Returns
        -------
        False when another run has taken over, or it is final: then nothing changed.
        """
        now = time.time()
        with self.database.write() as c:
            row = self._unfinished(c, analysis_id, run)
            if not row:
                return False
            values = {"outcome_key": outcome_key, "outcome_digest": outcome_digest, "summary": summary.to_json()}
            self.move(c, row, FilmState.DONE, now, reason_code="", reason="", **values)
            for position, result in enumerate(results):
                fields = {k: v for k, v in asdict(result).items() if k != "deliveries"}
                more = {"analysis_id": analysis_id, "position": position, "created_at": now}
                self.database.insert_new(c, objects, fields | more)
                for destination, kinds in routes.items():
                    if result.kind in kinds:
                        self.database.insert_new(c, outbox, _to_send(result, destination, now))
            return True

    def run_again(self, analysis_id: str, run: int, *, fresh: bool = False) -> bool:
        """Start a new run of an analysis: an unfinished one whose workflow is gone or, with `fresh`, one that is final.

        `fresh` forgets the attempts so far. Returns False when another run has taken over.
        """
        now = time.time()
        with self.database.write() as c:
            row = c.execute(analyses.select().where(analyses.c.analysis_id == analysis_id)).mappings().first()
            if not row or row["run"] != run or FilmState(row["state"]).final != fresh:
                return False
            values = {"run": run + 1, "enqueued_at": None} | ({"attempts": 0, "waits": 0} if fresh else {})
            self.move(c, row, FilmState.RECEIVED, now, reason_code="", reason="", **values)
            return True

    # ---- inside a transaction ---------------------------------------------------------------------------------------

    def insert_film(
        self, c: sa.Connection, new: NewFilm, refusal: Refusal | None, now: float, state: FilmState | None = None
    ) -> bool:
        """As `add_film`, inside the caller's transaction."""
        state = state or (FilmState.REFUSED if refusal else FilmState.RECEIVED)
        row = {k: v for k, v in asdict(new).items() if k != "priority"}
        row |= {"pixel_digest": "", "identity_digest": "", "state": state, "revision": 1}
        row |= {"reason_code": refusal.code if refusal else "", "reason": refusal.message if refusal else ""}
        row |= {"received_at": now, "updated_at": now}
        if not self.database.insert_new(c, films, row):
            return False
        if state == FilmState.RECEIVED:
            self._insert_analysis(c, new.film_id, new.model, new.priority, now)
        return True

    def _insert_analysis(self, c: sa.Connection, film_id: str, model: str, priority: int, now: float) -> None:
        row = {"analysis_id": analysis_id(film_id, model), "film_id": film_id, "model": model, "priority": priority}
        row |= {"state": FilmState.RECEIVED, "run": 1, "attempts": 0, "waits": 0, "enqueued_at": None}
        texts = ("model_version", "model_digest", "reason_code", "reason", "outcome_key", "outcome_digest", "summary")
        self.database.insert_new(c, analyses, row | dict.fromkeys(texts, "") | {"created_at": now, "updated_at": now})

    def _unfinished(self, c: sa.Connection, analysis_id: str, run: int) -> Mapping[str, Any] | None:
        where = (analyses.c.analysis_id == analysis_id) & (analyses.c.run == run) & analyses.c.state.in_(UNFINISHED)
        row = c.execute(analyses.select().where(where).with_for_update()).mappings().first()
        return dict(row) if row else None

    def move(self, c: sa.Connection, row: Mapping[Any, Any], state: FilmState, now: float, **values: Any) -> None:
        """Set an analysis's state, and its film's when this is the line that the film arrived on."""
        where = analyses.c.analysis_id == row["analysis_id"]
        c.execute(analyses.update().where(where).values(state=state, updated_at=now, **values))
        film = films.c.film_id == row["film_id"]
        mirrored = {k: values[k] for k in ("reason_code", "reason") if k in values}
        c.execute(films.update().where(film & (films.c.model == row["model"])).values(state=state, **mirrored))
        self._touch(c, row["film_id"], now)

    def _touch(self, c: sa.Connection, film_id: str, now: float) -> None:
        values = {"revision": films.c.revision + 1, "updated_at": now}
        c.execute(films.update().where(films.c.film_id == film_id).values(**values))

    def _film(self, c: sa.Connection, film_id: str) -> Film:
        row = c.execute(films.select().where(films.c.film_id == film_id)).mappings().first()
        if not row:
            raise NotFound("film", film_id)
        return _film(row)

    def _records(self, c: sa.Connection, film_ids: Sequence[str], model: str) -> dict[str, FilmRecord]:
        found = {
            r["film_id"]: _film(r) for r in c.execute(films.select().where(films.c.film_id.in_(film_ids))).mappings()
        }
        ids = [analysis_id(f.film_id, model or f.model) for f in found.values()]
        rows = c.execute(analyses.select().where(analyses.c.analysis_id.in_(ids))).mappings()
        lines = {r["film_id"]: _analysis(r) for r in rows}
        sent: dict[str, list[Delivery]] = {}
        columns = (outbox.c.uid, outbox.c.destination, outbox.c.state, outbox.c.attempts, outbox.c.last_error)
        query = sa.select(*columns).where(outbox.c.film_id.in_(film_ids)).order_by(outbox.c.id)
        for uid, destination, state, attempts, error in c.execute(query):
            sent.setdefault(uid, []).append(Delivery(destination, DeliveryState(state), attempts, error))
        results: dict[str, list[StoredObject]] = {}
        query = objects.select().where(objects.c.analysis_id.in_(ids)).order_by(objects.c.film_id, objects.c.position)
        for row in c.execute(query).mappings():
            line = lines[row["film_id"]]
            if row["model_digest"] == line.model_digest and line.state == FilmState.DONE:
                deliveries = tuple(sent.get(row["uid"], ())) if row["kind"] != "png" else ()
                results.setdefault(row["film_id"], []).append(_object(row, deliveries))
        return {f: FilmRecord(film, lines.get(f), tuple(results.get(f, ()))) for f, film in found.items()}


def _chunks(ids: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (ids[i : i + size] for i in range(0, len(ids), size))


def _to_send(result: StoredObject, destination: str, now: float) -> dict[str, Any]:
    row: dict[str, Any] = {"film_id": result.film_id, "uid": result.uid, "destination": destination, "key": result.key}
    row |= {"state": DeliveryState.PENDING, "attempts": 0, "next_attempt": now, "claimed_by": "", "claimed_until": 0.0}
    return row | {"last_error": "", "created_at": now, "updated_at": now}


def _film(row: Mapping[Any, Any]) -> Film:
    return Film(**{**row, "state": FilmState(row["state"])})


def _analysis(row: Mapping[Any, Any]) -> Analysis:
    summary = Summary.from_json(row["summary"]) if row["summary"] else None
    return Analysis(**{**row, "state": FilmState(row["state"]), "summary": summary})


def _object(row: Mapping[Any, Any], deliveries: tuple[Delivery, ...]) -> StoredObject:
    names = StoredObject.__dataclass_fields__.keys() - {"deliveries"}
    return StoredObject(**{n: row[n] for n in names}, deliveries=deliveries)
