"""Studies in the journal: which are due to be published, from what, and their publication as one transaction.

Every method is one transaction and blocks: call it from a thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from vidi_gateway.store import study_rows
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.reader import to_analysis, to_film
from vidi_gateway.store.records import (
    ACTIVE,
    Analysis,
    DeliveryState,
    Film,
    FilmState,
    Retirement,
    StoredObject,
    StudyState,
)
from vidi_gateway.store.schema import analyses, films, objects, outbox, studies

MAX_ERROR = 255
#: Kinds that no archive has, or that are notes themselves.
_NOT_REJECTED = ("ko", "png")
#: Rejection notes overtake results: a wrong result is the more urgent thing to hear of.
PRIORITY_NOTE = 0


@dataclass(frozen=True)
class Study:
    """A study on a model line that is due. `due_at` stays the same in every attempt at one publication."""

    study_key: str
    model: str
    mode: str
    due_at: float
    revision: int
    input_digest: str
    attempts: int


@dataclass(frozen=True)
class Member:
    """A film of a study. `analysis` is None for one that was refused on arrival or quarantined."""

    film: Film
    analysis: Analysis | None

    @property
    def explained(self) -> bool:
        """Whether it has an outcome that may be published, and what a report is made from is still there."""
        there = self.film.purged_at is None and self.analysis is not None and bool(self.analysis.outcome_key)
        return there and self.analysis is not None and self.analysis.state in (FilmState.EXPLAINED, FilmState.DONE)

    @property
    def active(self) -> bool:
        """Whether it is still being worked on."""
        return self.analysis is not None and self.analysis.state in ACTIVE

    @property
    def essence(self) -> tuple[object, ...]:
        """What a publication depends on: an attempt more at a film that is worked on changes nothing."""
        film, analysis = self.film, self.analysis
        of_film = (film.film_id, film.file_key, film.identity_key, film.routing, film.withdrawn_at)
        if analysis is None:
            return (*of_film, film.state)
        if self.active:
            return (*of_film, "active")
        return (*of_film, analysis.state, analysis.run, analysis.outcome_digest, analysis.reason_code)


@dataclass(frozen=True)
class Issued:
    """A result object that was published, with the destinations that may have it."""

    uid: str
    kind: str
    key: str
    film_ids: tuple[str, ...]
    retired_reason: str
    noted: bool
    replaced_by: str
    destinations: frozenset[str]

    @property
    def retired(self) -> bool:
        """Whether it is current no more."""
        return bool(self.retired_reason)


@dataclass(frozen=True)
class Snapshot:
    """What a publication is made from."""

    study: Study
    members: tuple[Member, ...]
    issued: tuple[Issued, ...]

    def same(self, members: tuple[Member, ...], issued: tuple[Issued, ...]) -> bool:
        """Whether a publication that was made from this one still holds."""
        return [m.essence for m in self.members] == [m.essence for m in members] and self.issued == issued


@dataclass(frozen=True)
class Note:
    """A rejection note to be published: its object, and where it goes."""

    result: StoredObject
    destinations: tuple[str, ...]


class Studies:
    """The table of studies; its publications change films, so that it works on the journal.

    Parameters
    ----------
    journal
        The journal.
    owner
        Stable name of this worker: leases of its former life end when it starts.
    patience_seconds
        How long after a study was due its unfinished films are waited for; then they are named as pending.
    lease_seconds
        After which another worker may take over a publication.
    """

    def __init__(
        self, journal: Journal, owner: str, *, patience_seconds: float = 600.0, lease_seconds: float = 300.0
    ) -> None:
        self._journal = journal
        self._database = journal.database
        self._owner = owner
        self._patience = patience_seconds
        self._lease = lease_seconds

    def release_own(self) -> None:
        """End this worker's leases: it has just started."""
        with self._database.write() as c:
            c.execute(studies.update().where(studies.c.claimed_by == self._owner).values(claimed_until=0.0))

    def claim(self, limit: int) -> list[Study]:
        """Lease studies that are due: none of their films is being worked on, or that has taken too long."""
        now = time.time()
        due = (studies.c.state == StudyState.WAITING) & (studies.c.due_at <= now) & (studies.c.claimed_until < now)
        line = (films.c.study_key == studies.c.study_key) & (analyses.c.film_id == films.c.film_id)
        line &= (analyses.c.model == studies.c.model) & (analyses.c.mode == studies.c.mode)
        working = sa.exists().where(line & analyses.c.state.in_(ACTIVE))
        rejected = objects.c.retired_at.is_not(None) & objects.c.noted.is_(False) & objects.c.kind.not_in(_NOT_REJECTED)
        of_study = study_rows.line_of(objects, studies.c.study_key, studies.c.model, studies.c.mode)
        urgent = sa.exists().where(of_study & rejected)
        ready = ~working | (studies.c.due_at <= now - self._patience) | urgent
        query = studies.select().where(due & ready).order_by(studies.c.due_at).limit(limit)
        with self._database.write() as c:
            rows = c.execute(query.with_for_update(skip_locked=True, of=studies)).mappings().all()
            claimed = [Study(**{n: row[n] for n in Study.__dataclass_fields__}) for row in rows]
            lease = {"claimed_by": self._owner, "claimed_until": now + self._lease, "updated_at": now}
            for study in claimed:
                c.execute(studies.update().where(_of(studies, study)).values(**lease))
        return claimed

    def snapshot(self, study: Study) -> Snapshot:
        """Read what a publication is made from."""
        with self._database.read() as c:
            return Snapshot(study, self._members(c, study), self._issued(c, study))

    def postpone(self, study: Study, error: str, wait: float) -> None:
        """Try again after `wait` seconds; the study stays due."""
        values = {"claimed_until": time.time() + wait, "attempts": study.attempts + 1, "last_error": error[:MAX_ERROR]}
        with self._database.write() as c:
            c.execute(studies.update().where(_of(studies, study)).values(claimed_by="", **values))

    def settle(self, study: Study) -> bool:
        """Nothing is to be published; False when the study is another worker's by now."""
        with self._database.write() as c:
            held = self._held(c, study)
            if held:
                self._settle(c, study, StudyState.SETTLED, study.input_digest, time.time(), published=0)
        return held

    def fail(self, study: Study, code: str, message: str) -> None:
        """Give a publication up: what waits for it has failed, and says so."""
        now = time.time()
        with self._database.write() as c:
            if not self._held(c, study):
                return
            for member in self._members(c, study):
                if member.analysis and member.analysis.state == FilmState.EXPLAINED:
                    self._journal.move(
                        c, vars(member.analysis), FilmState.FAILED, now, reason_code=code, reason=message
                    )
            self._settle(c, study, StudyState.SETTLED, study.input_digest, now, published=0)

    def publish(
        self,
        snapshot: Snapshot,
        *,
        results: Sequence[StoredObject],
        notes: Sequence[Note],
        routes: Mapping[str, Mapping[str, Sequence[str]]],
        priority: int,
        input_digest: str,
        settled: bool,
    ) -> bool:
        """Make results the current ones of a study, retire those that they replace, and fill the outbox.

        Parameters
        ----------
        snapshot
            What everything was made from: if it holds no more, nothing changes.
        results
            All result objects that are to be current, one row per film; their bytes are in the store already.
        notes
            Rejection notes for what is retired.
        routes
            Kinds of object by destination, by film.
        priority
            Of the deliveries, lower first.
        input_digest
            Of what the publication was made from.
        settled
            False: only notes, since films are still being worked on; the study stays due.

        Returns
        -------
        False when something has changed meanwhile: then the study stays due.
        """
        study, now = snapshot.study, time.time()
        with self._database.write() as c:
            if not self._held(c, study):
                return False
            if not snapshot.same(self._members(c, study, lock=True), self._issued(c, study)):
                return False
            if settled:
                keep = sorted({r.uid for r in results} | {n.result.uid for n in notes})
                replaced = _of(objects, study) & (objects.c.kind != "ko") & objects.c.uid.not_in(keep)
                study_rows.retire(c, replaced, Retirement.REPLACED, now)
                self._insert(c, study, results, now)
                self._send(c, results, routes, priority, now)
                report = next((r.uid for r in results if r.kind == "sr"), "")
                named = sorted(i.uid for i in snapshot.issued if i.kind == "sr" and i.uid not in keep)
                open_reports = objects.c.uid.in_(named) & (objects.c.replaced_by == "")
                c.execute(objects.update().where(open_reports).values(replaced_by=report or "none"))
                for member in snapshot.members:
                    if member.explained and member.analysis:
                        self._journal.move(c, vars(member.analysis), FilmState.DONE, now, reason_code="", reason="")
            for note in notes:
                self._insert(c, study, [note.result], now)
                goes_to = {note.result.film_id: dict.fromkeys(note.destinations, ("ko",))}
                self._send(c, [note.result], goes_to, PRIORITY_NOTE, now)
            seen = objects.c.uid.in_([i.uid for i in snapshot.issued]) & objects.c.retired_at.is_not(None)
            c.execute(objects.update().where(seen).values(noted=True))
            state = StudyState.SETTLED if settled else StudyState.WAITING
            self._settle(c, study, state, input_digest if settled else study.input_digest, now)
        return True

    def _members(self, c: sa.Connection, study: Study, *, lock: bool = False) -> tuple[Member, ...]:
        query = (
            films.select().where(films.c.study_key == study.study_key).order_by(films.c.received_at, films.c.film_id)
        )
        found = [to_film(r) for r in c.execute(query).mappings()]
        mine = analyses.c.film_id.in_([f.film_id for f in found]) & (analyses.c.model == study.model)
        lines = analyses.select().where(mine)
        rows = c.execute(lines.with_for_update() if lock else lines).mappings()
        by_film = {r["film_id"]: to_analysis(r) for r in rows}
        members = [Member(f, by_film.get(f.film_id)) for f in found]
        return tuple(m for m in members if _belongs(m, study))

    def _issued(self, c: sa.Connection, study: Study) -> tuple[Issued, ...]:
        """What is current, and what is retired but not yet rejected or replaced."""
        of_study = _of(objects, study) & objects.c.kind.not_in(_NOT_REJECTED)
        open_ = objects.c.retired_at.is_(None) | objects.c.noted.is_(False)
        open_ |= (objects.c.kind == "sr") & (objects.c.replaced_by == "")
        query = objects.select().where(of_study & open_).order_by(objects.c.created_at, objects.c.uid)
        rows = list(c.execute(query).mappings())
        at: dict[str, set[str]] = {}
        arrived = outbox.c.uid.in_(sorted({r["uid"] for r in rows})) & study_rows.may_have_arrived()
        for uid, destination in c.execute(sa.select(outbox.c.uid, outbox.c.destination).where(arrived)):
            at.setdefault(uid, set()).add(destination)
        owners: dict[str, list[str]] = {}
        for row in rows:
            owners.setdefault(row["uid"], []).append(row["film_id"])
        first = {row["uid"]: row for row in reversed(rows)}
        return tuple(
            Issued(
                uid=uid,
                kind=row["kind"],
                key=row["key"],
                film_ids=tuple(sorted(owners[uid])),
                retired_reason=row["retired_reason"],
                noted=row["noted"],
                replaced_by=row["replaced_by"],
                destinations=frozenset(at.get(uid, ())),
            )
            for uid, row in sorted(first.items())
        )

    def _held(self, c: sa.Connection, study: Study) -> bool:
        """Whether the study is still this worker's, unchanged; held against other transactions until this one ends."""
        row = c.execute(studies.select().where(_of(studies, study)).with_for_update()).mappings().first()
        return row is not None and (row["claimed_by"], row["revision"]) == (self._owner, study.revision)

    def _settle(
        self, c: sa.Connection, study: Study, state: StudyState, input_digest: str, now: float, *, published: int = 1
    ) -> None:
        """End a claim; a study that became due again meanwhile stays due."""
        values: dict[str, Any] = {"revision": study.revision + published, "input_digest": input_digest, "attempts": 0}
        values |= {"claimed_by": "", "claimed_until": 0.0, "last_error": "", "updated_at": now}
        c.execute(studies.update().where(_of(studies, study)).values(**values))
        unchanged = _of(studies, study) & (studies.c.due_at == study.due_at)
        c.execute(studies.update().where(unchanged).values(state=state))

    def _insert(self, c: sa.Connection, study: Study, results: Sequence[StoredObject], now: float) -> None:
        for position, result in enumerate(results):
            row: dict[str, Any] = {k: v for k, v in asdict(result).items() if k != "deliveries"}
            row |= {"analysis_id": f"{result.film_id}.{study.model}", "position": position, "created_at": now}
            row |= {"study_key": study.study_key, "model": study.model, "mode": study.mode}
            self._database.insert_new(c, objects, row)

    def _send(
        self,
        c: sa.Connection,
        results: Sequence[StoredObject],
        routes: Mapping[str, Mapping[str, Sequence[str]]],
        priority: int,
        now: float,
    ) -> None:
        for result in results:
            for destination, kinds in routes.get(result.film_id, {}).items():
                if result.kind in kinds:
                    row: dict[str, Any] = {"film_id": result.film_id, "uid": result.uid, "destination": destination}
                    row |= {"key": result.key, "kind": result.kind, "priority": priority, "attempts": 0}
                    row |= {"state": DeliveryState.PENDING, "next_attempt": now, "claimed_by": "", "claimed_until": 0.0}
                    row |= {"last_error": "", "created_at": now, "updated_at": now}
                    self._database.insert_new(c, outbox, row)


def _belongs(member: Member, study: Study) -> bool:
    """Whether a film is part of a study on this line: analysed on it, or arrived on it and refused."""
    if member.analysis is not None:
        return member.analysis.mode == study.mode
    return member.film.model == study.model and member.film.mode == study.mode


def _of(table: sa.Table, study: Study) -> sa.ColumnElement[bool]:
    return study_rows.line_of(table, study.study_key, study.model, study.mode)
