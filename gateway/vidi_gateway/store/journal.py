"""The journal: which films came, where each stands, what its result is. The truth that everything else is rebuilt from.

Every method is one transaction and blocks until it is durable: call it from a thread. No method waits for a service.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from vidi.errors import InvalidInput, NotFound
from vidi.imaging.notes import Refusal
from vidi_gateway.store.database import Database
from vidi_gateway.store.reader import Reader, analysis_id, to_analysis
from vidi_gateway.store.records import ACTIVE, PRIORITY_BULK, Analysis, Film, FilmState, NewFilm, Summary
from vidi_gateway.store.schema import analyses, films, objects
from vidi_gateway.store.study_rows import make_due, wake


def require_bytes(film: Film) -> None:
    """Check that a film's bytes are in the store.

    Raises
    ------
    NotFound
        They were not kept, or are not any more.
    """
    if film.purged_at is not None:
        days = max(0.0, film.purged_at - film.received_at) / 86_400
        raise NotFound("film", film.film_id, hint=f"its bytes were deleted after {days:.0f} days")
    if not film.file_key:
        raise NotFound("film", film.film_id, hint="it was refused on arrival and not kept")


class Journal(Reader):
    """Films, analyses and results.

    Parameters
    ----------
    database
        The journal's.
    settle_seconds
        After a study's last film, how long more of its films are waited for before its results are published.
    """

    def __init__(self, database: Database, settle_seconds: float = 0.0) -> None:
        super().__init__(database)
        self._settle_seconds = settle_seconds

    # ---- in -----------------------------------------------------------------------------------------------------

    def add_film(
        self, new: NewFilm, refusal: Refusal | None = None, also: Callable[[sa.Connection], None] | None = None
    ) -> bool:
        """Journal a film, to be analysed unless it is refused. Returns False when its id is there already.

        `also` is called in the same transaction when the film is new.
        """
        now = time.time()

        def add(c: sa.Connection) -> bool:
            added = self.insert_film(c, new, refusal, now)
            if added and also:
                also(c)
            return added

        return self.database.together(add)

    def add_withdrawn(self, new: NewFilm, reason: Refusal) -> bool:
        """Journal a film that a rejection note has named before it came: it is not analysed."""
        now = time.time()
        with self.database.write() as c:
            there = not self.insert_film(c, new, reason, now, state=FilmState.WITHDRAWN)
            c.execute(films.update().where(films.c.film_id == new.film_id).values(withdrawn_at=now))
            return not there

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
                self._insert_analysis(c, new, new.model, new.priority, now)
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
            require_bytes(film)
            if film.state == FilmState.QUARANTINED or film.withdrawn_at is not None:
                raise InvalidInput(f"a {film.state.value} film is not analysed", reason=film.state.value.upper())
            self._insert_analysis(c, film, model, priority, now)
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
        where = analyses.c.state.in_(ACTIVE) & analyses.c.enqueued_at.is_not(None)
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
        where = analyses.c.state.in_(ACTIVE) & started & (analyses.c.updated_at < moment)
        with self.database.read() as c:
            return [to_analysis(r) for r in c.execute(analyses.select().where(where).limit(limit)).mappings()]

    def begin(self, analysis_id: str, run: int) -> Analysis | None:
        """Count an attempt and mark the film as being worked on. None: another run has taken over, or it is final."""
        now = time.time()
        with self.database.write() as c:
            row = self._locked(c, analysis_id)
            if not row or row["run"] != run or row["state"] not in ACTIVE:
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

    def identify(
        self, film_id: str, pixel_digest: str, identity_digest: str, study_key: str = "", patient_key: str = ""
    ) -> None:
        """Record the two digests that tell films apart; and its study, if an older version journalled the film."""
        values = {"pixel_digest": pixel_digest, "identity_digest": identity_digest}
        with self.database.write() as c:
            c.execute(films.update().where(films.c.film_id == film_id).values(**values))
            older = (films.c.film_id == film_id) & (films.c.study_key == "")
            keys = {"study_key": study_key, "patient_key": patient_key}
            if study_key and c.execute(films.update().where(older).values(**keys)).rowcount:
                for row in c.execute(analyses.select().where(analyses.c.film_id == film_id)).mappings().all():
                    mode = row["mode"] or "live"
                    c.execute(analyses.update().where(analyses.c.analysis_id == row["analysis_id"]).values(mode=mode))
                    line = {"study_key": study_key, "model": row["model"], "mode": mode}
                    issued = objects.c.analysis_id == row["analysis_id"]
                    c.execute(objects.update().where(issued).values(**line))
                    make_due(self.database, c, **line, due_at=time.time())

    def conclude(self, analysis_id: str, run: int, state: FilmState, code: str, message: str) -> bool:
        """End an analysis without a result: refused or failed. False: another run has taken over, or it is final."""
        now = time.time()
        with self.database.write() as c:
            row = self._unfinished(c, analysis_id, run)
            if row:
                self.move(c, row, state, now, reason_code=code, reason=message)
                wake(c, row["film_id"], row["model"], row["mode"], now)
            return row is not None

    def record(
        self,
        analysis_id: str,
        run: int,
        *,
        outcome_key: str,
        outcome_digest: str,
        summary: Summary,
        urgency: float = 0.0,
        urgency_reasons: str = "",
    ) -> bool:
        """Store what the services said of a film; its results come when its study has settled.

        Parameters
        ----------
        analysis_id, run
            The analysis.
        outcome_key, outcome_digest
            The stored outcome.
        summary
            The outcome without its arrays.
        urgency, urgency_reasons
            How far it is pulled forward in the reading order (0..1), and why (JSON list of codes).

        Returns
        -------
        False when another run has taken over, or it is final: then nothing changed.
        """
        now = time.time()
        with self.database.write() as c:
            row = self._locked(c, analysis_id)
            if not row or row["run"] != run or row["state"] not in ACTIVE:
                return False
            values: dict[str, Any] = {"outcome_key": outcome_key, "outcome_digest": outcome_digest}
            values |= {
                "summary": summary.to_json(),
                "urgency": urgency,
                "urgency_reasons": urgency_reasons,
                "superseded_by": "",
                "forgotten": False,
            }
            values |= {"explained_at": now}
            self.move(c, row, FilmState.EXPLAINED, now, reason_code="", reason="", **values)
            wake(c, row["film_id"], row["model"], row["mode"], now)
            return True

    def supersede(self, model: str, digest: str) -> int:
        """Mark the results of a model line that another digest made than the line has now; returns how many."""
        line = (analyses.c.model == model) & (analyses.c.state == FilmState.DONE)
        older = line & (analyses.c.model_digest != digest) & (analyses.c.superseded_by != digest)
        now = time.time()
        with self.database.write() as c:
            concerned = sa.select(analyses.c.film_id).where(older)
            touched = {"revision": films.c.revision + 1, "updated_at": now}
            c.execute(films.update().where(films.c.film_id.in_(concerned)).values(**touched))
            count = c.execute(analyses.update().where(older).values(superseded_by=digest)).rowcount
            same = line & (analyses.c.model_digest == digest) & (analyses.c.superseded_by != "")
            c.execute(analyses.update().where(same).values(superseded_by=""))
        return int(count)

    def run_again(self, analysis_id: str, run: int, *, fresh: bool = False) -> bool:
        """Start a new run of an analysis: an unfinished one whose workflow is gone or, with `fresh`, one that is final.

        `fresh` forgets the attempts so far. Returns False when another run has taken over.
        """
        now = time.time()
        with self.database.write() as c:
            row = self._locked(c, analysis_id)
            if not row or row["run"] != run or not (FilmState(row["state"]).final if fresh else row["state"] in ACTIVE):
                return False
            kept = {} if fresh else {"attempts": row["attempts"], "waits": row["waits"]}
            self.start_anew(c, row, now, **kept)
            film = self._require_film(c, row["film_id"])
            make_due(self.database, c, film.study_key, row["model"], row["mode"], now + self._settle_seconds)
            return True

    # ---- inside a transaction ---------------------------------------------------------------------------------------

    def start_anew(self, c: sa.Connection, row: Mapping[Any, Any], now: float, **values: Any) -> None:
        """Let an analysis wait for a workflow again, inside the caller's transaction, as if it had not been tried."""
        again = {"run": row["run"] + 1, "enqueued_at": None, "attempts": 0, "waits": 0} | values
        self.move(c, row, FilmState.RECEIVED, now, reason_code="", reason="", **again)

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
            self._insert_analysis(c, new, new.model, new.priority, now)
        return True

    def _insert_analysis(self, c: sa.Connection, film: NewFilm | Film, model: str, priority: int, now: float) -> None:
        film_id, mode = film.film_id, film.mode
        row = {"analysis_id": analysis_id(film_id, model), "film_id": film_id, "model": model, "priority": priority}
        row |= {"mode": mode}
        row |= {"state": FilmState.RECEIVED, "run": 1, "attempts": 0, "waits": 0, "enqueued_at": None}
        texts = ("model_version", "model_digest", "reason_code", "reason", "outcome_key", "outcome_digest", "summary")
        self.database.insert_new(c, analyses, row | dict.fromkeys(texts, "") | {"created_at": now, "updated_at": now})
        make_due(self.database, c, film.study_key, model, mode, now + self._settle_seconds)

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
