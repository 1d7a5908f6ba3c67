"""The outbox: leases, retries, dead letters."""

from __future__ import annotations

import pytest

from vidi_gateway.store.database import Database
from vidi_gateway.store.records import DeliveryState
from vidi_gateway.store.schema import outbox


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
    from vidi_gateway.store.outbox import Outbox

    one, two = Outbox(filled, "one"), Outbox(filled, "two", lease_seconds=-1.0)
    first = two.claim("pacs", 1)
    assert [e.uid for e in first] == ["1.1", "1.2"], "a film's objects are claimed together"
    assert [e.uid for e in one.claim("pacs", 10)] == ["1.1", "1.2", "2.1", "2.2"], "an ended lease binds nobody"
    assert one.claim("pacs", 10) == []
    assert [e.uid for e in one.claim("archive", 10)] == ["2.1"]
    one.release_own()
    assert len(two.claim("pacs", 10)) == 4


def test_sent_postponed_and_dead(filled: Database) -> None:
    from vidi_gateway.store.outbox import Outbox

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
