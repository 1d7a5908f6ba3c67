"""What is to be deleted because its time is over: films' bytes, results. The journal's rows of films stay.

A film's row stays, so that the same film is still known as a duplicate when it comes again. A study loses all its
bytes at once, and only when nothing is under way: every film is finished, every object has arrived. It then goes by
another key, so that a film that comes later begins a study of its own instead of replacing a report that can no longer
be made anew.

Blocking: call it from a thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from vidi_gateway.store.audit import Audit
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.records import UNFINISHED, DeliveryState, StudyState, Verdict
from vidi_gateway.store.schema import analyses, arrivals, films, objects, outbox, studies

_PURGED = "bytes deleted"
#: Mark of a key that a study goes by after some of its bytes were deleted.
CLOSED = "."


@dataclass(frozen=True)
class Expired:
    """A study whose time is over. `oldest` is the time of its oldest film; "" is the key of films without a study."""

    study_key: str
    oldest: float


@dataclass(frozen=True)
class Leftover:
    """Bytes that nothing points to any more: to be deleted from the store, then to be said so."""

    film_id: str
    keys: tuple[str, ...]


class Retention:
    """Finds and marks what is to be deleted.

    Parameters
    ----------
    journal
        The journal.
    audit
        Hears of each film.
    """

    def __init__(self, journal: Journal, audit: Audit) -> None:
        self._database = journal.database
        self._audit = audit

    # ---- films ------------------------------------------------------------------------------------------------------

    def expired_films(self, before: float, after: Expired | None = None, limit: int = 200) -> list[Expired]:
        """Return studies with bytes of films from before a moment, the oldest first, after one that was looked at."""
        there = (films.c.purged_at.is_(None)) & (films.c.file_key != "") & (films.c.study_key != "")
        return self._expired(there & (films.c.received_at < before), after, limit)

    def purge_films(self, study_key: str, before: float) -> int:
        """Mark the films of a study as deleted; returns how many: none while anything is under way.

        The bytes are for `leftovers`.
        """
        now = time.time()
        with self._database.write() as c:
            if not self._finished(c, study_key, before):
                return 0
            there = (films.c.study_key == study_key) & films.c.purged_at.is_(None) & (films.c.file_key != "")
            ids = list(c.execute(sa.select(films.c.film_id).where(there)).scalars())
            if not ids:
                return 0
            touched = {"purged_at": now, "revision": films.c.revision + 1, "updated_at": now}
            c.execute(films.update().where(there).values(**touched))
            for film_id in ids:
                self._audit.note(_PURGED, film_id=film_id, actor="vidi", outcome="FILM", connection=c)
            self._close(c, study_key, now)
        return len(ids)

    def leftovers(self, limit: int = 200) -> list[Leftover]:
        """Return films whose bytes are to be deleted; a crash half-way leaves them here."""
        there = films.c.purged_at.is_not(None) & (films.c.file_bytes > 0)
        aside = sa.select(arrivals.c.film_id, arrivals.c.file_key)
        with self._database.read() as c:
            rows = c.execute(sa.select(films.c.film_id, films.c.file_key).where(there).limit(limit)).all()
            keys: dict[str, list[str]] = {r.film_id: [r.file_key] for r in rows}
            settled = arrivals.c.verdict != Verdict.PENDING
            quarantined = sa.select(films.c.file_key).where(films.c.purged_at.is_(None))
            for film_id, key in c.execute(
                aside.where(arrivals.c.film_id.in_(keys) & settled & arrivals.c.file_key.not_in(quarantined))
            ):
                keys[film_id].append(key)
        return [Leftover(film_id, tuple(k for k in found if k)) for film_id, found in keys.items()]

    def deleted(self, film_ids: Sequence[str]) -> None:
        """The bytes of these films are gone."""
        with self._database.write() as c:
            c.execute(films.update().where(films.c.film_id.in_(film_ids)).values(file_bytes=0))

    # ---- results ----------------------------------------------------------------------------------------------------

    def expired_results(self, before: float, after: Expired | None = None, limit: int = 200) -> list[Expired]:
        """Return studies with results of films from before a moment, the oldest first, after one that was looked at."""
        made = sa.exists().where((analyses.c.film_id == films.c.film_id) & (analyses.c.outcome_key != ""))
        there = (films.c.received_at < before) & (films.c.study_key != "") & made
        return self._expired(there, after, limit)

    def results_of(self, study_key: str, before: float) -> tuple[str, ...]:
        """Close a study and return the keys of its results' bytes; none while anything is under way."""
        now = time.time()
        with self._database.write() as c:
            if not self._finished(c, study_key, before):
                return ()
            members = sa.select(films.c.film_id).where(films.c.study_key == study_key)
            keys = set(c.execute(sa.select(objects.c.key).where(objects.c.film_id.in_(members))).scalars())
            made = sa.select(analyses.c.outcome_key).where(analyses.c.film_id.in_(members))
            keys |= set(c.execute(made).scalars())
            if not study_key.partition(CLOSED)[1]:
                self._close(c, study_key, now)
        return tuple(sorted(k for k in keys if k))

    def forget_results(self, keys: Sequence[str]) -> int:
        """The bytes under these keys are gone: so are their rows, and what was said of their deliveries.

        Returns
        -------
        How many films they were of.
        """
        concerned: set[str] = set()
        with self._database.write() as c:
            for start in range(0, len(keys), 500):
                part = list(keys[start : start + 500])
                these = objects.c.key.in_(part)
                made = analyses.c.outcome_key.in_(part)
                concerned |= set(c.execute(sa.select(objects.c.film_id).where(these)).scalars())
                concerned |= set(c.execute(sa.select(analyses.c.film_id).where(made)).scalars())
                c.execute(outbox.delete().where(outbox.c.key.in_(part)))
                c.execute(objects.delete().where(these))
                c.execute(analyses.update().where(made).values(outcome_key=""))
            for film_id in sorted(concerned):
                self._audit.note(_PURGED, film_id=film_id, actor="vidi", outcome="RESULTS", connection=c)
        return len(concerned)

    # ---- both -------------------------------------------------------------------------------------------------------

    def _expired(self, there: sa.ColumnElement[bool], after: Expired | None, limit: int) -> list[Expired]:
        oldest = sa.func.min(films.c.received_at).label("oldest")
        query = sa.select(films.c.study_key, oldest).where(there).group_by(films.c.study_key)
        if after is not None:
            query = query.having(sa.tuple_(oldest, films.c.study_key) > (after.oldest, after.study_key))
        with self._database.read() as c:
            rows = c.execute(query.order_by(oldest, films.c.study_key).limit(limit)).all()
        return [Expired(r.study_key, float(r.oldest)) for r in rows]

    def _finished(self, c: sa.Connection, study_key: str, before: float) -> bool:
        """Whether all of a study is from before a moment, and nothing of it is under way."""
        members = sa.select(films.c.film_id).where(films.c.study_key == study_key)
        its_objects = sa.select(objects.c.uid).where(objects.c.film_id.in_(members))
        asked = (outbox.c.state == DeliveryState.SENT) & outbox.c.confirm_by.is_not(None)
        open_delivery = outbox.c.state.in_((DeliveryState.PENDING, DeliveryState.DEAD)) | asked
        under_way = (
            sa.select(films.c.film_id).where(
                (films.c.study_key == study_key) & ((films.c.received_at >= before) | films.c.state.in_(UNFINISHED))
            ),
            sa.select(analyses.c.film_id).where(analyses.c.film_id.in_(members) & analyses.c.state.in_(UNFINISHED)),
            sa.select(arrivals.c.film_id).where(
                arrivals.c.film_id.in_(members) & (arrivals.c.verdict == Verdict.PENDING)
            ),
            sa.select(studies.c.study_key).where(
                (studies.c.study_key == study_key) & (studies.c.state != StudyState.SETTLED)
            ),
            sa.select(outbox.c.film_id).where(outbox.c.uid.in_(its_objects) & open_delivery),
        )
        return not any(c.execute(query.limit(1)).first() for query in under_way)

    def _close(self, c: sa.Connection, study_key: str, now: float) -> None:
        """Let a study go by another key: what comes later under its Study Instance UID is a study of its own."""
        closed = f"{study_key.partition(CLOSED)[0]}{CLOSED}{int(now * 1000):x}"
        for table in (films, objects, studies):
            c.execute(table.update().where(table.c.study_key == study_key).values(study_key=closed))
