"""The kill switch: at once, in every process, and after a restart."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from vidi_gateway.store.audit import Audit
from vidi_gateway.store.controls import CACHE_SECONDS, Controls, DeliveryState, Switch
from vidi_gateway.store.database import Database
from vidi_gateway.store.schema import controls as table


def test_results_are_delivered_until_somebody_stops_it(controls: Controls) -> None:
    assert controls.delivery() == Switch()
    assert controls.delivery_allowed()


def test_stopping_is_seen_at_once_here(controls: Controls) -> None:
    assert controls.delivery_allowed()  # cached now
    switch = controls.set_delivery(DeliveryState.STOPPED, "http:10.0.0.7")
    assert not controls.delivery_allowed()
    assert controls.delivery() == switch
    assert switch.actor == "http:10.0.0.7" and abs(switch.since - time.time()) < 60
    controls.set_delivery(DeliveryState.RUNNING, "http:10.0.0.7")
    assert controls.delivery_allowed()


def _stop(url: str) -> None:
    database = Database(url)
    Controls(database, Audit(database)).set_delivery(DeliveryState.STOPPED, "another process")
    database.close()


def test_another_process_sees_it_within_half_a_second(controls: Controls, tmp_path: Path) -> None:
    assert CACHE_SECONDS <= 0.5
    assert controls.delivery_allowed()
    other = multiprocessing.get_context("spawn").Process(
        target=_stop, args=(f"sqlite:///{tmp_path / 'journal.sqlite3'}",)
    )
    other.start()
    other.join(120)
    assert other.exitcode == 0
    time.sleep(CACHE_SECONDS)
    assert not controls.delivery_allowed()


def test_it_survives_a_restart(controls: Controls, database: Database, audit: Audit) -> None:
    controls.set_delivery(DeliveryState.STOPPED, "x")
    assert not Controls(database, audit).delivery_allowed()


def test_every_throw_is_audited(controls: Controls, audit: Audit) -> None:
    controls.set_delivery(DeliveryState.STOPPED, "ann")
    first = controls.delivery()
    assert controls.set_delivery(DeliveryState.STOPPED, "bob") == first  # since when, and by whom, stays true
    controls.set_delivery(DeliveryState.RUNNING, "bob")
    noted = [(r.event, r.actor, r.outcome) for r in reversed(audit.page(10))]
    assert noted == [
        ("delivery stopped", "ann", ""),
        ("delivery stopped", "bob", "UNCHANGED"),
        ("delivery running", "bob", ""),
    ]


def test_what_cannot_be_read_does_not_count_as_running(database: Database, audit: Audit) -> None:
    controls = Controls(database, audit)
    with database.write() as c:
        c.execute(table.insert().values(name="delivery", value="paused", updated_at=1.0, updated_by="newer"))
    assert not controls.delivery_allowed()
    with database.write() as c:
        c.execute(table.delete())
        table.drop(c)
    controls = Controls(database, audit)
    assert not controls.delivery_allowed()
    with pytest.raises(Exception, match="controls"):
        controls.delivery()
