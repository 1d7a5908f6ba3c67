"""Destinations fail with films in flight: everything arrives in the end, and is not called delivered before."""

from __future__ import annotations

import hashlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from tests.faults.conftest import Sites
from tests.faults.harness import Expected, Film, Site, count, wait
from tests.support import free_port
from vidi_gateway.dimse.contexts import accepted
from vidi_gateway.dimse.receiver import Received, Receiver
from vidi_gateway.store.records import DeliveryState

pytestmark = pytest.mark.timeout(3600)

STORE, SWALLOW, STORE_AND_ABORT, SUCCESS = -1, -2, -3, 0x0000
OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0xA700, 0xC000


class Moody:
    """An archive with moods. It answers C-FIND for single images by what it has.

    Attributes
    ----------
    mood
        Given the SOP Instance UID and how often it has come (from 0): STORE; SWALLOW, that is, Success and nothing
        kept; STORE_AND_ABORT, so that the answer is lost; or a status.
    refuses
        Whether it rejects associations.
    rejections, answers
        How often it did, and how often it answered a C-STORE with each mood.
    """

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir()
        self._folder = folder
        self._port = port
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._times: dict[str, int] = {}
        self._server: Any = None
        self.mood: Callable[[str, int], int] = lambda _uid, _time: STORE
        self.refuses = False
        self.rejections = 0
        self.answers: dict[int, int] = {}

    def open(self) -> None:
        """Listen."""
        ae = ApplicationEntity("PACS")
        ae.supported_contexts = accepted()
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
        ]
        self._server = ae.start_server(("127.0.0.1", self._port), block=False, evt_handlers=handlers)

    def close(self) -> None:
        """Listen no more; associations end."""
        if self._server:
            for association in self._server.active_associations:
                association.abort()
            self._server.shutdown()
            self._server = None

    @property
    def received(self) -> tuple[Received, ...]:
        """What it has kept, repetitions included."""
        with self._lock:
            return tuple(self._received)

    def _requested(self, event: evt.Event) -> None:
        if self.refuses:
            self.rejections += 1
            event.assoc.acse.send_reject(2, 3, 2)  # transient, provider, local limit exceeded (PS3.8 table 9-21)
            event.assoc.kill()

    def _store(self, event: evt.Event) -> int:
        data = event.encoded_dataset()
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        with self._lock:
            times = self._times[uid] = self._times.get(uid, -1) + 1
            mood = self.mood(uid, times)
            self.answers[mood] = self.answers.get(mood, 0) + 1
            if mood in (STORE, STORE_AND_ABORT):
                path = self._folder / f"{hashlib.sha256(uid.encode()).hexdigest()[:24]}.dcm"
                path.write_bytes(data)
                digest = hashlib.sha256(data).hexdigest()
                self._received.append(Received(uid, str(request.AffectedSOPClassUID), path, digest))
        if mood == STORE_AND_ABORT:
            event.assoc.abort()
        return mood if mood > 0 else SUCCESS

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        if any(r.sop_instance_uid == asked.SOPInstanceUID for r in self.received):
            yield 0xFF00, asked


class Line:
    """A TCP line to a port, which is cut after so many bytes: `cuts` says for each connection, in order."""

    def __init__(self, to: int, cuts: Iterator[int]) -> None:
        self._to = to
        self._cuts = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cut = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._pump, args=(far, near, None), daemon=True).start()
                threading.Thread(target=self._pump, args=(near, far, next(self._cuts, None)), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, left: int | None) -> None:
        with suppress(OSError):
            while data := source.recv(4096 if left is None else min(4096, left)):
                sink.sendall(data)
                if left is not None:
                    left -= len(data)
                    if not left:
                        self.cut += 1
                        break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def moody(tmp_path: Path) -> Iterator[Moody]:
    """An archive, not open yet."""
    made = Moody(tmp_path / "moody", free_port())
    yield made
    made.close()


@pytest.fixture
def started(site: Sites, moody: Moody) -> Site:
    """A site whose results go there."""
    state = site({"name": "moody", "port": moody._port})
    state.process()
    return state


