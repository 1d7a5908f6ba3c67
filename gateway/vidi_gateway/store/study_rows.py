"""The rows of `studies` and what hangs on them, inside a caller's transaction."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from vidi_gateway.store.database import Database
from vidi_gateway.store.records import DeliveryState, StudyState
from vidi_gateway.store.schema import films, objects, outbox, studies

#: With these errors of its last attempt an object never reached the peer.
NEVER_ARRIVED = (
    "",
    "NO_ASSOCIATION",
    "NO_CONNECTION",
    "ASSOCIATION_REJECTED",
    "SOP_CLASS_NOT_ACCEPTED",
    "FILE_MISSING",
    "CREDENTIALS_MISSING",
    "TLS_FILES",
    "TLS_FAILED",
    "TLS_TIMEOUT",
    "CERTIFICATE_OUT_OF_DATE",
    "CERTIFICATE_UNTRUSTED",
    "CERTIFICATE_NAME",
)


def line_of(table: sa.Table, study_key: Any, model: Any, mode: Any) -> sa.ColumnElement[bool]:
    """Rows of `studies` or `objects` that belong to a study on a model line."""
    return sa.and_(table.c.study_key == study_key, table.c.model == model, table.c.mode == mode)


def make_due(database: Database, c: sa.Connection, study_key: str, model: str, mode: str, due_at: float) -> None:
    """Let a study be published, for the first time or again, not before `due_at`."""
    if not study_key:  # journalled by a version that knew no studies, and not looked at since
        return
    new = {"study_key": study_key, "model": model, "mode": mode, "state": StudyState.WAITING, "due_at": due_at}
    new |= {"revision": 0, "attempts": 0, "claimed_until": 0.0, "created_at": due_at, "updated_at": due_at}
    if not database.insert_new(c, studies, new):
        line = line_of(studies, study_key, model, mode)
        c.execute(studies.update().where(line).values(state=StudyState.WAITING, due_at=due_at, attempts=0))


def wake(c: sa.Connection, film_id: str, model: str, mode: str, now: float) -> None:
    """Let a film's study be published again if it was published without waiting for this film."""
    key = sa.select(films.c.study_key).where(films.c.film_id == film_id).scalar_subquery()
    settled = line_of(studies, key, model, mode) & (studies.c.state == StudyState.SETTLED)
    c.execute(studies.update().where(settled).values(state=StudyState.WAITING, due_at=now, attempts=0))


def retire(c: sa.Connection, where: sa.ColumnElement[bool], reason: str, now: float) -> set[tuple[str, str, str]]:
    """Let current objects be so no more: what was not sent yet never will be. The notes are for the publication.

    Returns
    -------
    The studies concerned: study key, model, mode.
    """
    current = where & objects.c.retired_at.is_(None)
    columns = (objects.c.uid, objects.c.study_key, objects.c.model, objects.c.mode)
    rows = list(c.execute(sa.select(*columns).where(current)))
    uids = sorted({row.uid for row in rows})
    if uids:
        c.execute(objects.update().where(current).values(retired_at=now, retired_reason=reason))
        unsent = outbox.c.uid.in_(uids) & outbox.c.state.in_((DeliveryState.PENDING, DeliveryState.DEAD))
        c.execute(outbox.update().where(unsent).values(state=DeliveryState.CANCELLED, updated_at=now))
    return {(row.study_key, row.model, row.mode) for row in rows}


def may_have_arrived() -> sa.ColumnElement[bool]:
    """Whether a row of the outbox stands for an object that its destination may have."""
    attempted = outbox.c.attempts > 0
    lost = outbox.c.last_error.in_(NEVER_ARRIVED)
    sent = outbox.c.state.in_((DeliveryState.SENT, DeliveryState.CONFIRMED)) | outbox.c.sent_at.is_not(None)
    # A claim whose time is over counts too: whoever fell silent may have sent it.
    return sent | (attempted & ~lost) | (outbox.c.claimed_by != "")
