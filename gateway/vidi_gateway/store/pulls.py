"""Pulls in the journal: what is to be fetched from which archive, and how far. Blocking: call it from a thread."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from vidi.errors import InvalidInput, NotFound, PreconditionFailed
from vidi_gateway.matches import Level
from vidi_gateway.store.database import Database
from vidi_gateway.store.leases import Lease
from vidi_gateway.store.schema import pull_items, pulls

MAX_ERROR = 255


class PullState(StrEnum):
    """Where a pull stands."""

    LISTING = "listing"  # the archive is asked what there is
    RUNNING = "running"
    DONE = "done"  # every item was fetched, or failed for good
    CANCELLED = "cancelled"
    FAILED = "failed"  # `last_error` says what has to be set right before it is resumed


class ItemState(StrEnum):
    """Where an item stands."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    LEFT_OUT = "left_out"  # the pull was cancelled before


@dataclass(frozen=True)
class Target:
    """A study, series or instance, by the UIDs down to its level."""

    study_uid: str
    series_uid: str = ""
    sop_uid: str = ""

    @property
    def level(self) -> Level:
        """What it is."""
        return Level.IMAGE if self.sop_uid else Level.SERIES if self.series_uid else Level.STUDY


@dataclass(frozen=True)
class Query:
    """What to look for: nothing that names a patient.

    Attributes
    ----------
    study_date
        A day or range of days (PS3.4 section C.2.2.2.5): "20240131", "20240101-20240131", "20240101-"; "": any.
    modalities
        Of series: only these are fetched.
    body_part
        Body Part Examined of series, wildcards allowed; "": any. Series whose header leaves it blank are fetched.
    limit
        Most studies; 0: all.
    """

    study_date: str = ""
    modalities: tuple[str, ...] = ("CR", "DX")
    body_part: str = ""
    limit: int = 0


@dataclass(frozen=True)
class Pull:
    """A pull. `films` counts the instances that the archive has sent, also those that were here already."""

    pull_id: str
    display_name: str
    peer: str
    model: str
    query: Query | None
    state: PullState
    last_error: str
    created_at: float
    updated_at: float
    total: int = 0
    waiting: int = 0
    done: int = 0
    failed: int = 0
    left_out: int = 0
    films: int = 0


@dataclass(frozen=True)
class Item:
    """One thing to fetch."""

    position: int
    target: Target
    state: ItemState
    attempts: int
    films: int
    last_error: str


