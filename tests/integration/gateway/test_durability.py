"""What was acknowledged is there, whatever ends the gateway: SIGKILL at any moment, a disk that takes no more."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from vidi.errors import Unavailable
from vidi_gateway.bench.films import Film, films
from vidi_gateway.bench.peers import ViDi
from vidi_gateway.bench.sender import Association
from vidi_gateway.store.database import Database
from vidi_gateway.store.files import FileStore
from vidi_gateway.store.journal import Journal

DX = "1.2.840.10008.5.1.4.1.1.1.1"
LARGE, SMALL = 1536, 384


class Killed(ViDi):
    """A gateway that ends by SIGKILL instead of stopping."""

    def kill(self) -> None:
        """No handler runs, nothing is flushed."""
        os.kill(self.pid, signal.SIGKILL)


def digests(directory: Path) -> dict[str, str]:
    """By SOP Instance UID, the digest that the journal has; each file is there, whole."""
    store, found = FileStore(directory / "files"), {}
    database = Database(f"sqlite:///{directory / 'journal.sqlite3'}")
    try:
        journal = Journal(database)
        for film_id in journal.page(10_000):
            film = journal.film(film_id)
            data = store.get(film.file_key)
            assert film.file_digest == "sha256:" + hashlib.sha256(data).hexdigest()
            assert film.sop_instance_uid not in found
            found[film.sop_instance_uid] = film.file_digest
    finally:
        database.close()
    return found


def keep_sending(port: int, share: Iterator[Film], acknowledged: dict[str, str]) -> None:
    """Send until the gateway is gone; note what it acknowledged."""
    try:
        with Association(port, "VIDI", DX) as association:
            for film in share:
                assert association.store(film.pdus(association.max_pdu_bytes)) == 0
                acknowledged[film.sop_instance_uid] = hashlib.sha256(film.dataset).hexdigest()
    except (OSError, Unavailable):
        pass


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sigkill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(4)
    acknowledged: dict[str, str] = {}
    for attempt in range(5):
        with ExitStack() as stack:
            gateway = stack.enter_context(Killed(tmp_path))
            senders = [
                threading.Thread(
                    target=keep_sending,
                    args=(gateway.port, films(10_000, (SMALL, LARGE), f"{attempt}/{i}"), acknowledged),
                )
                for i in range(6)
            ]
            for sender in senders:
                sender.start()
            before, deadline = len(acknowledged), time.monotonic() + 120
            while len(acknowledged) < before + 10:
                assert time.monotonic() < deadline and all(s.is_alive() for s in senders), "films are acknowledged"
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.3))
            gateway.kill()
            for sender in senders:
                sender.join(60)
        there = digests(tmp_path)
        assert acknowledged.keys() <= there.keys(), "acknowledged, and not there"
        store = FileStore(tmp_path / "files")
        assert len(list(store.root.rglob("*.dcm"))) >= len(there)
    assert len(acknowledged) >= 50


def test_a_disk_that_takes_no_more_is_said_to_the_peer_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the write of a large film ends in the middle."""
    small, large, after = films(3, (SMALL, LARGE, SMALL), "full")
    with ViDi(tmp_path) as gateway:
        unlimited = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (3 << 20, unlimited[1]))
        with Association(gateway.port, "VIDI", DX) as association:
            send = [association.store(f.pdus(association.max_pdu_bytes)) for f in (small, large, after)]
            assert send == [0, 0xA700, 0]
            uids = {f.sop_instance_uid for f in (small, after)}
            assert digests(tmp_path).keys() == uids
            assert len([p for p in (tmp_path / "files").rglob("*") if p.is_file()]) == 2, "nothing half written"
            resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, unlimited)
            assert association.store(large.pdus(association.max_pdu_bytes)) == 0
    assert digests(tmp_path).keys() == uids | {large.sop_instance_uid}
