"""The audit trail: linked, so that a change shows; trimmed without breaking; part of the caller's transaction."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from vidi_gateway.store.audit import TRIMMED, Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.schema import audit
from vidi_gateway.store.site_key import SiteKey


@pytest.fixture
def trail(database: Database) -> Audit:
    return Audit(database, SiteKey(b"k" * 32))


def write_at_once(trail: Audit, threads: int = 4, each: int = 15) -> None:
    def write(who: int) -> None:
        for i in range(each):
            trail.note("dropped", source=f"dimse:PEER{who}@10.0.0.{who}", outcome="NOT_AN_IMAGE", detail={"n": i})

    workers = [threading.Thread(target=write, args=(w,)) for w in range(threads)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()


def test_many_threads_make_an_intact_trail(trail: Audit) -> None:
    write_at_once(trail)
    found = trail.verify()
    assert found.intact and found.records == 60 and found.unchained == 0 and found.chains >= 1
    assert trail.counts("dropped") == {"NOT_AN_IMAGE": 60}


@pytest.mark.parametrize("column", ["outcome", "source", "detail", "at", "actor"])
def test_a_changed_record_shows(trail: Audit, database: Database, column: str) -> None:
    write_at_once(trail, 1, 5)
    with database.write() as c:
        value = 1.5 if column == "at" else '{"n": 99}'
        c.execute(audit.update().where(audit.c.id == 3).values(**{column: value}))
    assert trail.verify().broken == (3,)


def test_a_removed_record_shows(trail: Audit, database: Database) -> None:
    write_at_once(trail, 1, 5)
    with database.write() as c:
        c.execute(audit.delete().where(audit.c.id == 2))
    assert trail.verify().broken == (3,)
    with database.write() as c:
        c.execute(audit.delete().where(audit.c.id == 1))
    assert trail.verify().broken == (3,)


def test_a_record_made_without_the_key_shows(trail: Audit, database: Database) -> None:
    write_at_once(trail, 1, 2)
    with database.write() as c:
        row = dict(c.execute(audit.select().where(audit.c.id == 2)).mappings().one())
        c.execute(audit.insert().values(**{k: v for k, v in row.items() if k != "id"}))
    assert trail.verify().broken == (3,)
    assert not Audit(database, SiteKey(b"x" * 32)).verify().intact


def test_the_record_is_there_if_what_it_is_about_is(trail: Audit, database: Database) -> None:
    def fail() -> None:
        with database.write() as c:
            trail.note("withdrawn", film_id="f1", connection=c)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.write() as c:
        trail.note("withdrawn", film_id="f2", connection=c)
        trail.note("withdrawn", film_id="f3", connection=c)
    trail.note("withdrawn", film_id="f4")
    assert [r.film_id for r in trail.page(10)] == ["f4", "f3", "f2"]
    assert trail.verify().intact


def test_trimming_keeps_the_rest_verifiable(trail: Audit, database: Database) -> None:
    write_at_once(trail)
    with database.read() as c:
        cut = sorted(c.execute(sa.select(audit.c.at)).scalars())[30]
    trimmed = 0
    while count := trail.trim(cut, relayed=False, limit=7):
        trimmed += count
    assert trimmed == 30
    assert trail.verify().intact
    write_at_once(trail)
    assert trail.verify().intact
    assert sum(r.detail["records"] for r in trail.page(1000, events=[TRIMMED])) == 30
    with database.write() as c:
        oldest = c.execute(sa.select(sa.func.min(audit.c.id))).scalar_one()
        c.execute(audit.delete().where(audit.c.id == oldest))
    assert not trail.verify().intact, "a beginning that was removed in another way still shows"


def test_trimming_again_and_again_and_then_its_own_notes(trail: Audit, database: Database) -> None:
    for _ in range(3):
        write_at_once(trail, 2, 6)
        with database.read() as c:
            cut = sorted(c.execute(sa.select(audit.c.at)).scalars())[-4]
        while trail.trim(cut, relayed=False, limit=5):
            pass
        assert trail.verify().intact
    now = trail.page(1)[0].at
    while trail.trim(now, relayed=False):
        pass
    assert trail.verify().intact
    trail.note("dropped")
    assert trail.verify().intact


def test_what_was_not_relayed_is_not_trimmed(trail: Audit) -> None:
    write_at_once(trail, 1, 4)
    first = trail.unexported(2)
    trail.mark_exported([r.id for r in first])
    assert trail.trim(2e12, relayed=True) == 2
    assert trail.unexported_count() == 3, "two, and the note of the trimming"
    assert trail.verify().intact


def test_no_uid_and_no_object_gets_in(trail: Audit) -> None:
    class Element:
        def __str__(self) -> str:
            return "DOE^JANE"

    uid = "1.2.276.0.7230010.3.1.4.8323329.5323.1"
    trail.note("query", source=f"x {uid}", outcome=uid, actor=uid, detail={"name": Element(), "study": uid, "n": 1})
    (record,) = trail.page(1)
    assert uid not in repr(record) and "DOE" not in repr(record)
    assert record.detail == {"name": "Element", "study": "(uid)", "n": 1}