class Pulls:
    """The pull tables.

    Parameters
    ----------
    database
        The journal's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, display_name: str, peer: str, model: str, what: Query | Sequence[Target]) -> str:
        """Store a pull and return its id; it is fetched in the background.

        Parameters
        ----------
        display_name
            For people; no patient data.
        peer
            The archive's name.
        model
            Model line.
        what
            A query that the archive is asked first, or a list.

        Raises
        ------
        InvalidInput
            When the list is empty or names something twice.
        """
        query = what if isinstance(what, Query) else None
        targets = () if isinstance(what, Query) else what
        if query is None and (not targets or len(set(targets)) != len(targets)):
            raise InvalidInput("a pull needs items, each of them once", field="items")
        now = time.time()
        pull_id = f"l{secrets.token_hex(10)}"
        row: dict[str, Any] = {"pull_id": pull_id, "display_name": display_name, "peer": peer, "model": model}
        row |= {"criteria": json.dumps(asdict(query)) if query else "", "created_at": now, "updated_at": now}
        row |= {"state": PullState.LISTING if query else PullState.RUNNING}
        with self._database.write() as c:
            c.execute(pulls.insert().values(**row))
            _insert(c, pull_id, 0, targets)
        return pull_id

    def get(self, pull_id: str) -> Pull:
        """Return a pull as it stands.

        Raises
        ------
        NotFound
            No such pull.
        """
        with self._database.read() as c:
            row = c.execute(pulls.select().where(pulls.c.pull_id == pull_id)).mappings().first()
            if row is None:
                raise NotFound("pull", pull_id)
            return _pull(row, _counts(c, pull_id))

    def page(self, limit: int, before: float | None = None) -> list[Pull]:
        """Return pulls, the newest first; `before` is the creation time of the last one that is known."""
        query = pulls.select().order_by(pulls.c.created_at.desc()).limit(limit)
        if before is not None:
            query = query.where(pulls.c.created_at < before)
        with self._database.read() as c:
            return [_pull(row, _counts(c, row["pull_id"])) for row in c.execute(query).mappings().all()]

    def items(self, pull_id: str, limit: int, after: int = -1, state: ItemState | None = None) -> list[Item]:
        """Return items in order, from the position `after` on."""
        where = (pull_items.c.pull_id == pull_id) & (pull_items.c.position > after)
        if state:
            where &= pull_items.c.state == state
        query = pull_items.select().where(where).order_by(pull_items.c.position).limit(limit)
        with self._database.read() as c:
            return [_item(row) for row in c.execute(query).mappings()]

    def cancel(self, pull_id: str) -> None:
        """Leave out what has not been fetched; what came stays.

        Raises
        ------
        NotFound
            No such pull.
        """
        with self._database.write() as c:
            state = self._locked(c, pull_id)
            if state not in (PullState.LISTING, PullState.RUNNING, PullState.FAILED):
                return
            self._set(c, pull_id, state=PullState.CANCELLED)
            waiting = (pull_items.c.pull_id == pull_id) & (pull_items.c.state == ItemState.WAITING)
            if state == PullState.LISTING:
                c.execute(pull_items.delete().where(pull_items.c.pull_id == pull_id))  # half a list says nothing
            c.execute(pull_items.update().where(waiting).values(state=ItemState.LEFT_OUT))

    def resume(self, pull_id: str) -> None:
        """Fetch what failed or was left out; a query that has found nothing yet is asked again.

        Raises
        ------
        NotFound
            No such pull.
        PreconditionFailed
            It is running.
        """
        with self._database.write() as c:
            state = self._locked(c, pull_id)
            if state in (PullState.LISTING, PullState.RUNNING):
                raise PreconditionFailed("the pull is running", reason="PULL_RUNNING")
            criteria = c.execute(sa.select(pulls.c.criteria).where(pulls.c.pull_id == pull_id)).scalar_one()
            mine = pull_items.c.pull_id == pull_id
            listed = c.execute(sa.select(sa.func.count()).select_from(pull_items).where(mine)).scalar_one()
            again = mine & pull_items.c.state.in_((ItemState.FAILED, ItemState.LEFT_OUT))
            c.execute(pull_items.update().where(again).values(state=ItemState.WAITING, attempts=0, last_error=""))
            back = PullState.LISTING if criteria and not listed else PullState.RUNNING
            self._set(c, pull_id, state=back, last_error="")

    # ---- for whoever fetches ----------------------------------------------------------------------------------------

    def lead(self, owner: str, seconds: float) -> bool:
        """Whether this process is the one that fetches: the first to ask, until it has not asked for `seconds`."""
        return Lease(self._database, "pulls", owner, seconds).hold()

    def unfinished_peers(self) -> list[str]:
        """Names of archives that something is to be fetched from."""
        active = pulls.c.state.in_((PullState.LISTING, PullState.RUNNING))
        with self._database.read() as c:
            return list(c.execute(sa.select(pulls.c.peer).where(active).distinct()).scalars())

    def next_of(self, peer: str) -> Pull | None:
        """Return the oldest unfinished pull from an archive."""
        active = pulls.c.state.in_((PullState.LISTING, PullState.RUNNING))
        query = sa.select(pulls.c.pull_id).where(active, pulls.c.peer == peer).order_by(pulls.c.created_at).limit(1)
        with self._database.read() as c:
            found = c.execute(query).scalar()
        return self.get(found) if found else None

    def state(self, pull_id: str) -> PullState:
        """Return a pull's state, without its counts."""
        with self._database.read() as c:
            return PullState(c.execute(sa.select(pulls.c.state).where(pulls.c.pull_id == pull_id)).scalar_one())

    def begin_list(self, pull_id: str) -> None:
        """Forget what an interrupted listing has found: nothing of it was fetched."""
        with self._database.write() as c:
            if self._locked(c, pull_id) == PullState.LISTING:
                c.execute(pull_items.delete().where(pull_items.c.pull_id == pull_id))

    def append(self, pull_id: str, position: int, targets: Sequence[Target], *, last: bool) -> bool:
        """Add what a query found; `last` ends the listing. False: the pull was cancelled meanwhile."""
        with self._database.write() as c:
            if self._locked(c, pull_id) != PullState.LISTING:
                return False
            _insert(c, pull_id, position, targets)
            self._set(c, pull_id, last_error="", **({"state": PullState.RUNNING} if last else {}))
        return True

    def waiting(self, pull_id: str, limit: int) -> list[Item]:
        """Return items to be fetched: those that were not tried yet first."""
        where = (pull_items.c.pull_id == pull_id) & (pull_items.c.state == ItemState.WAITING)
        query = pull_items.select().where(where).order_by(pull_items.c.attempts, pull_items.c.position).limit(limit)
        with self._database.read() as c:
            return [_item(row) for row in c.execute(query).mappings()]

    def settle(self, pull_id: str, position: int, state: ItemState, films: int, error: str = "") -> None:
        """Record an attempt at an item; one that was cancelled meanwhile is done when it came, else left out."""
        where = (pull_items.c.pull_id == pull_id) & (pull_items.c.position == position)
        values: dict[str, Any] = {"attempts": pull_items.c.attempts + 1, "last_error": error[:MAX_ERROR]}
        # An attempt that failed may have brought fewer films than the one before.
        most = sa.case((pull_items.c.films > films, pull_items.c.films), else_=films)
        left_out = sa.case((pull_items.c.state == ItemState.LEFT_OUT, ItemState.LEFT_OUT), else_=state)
        values |= {"films": most, "state": state if state == ItemState.DONE else left_out}
        with self._database.write() as c:
            c.execute(pull_items.update().where(where).values(**values))
            self._set(c, pull_id, last_error="")

    def finish(self, pull_id: str) -> bool:
        """End a running pull in which nothing waits; returns whether it ended."""
        waiting = (pull_items.c.pull_id == pull_id) & (pull_items.c.state == ItemState.WAITING)
        with self._database.write() as c:
            if self._locked(c, pull_id) != PullState.RUNNING:
                return True
            if c.execute(sa.select(pull_items.c.position).where(waiting).limit(1)).first() is not None:
                return False
            self._set(c, pull_id, state=PullState.DONE, last_error="")
        return True

    def note(self, pull_id: str, error: str) -> None:
        """Say why nothing goes on at the moment."""
        with self._database.write() as c:
            self._set(c, pull_id, last_error=error[:MAX_ERROR])

    def fail(self, pull_id: str, error: str) -> None:
        """End a pull that cannot go on until something is set right."""
        with self._database.write() as c:
            if self._locked(c, pull_id) in (PullState.LISTING, PullState.RUNNING):
                self._set(c, pull_id, state=PullState.FAILED, last_error=error[:MAX_ERROR])

    def _locked(self, c: sa.Connection, pull_id: str) -> PullState:
        found = c.execute(sa.select(pulls.c.state).where(pulls.c.pull_id == pull_id).with_for_update()).scalar()
        if found is None:
            raise NotFound("pull", pull_id)
        return PullState(found)

    def _set(self, c: sa.Connection, pull_id: str, **values: Any) -> None:
        c.execute(pulls.update().where(pulls.c.pull_id == pull_id).values(updated_at=time.time(), **values))


