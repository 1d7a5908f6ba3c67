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
from vidi_gateway.store.reader import UNFINISHED, Reader, analysis_id, to_analysis
from vidi_gateway.store.records import (
    PRIORITY_BULK,
    Analysis,
    DeliveryState,
    FilmState,
    NewFilm,
    StoredObject,
    Summary,
)
from vidi_gateway.store.schema import analyses, films, objects, outbox


class Journal(Reader):
    """Films, analyses and results."""

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
            film = self._require_film(c, film_id)
            if not film.file_key:
                raise NotFound("film", film_id, hint="it was refused on arrival and not kept")
            if film.state == FilmState.QUARANTINED:
                raise InvalidInput("a quarantined film is not analysed", reason="QUARANTINED")
            self._insert_analysis(c, film_id, model, priority, now)
        return analysis_id(film_id, model)

    # ---- the way of an analysis -----------------------------------------------------------------------------------

    def unqueued(self, limit: int) -> list[Analysis]:
        """Return analyses that no workflow was started for, most urgent first, then in order of arrival."""
        where = (analyses.c.state == FilmState.RECEIVED) & analyses.c.enqueued_at.is_(None)
        order = (analyses.c.priority, analyses.c.created_at)
        with self.database.read() as c:
            return [
                to_analysis(r)
                for r in c.execute(analyses.select().where(where).order_by(*order).limit(limit)).mappings()
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
        """Return unfinished analyses that should have a workflow, and that last changed before a moment."""
        started = (analyses.c.enqueued_at < moment) | (analyses.c.state == FilmState.PROCESSING)
        where = analyses.c.state.in_(UNFINISHED) & started & (analyses.c.updated_at < moment)
        with self.database.read() as c:
            return [to_analysis(r) for r in c.execute(analyses.select().where(where).limit(limit)).mappings()]

    def begin(self, analysis_id: str, run: int) -> Analysis | None:
        """Count an attempt and mark the film as being worked on. None: another run has taken over, or it is final."""
        now = time.time()
        with self.database.write() as c:
            row = self._locked(c, analysis_id)
            if not row or row["run"] != run or FilmState(row["state"]).final:
                return None
            self.move(c, row, FilmState.PROCESSING, now, attempts=row["attempts"] + 1)
            return to_analysis(
                c.execute(analyses.select().where(analyses.c.analysis_id == analysis_id)).mappings().one()
            )

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
            row = self._locked(c, analysis_id)
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

    def _locked(self, c: sa.Connection, analysis_id: str) -> Mapping[str, Any] | None:
        """An analysis's row, held against other transactions until this one ends."""
        query = analyses.select().where(analyses.c.analysis_id == analysis_id).with_for_update()
        row = c.execute(query).mappings().first()
        return dict(row) if row else None

    def _unfinished(self, c: sa.Connection, analysis_id: str, run: int) -> Mapping[str, Any] | None:
        row = self._locked(c, analysis_id)
        return row if row and row["run"] == run and not FilmState(row["state"]).final else None

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


def _to_send(result: StoredObject, destination: str, now: float) -> dict[str, Any]:
    row: dict[str, Any] = {"film_id": result.film_id, "uid": result.uid, "destination": destination, "key": result.key}
    row |= {"state": DeliveryState.PENDING, "attempts": 0, "next_attempt": now, "claimed_by": "", "claimed_until": 0.0}
    return row | {"last_error": "", "created_at": now, "updated_at": now}
