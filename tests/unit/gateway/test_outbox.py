"""The outbox: leases, retries, confirmations, denials, dead letters."""

from __future__ import annotations

import time
from dataclasses import asdict

import pytest
import sqlalchemy as sa

from vidi_gateway.store.database import Database
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.records import DeliveryState, NewFilm, OutboxEntry
from vidi_gateway.store.schema import films, objects, outbox


@pytest.fixture
def filled(database: Database) -> Database:
    """Two films of two objects each for "pacs", one of them for "archive" too."""
    with database.write() as c:
        for film, uid, destination in (
            ("fa", "1.1", "pacs"),
            ("fa", "1.2", "pacs"),
            ("fb", "2.1", "pacs"),
            ("fb", "2.2", "pacs"),
            ("fb", "2.1", "archive"),
        ):
            row: dict[str, object] = {"film_id": film, "uid": uid, "destination": destination, "key": f"results/{uid}"}
            row |= {"state": DeliveryState.PENDING, "attempts": 0, "next_attempt": 0.0, "created_at": 0.0}
            assert database.insert_new(c, outbox, row | {"updated_at": 0.0, "claimed_until": 0.0}) == 1
            assert database.insert_new(c, outbox, row | {"updated_at": 0.0, "claimed_until": 0.0}) == 0
    return database


def test_a_claim_is_exclusive_until_its_lease_ends(filled: Database) -> None:
    one, two = Outbox(filled, "one"), Outbox(filled, "two", lease_seconds=-1.0)
    assert [e.uid for e in two.claim("pacs", 2)] == ["1.1", "1.2"]
    assert [e.uid for e in one.claim("pacs", 10)] == ["1.1", "1.2", "2.1", "2.2"], "an ended lease binds nobody"
    assert one.claim("pacs", 10) == []
    assert [e.uid for e in one.claim("archive", 10)] == ["2.1"]
    one.release_own()
    assert len(two.claim("pacs", 10)) == 4


def test_sent_postponed_and_dead(filled: Database) -> None:
    box = Outbox(filled, "one")
    a, b, c, d = box.claim("pacs", 10)
    box.sent([a.id])
    box.postpone([b.id], "NO_ASSOCIATION", 3600.0)
    box.postpone([c.id], "NO_ASSOCIATION", -1.0)
    box.give_up([d.id], "STATUS_A900")
    again = box.claim("pacs", 10)
    assert [(e.uid, e.attempts) for e in again] == [(c.uid, 1)]
    assert box.counts()[("pacs", DeliveryState.SENT)] == 1
    box.sent([d.id])
    assert box.counts()[("pacs", DeliveryState.DEAD)] == 1, "a dead letter does not change by a late answer"
    assert box.replay(film_id="fa") == 0
    assert box.replay(destination="pacs") == 1
    assert [(e.uid, e.attempts) for e in box.claim("pacs", 10)] == [(d.uid, 0)]


def set_rows(database: Database, uid: str, **values: object) -> None:
    with database.write() as c:
        c.execute(outbox.update().where(outbox.c.uid == uid).values(**values))


def row(database: Database, uid: str, destination: str = "pacs") -> sa.RowMapping:
    with database.read() as c:
        query = outbox.select().where((outbox.c.uid == uid) & (outbox.c.destination == destination))
        return c.execute(query).mappings().one()


def retire_object(database: Database, uid: str) -> None:
    with database.write() as c:
        new = NewFilm("fr", "9.9", "1.2", "k", "sha256:0", 1, "m", "api")
        values = asdict(new) | {"state": "done", "revision": 1, "received_at": 0.0, "updated_at": 0.0}
        database.insert_new(c, films, values)
        obj: dict[str, object] = {"film_id": "fr", "uid": uid, "kind": "sr", "analysis_id": "fr.m", "model_digest": ""}
        obj |= {"position": 0, "sop_class_uid": "1.2", "media_type": "application/dicom", "key": "k", "digest": "d"}
        database.insert_new(c, objects, obj | {"size_bytes": 1, "created_at": 0.0, "retired_at": 1.0})


def test_priority_goes_first_then_the_order_of_coming(filled: Database) -> None:
    set_rows(filled, "1.1", priority=100)
    set_rows(filled, "2.2", priority=0)
    box = Outbox(filled, "one")
    assert [e.uid for e in box.claim("pacs", 3)] == ["2.2", "1.2", "2.1"]
    assert [e.uid for e in box.claim("pacs", 3)] == ["1.1"]


def test_what_was_cancelled_is_not_sent_and_what_was_under_way_is_remembered(filled: Database) -> None:
    box = Outbox(filled, "one")
    a, b, c, _ = box.claim("pacs", 10)
    assert box.may_send(a.id) and not Outbox(filled, "two").may_send(a.id)
    set_rows(filled, a.uid, state=DeliveryState.CANCELLED)
    set_rows(filled, b.uid, state=DeliveryState.CANCELLED)
    assert not box.may_send(a.id)
    box.sent([b.id], 60.0)
    box.release([a.id, c.id])
    assert row(filled, b.uid)["state"] == DeliveryState.CANCELLED
    assert row(filled, b.uid)["sent_at"] and not row(filled, a.uid)["sent_at"], "a note has to follow the one only"
    assert row(filled, c.uid)["attempts"] == 0 and [e.uid for e in box.claim("pacs", 10)] == [c.uid]