def _insert(c: sa.Connection, pull_id: str, position: int, targets: Sequence[Target]) -> None:
    rows = [
        {"pull_id": pull_id, "position": position + i, "state": ItemState.WAITING, "level": t.level, **asdict(t)}
        for i, t in enumerate(targets)
    ]
    for start in range(0, len(rows), 500):
        c.execute(pull_items.insert(), rows[start : start + 500])


def _counts(c: sa.Connection, pull_id: str) -> dict[str, int]:
    query = sa.select(pull_items.c.state, sa.func.count(), sa.func.sum(pull_items.c.films))
    rows = c.execute(query.where(pull_items.c.pull_id == pull_id).group_by(pull_items.c.state)).all()
    counts = {str(state): int(count) for state, count, _ in rows}
    return counts | {"total": sum(counts.values()), "films": sum(int(films or 0) for _, _, films in rows)}


def _pull(row: Any, counts: dict[str, int]) -> Pull:
    values: dict[str, Any] = {n: row[n] for n in ("pull_id", "display_name", "peer", "model", "last_error")}
    values |= {"state": PullState(row["state"]), "created_at": row["created_at"], "updated_at": row["updated_at"]}
    query = None
    if row["criteria"]:
        read: dict[str, Any] = json.loads(row["criteria"])
        query = Query(**(read | {"modalities": tuple(read["modalities"])}))
    return Pull(query=query, **(values | counts))


def _item(row: Any) -> Item:
    target = Target(row["study_uid"], row["series_uid"], row["sop_uid"])
    return Item(row["position"], target, ItemState(row["state"]), row["attempts"], row["films"], row["last_error"])
