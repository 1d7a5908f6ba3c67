"""Delivery to peers that refuse, are deaf, or are picky; dead letters and their replay."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import UID, generate_uid
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from vidi_gateway.dimse.receiver import Receiver
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.pipeline.delivery import Delivery
from vidi_gateway.settings import Destination, GatewaySettings
from vidi_gateway.store.database import Database
from vidi_gateway.store.files import FileStore
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.records import DeliveryState
from vidi_gateway.store.schema import outbox
from vidi_gateway.threads import Threads


class Bench:
    """An outbox with some objects for a destination at a port."""

    def __init__(self, root: Path, film: bytes) -> None:
        self.root = root
        self.database = Database(f"sqlite:///{root / 'journal.sqlite3'}")
        self.database.create_schema()
        self.outbox = Outbox(self.database, "test")
        self.store = FileStore(root / "files")
        self.film = film

    def put(self, count: int, *, film_id: str = "fa", uid: str = "") -> list[str]:
        """Put objects into the outbox; return their UIDs."""
        uids = []
        for _ in range(count):
            ds = dcmread(io.BytesIO(self.film))
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(uid) if uid else generate_uid()
            buffer = io.BytesIO()
            ds.save_as(buffer)
            uids.append(str(ds.SOPInstanceUID))
            key = f"results/{len(uids)}-{film_id}-{time.monotonic_ns()}.dcm"
            self.store.put_durable(key, buffer.getvalue())
            row = {"film_id": film_id, "uid": uids[-1], "destination": "pacs", "key": key, "attempts": 0}
            row |= {"state": DeliveryState.PENDING, "next_attempt": 0.0, "created_at": 0.0, "updated_at": 0.0}
            with self.database.write() as c:
                assert self.database.insert_new(c, outbox, row)
        return uids

    def run(
        self, port: int, work: Callable[[Delivery, Destination], Coroutine[Any, Any, None]], **changes: Any
    ) -> None:
        """Run something with a delivery to the port."""

        async def main() -> None:
            destination = Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=port)
            settings = GatewaySettings(data_dir=self.root, destinations=(destination,), **changes)
            threads = Threads("test", 4)
            changed = Changes(Journal(self.database), threads)
            await work(Delivery(settings, self.outbox, self.store, changed, threads, lambda: True), destination)
            threads.close()

        asyncio.run(main())

    def counts(self) -> dict[str, int]:
        """Objects by state."""
        return {state.value: n for (_, state), n in self.outbox.counts().items()}

    def rows(self) -> list[Any]:
        """The outbox, in order."""
        with self.database.read() as c:
            return list(c.execute(outbox.select().order_by(outbox.c.id)))

    def errors(self) -> set[str]:
        """What went wrong last."""
        return {row.last_error for row in self.rows()}


@pytest.fixture
def bench(tmp_path: Path, phantom: bytes) -> Iterator[Bench]:
    """A bench."""
    opened = Bench(tmp_path, phantom)
    yield opened
    opened.database.close()


def no_association_left() -> bool:
    """Whether pynetdicom's threads have ended, which would keep the process alive."""
    for _ in range(300):
        if not any(type(t).__name__ == "DULServiceProvider" and t.is_alive() for t in threading.enumerate()):
            return True
        time.sleep(0.1)
    return False


async def once(delivery: Delivery, destination: Destination) -> None:
    await delivery.deliver_once(destination)


def picky(statuses: list[int]) -> tuple[ApplicationEntity, Any, list[str]]:
    """An SCP that answers what it is told, and the UIDs that it heard of."""
    ae, heard = ApplicationEntity("PACS"), []

    def answer(event: Any) -> int:
        heard.append(str(event.request.AffectedSOPInstanceUID))
        return statuses.pop(0)

    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.1.1")
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    return ae, server, heard


def test_sent_means_success_and_everything_else_is_tried_again_or_set_aside(bench: Bench) -> None:
    uids = bench.put(5)
    ae, server, heard = picky([0x0000, 0xA700, 0xC123, 0xB000, 0x0110])
    try:
        bench.run(server.server_address[1], once)
    finally:
        ae.shutdown()
    assert heard == uids, "in order, over one association"
    assert bench.counts() == {"sent": 2, "pending": 2, "dead": 1}
    assert bench.errors() == {"", "STATUS_A700", "STATUS_C123", "STATUS_0110"}
    assert bench.outbox.claim("pacs", 10) == [], "not before the pause is over"
    assert bench.outbox.replay(destination="pacs") == 1
    assert [e.uid for e in bench.outbox.claim("pacs", 10)] == [uids[2]]


def test_a_sop_class_that_is_not_accepted_is_set_aside(bench: Bench) -> None:
    bench.put(1)
    ae = ApplicationEntity("PACS")
    ae.add_supported_context("1.2.840.10008.1.1")
    server: Any = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        bench.run(server.server_address[1], once)
    finally:
        ae.shutdown()
    assert bench.counts() == {"dead": 1} and bench.errors() == {"SOP_CLASS_NOT_ACCEPTED"}


def test_after_enough_attempts_an_object_is_a_dead_letter(bench: Bench, tmp_path: Path) -> None:
    bench.put(2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused

        async def twice(delivery: Delivery, destination: Destination) -> None:
            assert await delivery.deliver_once(destination) == 2
            await asyncio.sleep(0.05)
            assert await delivery.deliver_once(destination) == 2

        bench.run(deaf.getsockname()[1], twice, delivery_attempts=2, delivery_cap_seconds=0.01)
    assert bench.counts() == {"dead": 2} and bench.errors() == {"NO_ASSOCIATION"}
    assert bench.outbox.replay() == 2
    with Receiver(tmp_path / "pacs", "PACS") as receiver:
        bench.run(receiver.port, once)
        assert len(receiver.files) == 2
    assert bench.counts() == {"sent": 2}


def test_closing_does_not_wait_for_a_peer_that_never_answers(bench: Bench) -> None:
    bench.put(1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()

        def until_claimed() -> None:
            while not any(row.claimed_by for row in bench.rows()):
                time.sleep(0.05)

        async def start_and_close(delivery: Delivery, _: Destination) -> None:
            await delivery.start()
            await asyncio.to_thread(until_claimed)
            await asyncio.wait_for(delivery.close(), 30.0)
            assert await asyncio.to_thread(no_association_left)

        bench.run(silent.getsockname()[1], start_and_close)
    assert bench.counts() == {"pending": 1}
    bench.outbox.release_own()
    assert len(bench.outbox.claim("pacs", 10)) == 1, "the next start sends it"


def test_what_is_missing_from_the_store_is_set_aside_and_the_rest_is_sent(bench: Bench, tmp_path: Path) -> None:
    bench.put(3)
    bench.store.delete(bench.rows()[1].key)
    with Receiver(tmp_path / "pacs", "PACS") as receiver:
        bench.run(receiver.port, once)
        assert len(receiver.files) == 2
    assert bench.counts() == {"sent": 2, "dead": 1} and "FILE_MISSING" in bench.errors()