def test_destination_down(started: Site, moody: Moody, films: list[Film]) -> None:
    started.modality(films).finished()
    wait("all are published", lambda: started.done() == len(films))
    assert moody.received == ()
    moody.open()
    wait("some have arrived", lambda: len(moody.received) >= len(films) // 4)
    moody.close()
    time.sleep(1.0)
    started.processes["gateway"].kill()
    moody.open()
    started.processes["gateway"].start()
    started.settle(len(films))
    count("destination down, up, down, up", started, moody, films)


def test_destination_refuses_associations(started: Site, moody: Moody, films: list[Film]) -> None:
    moody.refuses = True
    moody.open()
    modality = started.modality(films)
    wait("it refuses", lambda: moody.rejections >= 3 and started.done() >= len(films) // 2)
    assert moody.received == ()
    moody.refuses = False
    modality.finished()
    started.settle(len(films))
    count("destination rejects associations", started, moody, films, f"{moody.rejections} rejected")


def test_destination_refuses_some_objects(site: Sites, moody: Moody, films: list[Film]) -> None:
    kinds: dict[str, int] = {}

    def mood(uid: str, times: int) -> int:
        kind = kinds.setdefault(uid, len(kinds) % 4)
        if kind == 0 and times < 2:
            return OUT_OF_RESOURCES
        return CANNOT_UNDERSTAND if kind == 1 and times == 0 else STORE

    moody.mood = mood
    moody.open()
    http = free_port()
    state = site({"name": "moody", "port": moody._port}, VIDI_HTTP_PORT=str(http))
    state.process()
    state.modality(films).finished()
    state.settle(len(films))
    dead = state.outbox.counts().get(("moody", DeliveryState.DEAD), 0)
    assert dead == moody.answers.get(CANNOT_UNDERSTAND, 0) > 0, "what it will never take is set aside, each once"
    assert moody.answers.get(OUT_OF_RESOURCES, 0) > 0
    replayed = httpx.post(f"http://127.0.0.1:{http}/api/v1/operations/replay", json={}, timeout=60)
    assert replayed.json() == {"objects": dead}
    state.settle(len(films))
    refused = f"{moody.answers[OUT_OF_RESOURCES]} times A700, {dead} dead letters (C000) replayed"
    count("destination refuses some objects", state, moody, films, refused)


def test_destination_keeps_nothing_that_it_acknowledges(site: Sites, moody: Moody, films: list[Film]) -> None:
    moody.mood = lambda _uid, times: SWALLOW if times == 0 else STORE
    moody.open()
    state = site({"name": "moody", "port": moody._port, "confirm": "auto"}, VIDI_CONFIRM_SECONDS="1")
    state.process()
    state.modality(films).finished()
    state.settle(len(films))
    swallowed = moody.answers[SWALLOW]
    assert swallowed == len({r.sop_instance_uid for r in moody.received})
    note = f"{swallowed} swallowed, found missing, sent again and confirmed"
    count("destination says Success and keeps nothing", state, moody, Expected(films, confirmed=True), note)


def test_destination_closes_in_the_middle(site: Sites, pacs: Receiver, films: list[Film]) -> None:
    line = Line(pacs.port, iter([700 + 9_000 * i for i in range(1, 1 + len(films) // 2)]))
    state = site({"name": "line", "port": line.port})
    state.process()
    state.modality(films).finished()
    state.settle(len(films))
    assert line.cut >= min(3, len(films) // 2)
    line.close()
    count("destination closes in the middle of a transfer", state, pacs, films, f"{line.cut} times")


def test_answers_of_the_destination_are_lost(started: Site, moody: Moody, films: list[Film]) -> None:
    turns = itertools.count()
    moody.mood = lambda _uid, _times: STORE_AND_ABORT if next(turns) % 3 == 1 else STORE
    moody.open()
    started.modality(films).finished()
    started.settle(len(films))
    lost = moody.answers[STORE_AND_ABORT]
    count("the destination's answers are lost", started, moody, films, f"{lost} times")


def test_delivery_stopped_by_operators(site: Sites, pacs: Receiver, films: list[Film]) -> None:
    http = free_port()
    state = site({"name": "pacs", "port": pacs.port}, VIDI_HTTP_PORT=str(http))
    gateway = state.process()
    switch = f"http://127.0.0.1:{http}/api/v1/operations/delivery"
    state.send(*films[: len(films) // 2])
    wait("some have arrived", lambda: len(pacs.received) >= len(films) // 4)
    assert httpx.post(switch, json={"state": "stopped"}, timeout=60).json()["state"] == "stopped"
    time.sleep(1.0)  # every process has seen it after half a second
    arrived = len(pacs.received)
    state.modality(films).finished()
    wait("all are published", lambda: state.done() == len(films))
    gateway.kill()
    gateway.start()
    time.sleep(2.0)
    assert len(pacs.received) == arrived and state.busy(), "it stays stopped, over a restart too"
    assert httpx.post(switch, json={"state": "running"}, timeout=60).json()["state"] == "running"
    state.settle(len(films))
    count("delivery stopped and started by operators", state, pacs, films, f"{arrived} had arrived before")
