"""The promise: what was acknowledged is processed and delivered once, whenever the gateway is killed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from pydicom import dcmread

from tests.support import uid_of
from vidi_gateway.dimse.receiver import Receiver
from vidi_gateway.dimse.scu import Sent

# Processes are started and killed: minutes on a machine that does much else.
pytestmark = pytest.mark.timeout(1800)

Launch = Callable[..., Any]


def test_killed_twice_with_twenty_films_in_flight(
    launch: Launch, receiver: Receiver, phantoms: list[bytes], wait: Callable[..., None]
) -> None:
    gateway = launch(("pacs", receiver.port))

    # Killed while films come in: one association, so that some are acknowledged and some are not.
    sent: list[Sent] = []
    sender = threading.Thread(target=lambda: sent.extend(gateway.send(*phantoms)))
    sender.start()
    wait("some films have come", lambda: sum(gateway.states().values()) >= 8)
    gateway.kill()
    sender.join()
    acknowledged = {s.sop_instance_uid for s in sent if s.status == 0}
    assert acknowledged, "nothing was acknowledged before the kill"
    journalled = set(gateway.records())
    assert acknowledged <= journalled, "acknowledged, and lost"

    # The modality sends again what was not acknowledged, and one film that was.
    gateway.start()
    again = [film for film in phantoms if uid_of(film) not in acknowledged] + phantoms[:1]
    assert all(s.status == 0 for s in gateway.send(*again))
    assert len(gateway.records()) == 20

    # Killed in the middle of the work: some are done, some are not.
    wait("some are done", lambda: gateway.states().get("done", 0) >= 6)
    gateway.kill()
    before = gateway.states()
    assert before.get("done", 0) < 20, "killed too late to show anything"
    assert sum(before.values()) == 20

    gateway.start()
    gateway.settle(20)
    assert gateway.states() == {"done": 20}
    records = gateway.records()
    assert set(records) == {uid_of(film) for film in phantoms}
    assert all(Counter(o.kind for o in r.objects) == {"sr": 1, "sc": 1, "png": 1, "pm": 6} for r in records.values())

    # At the destination: one report and one capture a film, none twice, the same UID always the same bytes.
    expected = {o.uid for r in records.values() for o in r.objects if o.kind in ("sr", "sc")}
    assert len(expected) == 40
    received = receiver.received
    assert {r.sop_instance_uid for r in received} == expected
    assert len({(r.sop_instance_uid, r.digest) for r in received}) == 40
    reports = [dcmread(r) for u, r in receiver.files.items() if dcmread(r, stop_before_pixels=True).Modality == "SR"]
    assert len(reports) == 20 and len({r.SOPInstanceUID for r in reports}) == 20
    assert all(d.state.value == "sent" for r in records.values() for o in r.objects for d in o.deliveries)

    # Its own results sent back to it: acknowledged, dropped, no film.
    results = [path.read_bytes() for path in receiver.files.values()]
    assert all(s.status == 0 for s in gateway.send(*results))
    assert gateway.states() == {"done": 20}
    assert gateway.audit.counts("dropped") == {"OWN_OBJECT": 40}
