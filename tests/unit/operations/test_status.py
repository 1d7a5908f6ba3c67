"""What the gateway says of itself, as metrics and as status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient
from prometheus_client import CollectorRegistry, generate_latest

from tests.unit.operations.conftest import NOW
from vidi_gateway.handlers.operations import Operations
from vidi_gateway.http import routes_operations
from vidi_gateway.nodes import Destination, Peer
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.pipeline.collector import JournalCollector, collected
from vidi_gateway.pipeline.overview import Overviews
from vidi_gateway.pipeline.sources import SourceNames
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.activity import Activity
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.controls import Controls
from vidi_gateway.store.database import Database
from vidi_gateway.store.files import FileStore
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.schema import outbox
from vidi_gateway.threads import Threads

Add = Callable[..., str]


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    peers = tuple(Peer.parse(p) for p in ("*@10.0.0.9", "ROOM1@*", "ROOM2@10.0.0.6"))
    pacs = Destination(name="pacs", ae_title="PACS", host="10.0.0.9", port=104)
    return GatewaySettings(
        data_dir=tmp_path,
        allowed_peers=peers,
        stow_peers=("10.1.0.0/16",),
        destinations=(pacs,),
        source_silence_hours=5,
        low_disk_bytes=0,
    )


@pytest.fixture
def overviews(settings: GatewaySettings, database: Database, tmp_path: Path) -> Overviews:
    return Overviews(settings, Activity(database), FileStore(tmp_path / "files"), lambda: NOW, cache_seconds=0.0)


def samples(overviews: Overviews, controls: Controls) -> dict[str, float]:
    registry = CollectorRegistry()
    with collected(JournalCollector(overviews, controls), registry):
        lines = generate_latest(registry).decode().splitlines()
    assert generate_latest(registry) == b""
    return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if not x.startswith("#"))}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("dimse:ROOM1@10.0.0.5", "dimse:ROOM1@*"),
        ("dimse:ROOM2@10.0.0.6", "dimse:ROOM2@10.0.0.6"),
        ("dimse:WHATEVER@10.0.0.9", "dimse:*@10.0.0.9"),
        ("dimse:WHATEVER@10.9.9.9", "dimse:other"),
        ("@10.9.9.9", "dimse:other"),
        ("@::1", "dimse:other"),
        ("stow:10.1.2.3", "stow:10.1.0.0/16"),
        ("stow:::ffff:10.1.2.3", "stow:10.1.0.0/16"),
        ("stow:10.2.2.3", "stow:other"),
        ("pull:unknown", "pull:other"),
        ("http", "http"),
        ("something else", "other"),
    ],
)
def test_names_of_sources_come_from_the_settings_only(settings: GatewaySettings, source: str, name: str) -> None:
    assert SourceNames(settings).name(source) == name


def test_strangers_cannot_make_series(add: Add, audit: Audit, overviews: Overviews, controls: Controls) -> None:
    for i in range(40):
        add(f"f{i:02}", 1, source=f"dimse:STRANGER{i}@10.8.0.{i}")
        audit.note("association rejected", source=f"@10.8.1.{i}", outcome="PEER_UNKNOWN")
    found = samples(overviews, controls)
    assert found['vidi_source_films{source="dimse:other",state="received"}'] == 40.0
    assert sum(name.startswith("vidi_source_films{") for name in found) == 1
    assert sum(name.startswith("vidi_source_refusals{") for name in found) <= 1


def test_sources_queue_and_disk(
    add: Add, audit: Audit, database: Database, overviews: Overviews, controls: Controls, monkeypatch: Any
) -> None:
    add("f1", 6 * 60, urgency=0.0)
    add("f2", 30, source="dimse:ROOM2@10.0.0.6")
    add("f3", 20, source="dimse:ROOM2@10.0.0.6", refused="VIEW_LATERAL")
    add("f4", 25 * 60, source="dimse:ROOM2@10.0.0.6", refused="VIEW_LATERAL")  # yesterday's
    monkeypatch.setattr("time.time", lambda: NOW - 60)
    audit.note("dropped", source="dimse:ROOM2@10.0.0.6", outcome="OUT_OF_RULES")
    row = {"film_id": "f1", "uid": "1.2", "destination": "pacs", "key": "k", "state": "dead", "attempts": 9}
    row |= {"next_attempt": 0.0, "created_at": NOW, "updated_at": NOW}
    with database.write() as c:
        c.execute(outbox.insert().values(**row))
    found = samples(overviews, controls)
    assert found['vidi_source_silence_seconds{source="dimse:ROOM1@*"}'] == 6 * 3600
    assert found['vidi_source_silence_seconds{source="dimse:ROOM2@10.0.0.6"}'] == 20 * 60
    assert found['vidi_source_films{source="dimse:ROOM2@10.0.0.6",state="received"}'] == 1
    assert found['vidi_source_films{source="dimse:ROOM2@10.0.0.6",state="refused"}'] == 1
    assert found['vidi_source_refusals{reason="VIEW_LATERAL",source="dimse:ROOM2@10.0.0.6"}'] == 1
    assert found['vidi_source_refusals{reason="OUT_OF_RULES",source="dimse:ROOM2@10.0.0.6"}'] == 1
    assert found["vidi_spool_depth"] == 1
    assert found["vidi_oldest_unfinished_seconds"] == 6 * 3600  # explained, and not published yet
    assert found['vidi_undelivered{destination="pacs",state="dead"}'] == 1
    assert found["vidi_disk_free_bytes"] > 0
    assert found["vidi_delivery_running"] == 1 and found["vidi_journal_readable"] == 1


def test_a_new_film_ends_the_silence(add: Add, overviews: Overviews) -> None:
    add("f1", 6 * 60)
    assert overviews.silent(overviews.get()) == [("dimse:ROOM1@*", 6.0)]
    add("f2", 1)
    assert overviews.silent(overviews.get()) == []


def test_a_journal_that_cannot_be_read_is_a_metric_too(
    overviews: Overviews, controls: Controls, database: Database
) -> None:
    with database.write() as c:
        c.exec_driver_sql("DROP TABLE outbox")
    assert samples(overviews, controls) == {"vidi_journal_readable": 0.0}


async def test_status_and_switch_over_rest(
    add: Add, journal: Journal, overviews: Overviews, controls: Controls, audit: Audit
) -> None:
    admitted: list[str] = []

    async def operators(request: Request) -> None:
        admitted.append(request.method)

    add("f1", 6 * 60, urgency=0.0)
    threads = Threads("test", 2)
    changes = Changes(journal, threads)
    app = FastAPI()
    operations = Operations(overviews, controls, changes, threads, low_disk_bytes=1 << 62)
    app.include_router(routes_operations.router(operations, operators))
    base = "/api/v1/operations"
    try:
        async with AsyncClient(transport=ASGITransport(app, client=("10.0.0.7", 1)), base_url="http://x") as client:
            status = (await client.get(f"{base}/status")).json()
            assert status["banner"] == "" and status["delivery"] == {"state": "running", "since": None, "actor": ""}
            assert status["warnings"] == [
                "no film for 6.0 hours from dimse:ROOM1@*",
                "the disk is nearly full: films are refused",
            ]
            assert status["sources"][0]["films"] == {"explained": 1}
            stopped = (await client.post(f"{base}/delivery", json={"state": "stopped", "actor": "ann"})).json()
            assert stopped["state"] == "stopped" and stopped["actor"] == "ann (http:10.0.0.7)"
            assert not controls.delivery_allowed()
            assert "Delivery of results was stopped" in (await client.get(f"{base}/status")).json()["banner"]
            assert (await client.get(f"{base}/delivery")).json() == stopped
            assert (await client.post(f"{base}/delivery", json={"state": "off"})).status_code == 422
            await client.post(f"{base}/delivery", json={"state": "running"})
            assert controls.delivery_allowed()
        assert [r.event for r in audit.page(5)] == ["delivery running", "delivery stopped"]
        assert admitted == ["GET", "POST", "GET", "GET", "POST", "POST"]
    finally:
        await changes.close()
        threads.close()
