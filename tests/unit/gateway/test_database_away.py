"""A database that is away comes back: that is told from a statement that is wrong, and never counts as a defect."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from vidi.errors import Unavailable
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.controls import Controls
from vidi_gateway.store.database import Database
from vidi_gateway.store.schema import workers


def row(name: str) -> dict[str, object]:
    return {"executor_id": name, "version": "1" * 60, "started_at": 0.0, "heartbeat_at": 0.0}


def test_a_full_disk_is_away_and_a_wrong_statement_is_not(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'journal.sqlite3'}")
    database.create_schema()
    many = [row(f"w{i}") for i in range(1000)]
    with database.write() as c:
        pages = c.exec_driver_sql("PRAGMA page_count").scalar()
        c.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(Unavailable) as caught, database.write() as c:
        c.execute(workers.insert().values(many))
    assert caught.value.reason == "JOURNAL_AWAY" and caught.value.__cause__ is None
    with pytest.raises(sa.exc.OperationalError), database.read() as c:
        c.execute(sa.text("SELECT nothing FROM nowhere"))
    with pytest.raises(sa.exc.IntegrityError), database.write() as c:
        c.execute(workers.insert().values([row("twice"), row("twice")]))
    database.close()


def test_nobody_listens(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg://nobody@/none?host={tmp_path}")
    for transaction in (database.read, database.write):
        with pytest.raises(Unavailable, match="does not answer"), transaction():
            pass
    with pytest.raises(Unavailable):
        database.together(lambda c: c.execute(sa.text("SELECT 1")).scalar())
    assert not Controls(database, Audit(database)).delivery_allowed(), "a switch that cannot be read is off"
    database.close()