def test_a_lease_is_kept_alive_while_it_is_used(filled: Database) -> None:
    box = Outbox(filled, "one", lease_seconds=100.0)
    entry, *_ = box.claim("pacs", 10)
    set_rows(filled, entry.uid, claimed_until=time.time() + 1.0)
    assert box.may_send(entry.id) and row(filled, entry.uid)["claimed_until"] > time.time() + 50.0


@pytest.mark.parametrize("how", ["restart", "takeover", "no answer"])
def test_what_may_have_arrived_is_remembered(filled: Database, how: str) -> None:
    box = Outbox(filled, "one", lease_seconds=-1.0 if how == "takeover" else 300.0)
    (entry,) = box.claim("pacs", 1)
    if how == "restart":
        Outbox(filled, "one").release_own()
    elif how == "takeover":
        Outbox(filled, "two").claim("pacs", 1)
    else:
        box.postpone([entry.id], "NO_ANSWER", 1.0, may_have_arrived=True)
    assert row(filled, entry.uid)["state"] == DeliveryState.PENDING and row(filled, entry.uid)["sent_at"]
    assert row(filled, "2.2")["sent_at"] is None


def sent(box: Outbox, seconds: float | None) -> list[OutboxEntry]:
    entries = box.claim("pacs", 10)
    box.sent([e.id for e in entries], seconds)
    return entries


def test_delivered_means_confirmed(filled: Database) -> None:
    box = Outbox(filled, "one")
    a, b, *_ = sent(box, 60.0)
    assert [e.uid for e in box.claim_sent("pacs", 2)] == [a.uid, b.uid]
    assert len(Outbox(filled, "two").claim_sent("pacs", 10)) == 2, "the others"
    assert box.confirmed([a.id]) == 1 and box.confirmed([a.id]) == 0
    assert box.counts()[("pacs", DeliveryState.CONFIRMED)] == 1
    box.denied([a.id])
    assert row(filled, a.uid)["state"] == DeliveryState.CONFIRMED


def test_without_confirmation_nobody_is_asked(filled: Database) -> None:
    box = Outbox(filled, "one")
    sent(box, None)
    assert box.claim_sent("pacs", 10) == [] and box.claim("pacs", 10) == []


def test_what_is_denied_is_asked_again_then_sent_again_then_set_aside(filled: Database) -> None:
    box = Outbox(filled, "one", confirm_attempts=2, resend_cap=0.0)
    a, *_ = sent(box, 60.0)
    assert box.denied([a.id]) == {DeliveryState.SENT: 1}, "it may still be storing"
    assert row(filled, a.uid)["next_attempt"] > time.time()
    set_rows(filled, a.uid, confirm_by=1.0)
    assert box.denied([a.id]) == {DeliveryState.PENDING: 1}
    assert row(filled, a.uid)["last_error"] == "NOT_CONFIRMED"
    (again,) = sent(box, -1.0)
    assert (again.uid, again.denials) == (a.uid, 1)
    assert box.denied([a.id]) == {DeliveryState.DEAD: 1}
    assert row(filled, a.uid)["last_error"] == "CONFIRMATION_FAILED"
    assert box.replay() == 1 and row(filled, a.uid)["denials"] == 0


def test_what_is_denied_and_retired_is_not_sent_again(filled: Database) -> None:
    box = Outbox(filled, "one")
    a, *_ = sent(box, -1.0)
    retire_object(filled, a.uid)
    assert box.denied([a.id]) == {DeliveryState.CANCELLED: 1} and box.claim("pacs", 10) == []


def test_a_commitment_is_matched_by_its_transaction(filled: Database) -> None:
    box = Outbox(filled, "one", resend_cap=0.0)
    a, b, c, d = sent(box, -1.0)
    box.asked([a.id, b.id, c.id], "2.25.1", 60.0)
    front = Outbox(filled, "front")
    assert front.committed("2.25.2", [a.uid], [b.uid]) == {} and front.committed("", [d.uid], []) == {}
    assert front.committed("2.25.1", [a.uid, d.uid], [b.uid, "7.7"]) == {
        DeliveryState.CONFIRMED: 1,
        DeliveryState.PENDING: 1,
    }
    assert [row(filled, u)["state"] for u in (a.uid, b.uid, c.uid, d.uid)] == ["confirmed", "pending", "sent", "sent"]
    assert front.committed("2.25.1", [a.uid], [b.uid]) == {}, "told twice"
    assert [e.uid for e in box.claim_sent("pacs", 10)] == [d.uid], "the third is not due before its time"


def test_asking_later_takes_longer_the_longer_ago_it_was_sent(filled: Database) -> None:
    box = Outbox(filled, "one")
    a, b, *_ = sent(box, 600.0)
    set_rows(filled, a.uid, sent_at=time.time() - 30.0)
    box.ask_later([a.id, b.id], "NO_ASSOCIATION")
    soon, late = (row(filled, u)["next_attempt"] - time.time() for u in (b.uid, a.uid))
    assert soon < 2.0 < 25.0 < late < 61.0
    box.ask_later([a.id], "X", 3600.0)
    assert row(filled, a.uid)["next_attempt"] > time.time() + 3000.0


def test_the_oldest_that_waits(filled: Database) -> None:
    box = Outbox(filled, "one")
    assert box.oldest("nobody") is None
    set_rows(filled, "1.1", created_at=5.0)
    set_rows(filled, "1.2", created_at=7.0)
    assert box.oldest("pacs") == 0.0
    for uid in ("2.1", "2.2"):
        set_rows(filled, uid, state=DeliveryState.SENT)
    assert box.oldest("pacs") == 5.0
