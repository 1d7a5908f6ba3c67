"""What ends the life of a result: withdrawals, rejection notes, amendments, merges of patients, models that were wrong.

Each is one transaction that retires what is current and lets its study be published anew; the publication then tells
the archives. Blocking: call it from a thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from vidi_gateway.store import study_rows
from vidi_gateway.store.arrivals import settle
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.records import Arrival, FilmState, NewFilm, Retirement, Summary, Verdict
from vidi_gateway.store.schema import analyses, films, merges, objects, outbox, rejections

#: Rejected for these reasons, a film is not taken again under its UID. What only ran out of time may come back.
LASTING = (Retirement.QUALITY, Retirement.SAFETY, Retirement.WORKLIST)
_STUDY_LEVEL = ("sr", "sc")
_CHUNK = 500
#: Merges that follow one another: more is a loop.
_MERGE_DEPTH = 16
# Asked for each film that comes: making a statement costs more than executing it.
_REJECTION = sa.select(rejections.c.reason).where(rejections.c.film_id == sa.bindparam("film_id"))
_MERGE = (
    merges.select().where(merges.c.prior_key == sa.bindparam("prior_key")).order_by(merges.c.created_at.desc()).limit(1)
)


@dataclass(frozen=True)
class Impact:
    """A film that a model has touched. `destinations` may have its results."""

    film_id: str
    study_key: str
    state: FilmState
    model_version: str
    model_digest: str
    superseded_by: str
    updated_at: float
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class Forgettable:
    """A withdrawn analysis whose explanation the cache may still hold. `shared`: the same pixels live on elsewhere."""

    analysis_id: str
    explanation_key: str
    shared: bool


class Lifecycle:
    """Ends and changes results; works on the journal.

    Parameters
    ----------
    journal
        The journal.
    settle_seconds
        How long more films of a study are waited for when one was moved to it.
    """

    def __init__(self, journal: Journal, settle_seconds: float = 0.0) -> None:
        self._journal = journal
        self._database = journal.database
        self._settle_seconds = settle_seconds

    def withdraw(self, film_ids: Sequence[str], reason: Retirement, model: str = "") -> int:
        """Withdraw films with all their results, or with `model` their results on that line only.

        Returns
        -------
        How many films were concerned; unknown ones and those that were withdrawn already are not.
        """
        count = 0
        for start in range(0, len(film_ids), _CHUNK):
            with self._database.write() as c:
                for film_id in dict.fromkeys(film_ids[start : start + _CHUNK]):
                    count += self._withdraw(c, film_id, reason, model, time.time())
        return count

    def reject(self, film_ids: Sequence[str], reason: Retirement, source: str) -> int:
        """Obey a rejection note: withdraw the films that are there, and remember those that are not yet."""
        now, count = time.time(), 0
        with self._database.write() as c:
            for film_id in dict.fromkeys(film_ids):
                row = {"film_id": film_id, "reason": reason, "source": source, "created_at": now}
                self._database.insert_new(c, rejections, row)
                count += self._withdraw(c, film_id, reason, "", now)
        return count

    def rejection(self, film_id: str, within: sa.Connection | None = None) -> Retirement | None:
        """Why a film must not be taken, if it must not; `within` a transaction that the caller has."""
        with self._database.read(within) as c:
            reason = c.execute(_REJECTION, {"film_id": film_id}).scalar()
        return Retirement(reason) if reason in LASTING else None

    def refuse_results(self, uids: Iterable[str]) -> int:
        """An archive has rejected results of ours itself: they are current no more, and it needs no note of ours."""
        where = objects.c.uid.in_(sorted(set(uids))) & objects.c.retired_at.is_(None)
        with self._database.write() as c:
            concerned = set(c.execute(sa.select(objects.c.uid).where(where)).scalars())
            study_rows.retire(c, where, Retirement.REFUSED, time.time())
            c.execute(objects.update().where(objects.c.uid.in_(sorted(concerned))).values(noted=True))
        return len(concerned)

    def amend(self, arrival: Arrival, new: NewFilm) -> bool:
        """The same pixels came with another identity: the film is from now on what came, its results are made anew.

        Parameters
        ----------
        arrival
            What came.
        new
            The film as it now is; its id, UID and line stay.

        Returns
        -------
        False when the arrival had its verdict already.
        """
        now = time.time()
        with self._database.write() as c:
            if not settle(c, arrival.arrival_id, Verdict.AMENDED):
                return False
            film = c.execute(films.select().where(films.c.film_id == new.film_id)).mappings().one()
            self._retire(c, [film], "", Retirement.AMENDED, now)
            kept = ("film_id", "priority", "model", "sop_instance_uid", "sop_class_uid")
            values: dict[str, Any] = {k: v for k, v in asdict(new).items() if k not in kept} | {"purged_at": None}
            c.execute(films.update().where(films.c.film_id == new.film_id).values(**values))
            lines = analyses.select().where(analyses.c.film_id == new.film_id).with_for_update()
            for row in c.execute(lines).mappings().all():
                if row["state"] == FilmState.WITHDRAWN:
                    continue
                due = now + self._settle_seconds
                study_rows.make_due(self._database, c, new.study_key, row["model"], new.mode, due)
                self._journal.start_anew(c, row, now, mode=new.mode)
        return True

    def merge(self, message_id: str, prior_keys: Iterable[str], surviving_key: str, identity_key: str) -> int:
        """Give a patient's films the identity of the patient who survives.

        Parameters
        ----------
        message_id
            Of the message that said so: it is obeyed once.
        prior_keys, surviving_key
            Both patients, as keyed digests; the prior one may be known under several.
        identity_key
            File with the surviving patient's identity.

        Returns
        -------
        How many films were concerned, also when the message was obeyed before.
        """
        now, count = time.time(), 0
        with self._database.write() as c:
            for prior_key in sorted(set(prior_keys) - {surviving_key}):
                row: dict[str, Any] = {"message_id": message_id, "prior_key": prior_key, "created_at": now}
                row |= {"surviving_key": surviving_key, "identity_key": identity_key, "films": 0}
                this = (merges.c.message_id == message_id) & (merges.c.prior_key == prior_key)
                if self._database.insert_new(c, merges, row):
                    moved = self._merge(c, prior_key, surviving_key, identity_key, now)
                    c.execute(merges.update().where(this).values(films=moved))
                count += int(c.execute(sa.select(merges.c.films).where(this)).scalar_one())
        return count

    def identity_of(self, patient_key: str, within: sa.Connection | None = None) -> tuple[str, str]:
        """Return the patient key and the identity's file that a film of this patient is filed under: "" for its own.

        `within` is a transaction that the caller has.
        """
        identity_key = ""
        with self._database.read(within) as c:
            for _ in range(_MERGE_DEPTH):
                row = c.execute(_MERGE, {"prior_key": patient_key}).mappings().first()
                if row is None:
                    break
                patient_key, identity_key = row["surviving_key"], row["identity_key"]
        return patient_key, identity_key

    def impact(self, model: str, digest: str = "", since: float = 0.0, until: float = 0.0) -> list[Impact]:
        """Return what a model has touched: results that were made, and where they may be.

        Parameters
        ----------
        model, digest
            The model line, and its digest when only that one is meant.
        since, until
            Seconds since the epoch, of the result; 0: open.
        """
        where = (analyses.c.model == model) & (analyses.c.outcome_key != "")
        where &= analyses.c.state.in_((FilmState.DONE, FilmState.EXPLAINED))
        where &= (analyses.c.model_digest == digest) if digest else sa.true()
        where &= (analyses.c.explained_at >= since) if since else sa.true()
        where &= (analyses.c.explained_at < until) if until else sa.true()
        query = sa.select(analyses, films.c.study_key).join(films, films.c.film_id == analyses.c.film_id).where(where)
        query = query.order_by(analyses.c.explained_at, analyses.c.film_id)
        arrived = study_rows.may_have_arrived()
        sent = sa.select(objects.c.analysis_id, outbox.c.destination).distinct()
        sent = sent.join(outbox, outbox.c.uid == objects.c.uid).where((objects.c.model == model) & arrived)
        with self._database.read() as c:
            rows = list(c.execute(query).mappings())
            at: dict[str, list[str]] = {}
            for one, destination in c.execute(sent.order_by(outbox.c.destination)):
                at.setdefault(one, []).append(destination)
        return [
            Impact(
                film_id=r["film_id"],
                study_key=r["study_key"],
                state=FilmState(r["state"]),
                model_version=r["model_version"],
                model_digest=r["model_digest"],
                superseded_by=r["superseded_by"],
                updated_at=r["updated_at"],
                destinations=tuple(at.get(r["analysis_id"], ())),
            )
            for r in rows
        ]

    def forgettable(self, limit: int) -> list[Forgettable]:
        """Return withdrawn analyses whose explanation the cache has not forgotten yet."""
        where = (analyses.c.state == FilmState.WITHDRAWN) & analyses.c.forgotten.is_(False) & (analyses.c.summary != "")
        other, twin = analyses.alias(), films.alias()
        lives = (twin.c.pixel_digest == films.c.pixel_digest) & (twin.c.film_id != films.c.film_id)
        lives &= (other.c.film_id == twin.c.film_id) & (other.c.model == analyses.c.model)
        shared = sa.exists().where(lives & (other.c.state != FilmState.WITHDRAWN)).label("shared")
        query = sa.select(analyses.c.analysis_id, analyses.c.summary, shared)
        query = query.join(films, films.c.film_id == analyses.c.film_id).where(where).limit(limit)
        with self._database.read() as c:
            rows = c.execute(query).all()
        return [Forgettable(r.analysis_id, Summary.from_json(r.summary).explanation_key, bool(r.shared)) for r in rows]

    def forgotten(self, analysis_ids: Sequence[str]) -> None:
        """The cache has forgotten them."""
        with self._database.write() as c:
            where = analyses.c.analysis_id.in_(analysis_ids) & (analyses.c.state == FilmState.WITHDRAWN)
            c.execute(analyses.update().where(where).values(forgotten=True))

    # ---- inside a transaction ---------------------------------------------------------------------------------------

    def _merge(self, c: sa.Connection, prior_key: str, surviving_key: str, identity_key: str, now: float) -> int:
        found = c.execute(films.select().where(films.c.patient_key == prior_key)).mappings().all()
        self._retire(c, found, "", Retirement.AMENDED, now)
        ids = [f["film_id"] for f in found]
        for start in range(0, len(ids), _CHUNK):
            part = ids[start : start + _CHUNK]
            values = {"patient_key": surviving_key, "identity_key": identity_key}
            c.execute(films.update().where(films.c.film_id.in_(part)).values(**values))
            kept = [f["film_id"] for f in found[start : start + _CHUNK] if f["purged_at"] is None]
            done = analyses.c.film_id.in_(kept) & (analyses.c.state == FilmState.DONE) & (analyses.c.outcome_key != "")
            for line in c.execute(analyses.select().where(done).with_for_update()).mappings().all():
                self._journal.move(c, line, FilmState.EXPLAINED, now)
        return len(ids)

    def _withdraw(self, c: sa.Connection, film_id: str, reason: Retirement, model: str, now: float) -> int:
        film = c.execute(films.select().where(films.c.film_id == film_id)).mappings().first()
        if film is None or film["withdrawn_at"] is not None or film["state"] == FilmState.QUARANTINED:
            return 0
        self._retire(c, [film], model, reason, now)
        line = (analyses.c.film_id == film_id) & (analyses.c.state != FilmState.WITHDRAWN)
        line &= (analyses.c.model == model) if model else sa.true()
        rows = c.execute(analyses.select().where(line).with_for_update()).mappings().all()
        code, message = f"WITHDRAWN_{reason.value.upper()}", _MESSAGES[reason]
        for row in rows:
            self._journal.move(c, row, FilmState.WITHDRAWN, now, reason_code=code, reason=message)
        if not model:
            values = {"withdrawn_at": now, "state": FilmState.WITHDRAWN, "reason_code": code, "reason": message}
            values |= {"revision": films.c.revision + 1, "updated_at": now}
            c.execute(films.update().where(films.c.film_id == film_id).values(**values))
        return 1 if rows or not model else 0

    def _retire(
        self, c: sa.Connection, rows: Sequence[Mapping[Any, Any]], model: str, reason: Retirement, now: float
    ) -> None:
        """Retire films' own objects and those of their studies, and let the studies be published again, at once."""
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            keys = sorted({r["study_key"] for r in part if r["study_key"]})
            own = objects.c.film_id.in_([r["film_id"] for r in part])
            shared = objects.c.study_key.in_(keys) & objects.c.kind.in_(_STUDY_LEVEL)
            line = (objects.c.model == model) if model else sa.true()
            where = sa.and_(sa.or_(own, shared), objects.c.kind != "ko", line)
            for key in sorted(study_rows.retire(c, where, reason, now)):
                study_rows.make_due(self._database, c, *key, now)


_MESSAGES: dict[Retirement, str] = {
    Retirement.WITHDRAWN: "withdrawn by the site",
    Retirement.QUALITY: "rejected for quality reasons",
    Retirement.SAFETY: "rejected for patient safety reasons",
    Retirement.WORKLIST: "rejected: incorrect worklist entry",
    Retirement.RETENTION: "rejected: its time of retention is over",
}
