"""Films that are not plain: each ends in a coded state, and the next film still works."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import UID, CTImageStorage, RLELossless, generate_uid

from tests.support import uid_of
from vidi_gateway.dimse.receiver import Receiver
from vidi_gateway.dimse.scu import Outcome

# Processes are started and killed: minutes on a machine that does much else.
pytestmark = pytest.mark.timeout(1800)

Launch = Callable[..., Any]
Wait = Callable[..., None]


def edited(film: bytes, *, keep_uid: bool = False, **changes: Any) -> bytes:
    """A film with other attributes, under another UID unless it keeps it."""
    ds = dcmread(io.BytesIO(film))
    if not keep_uid:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    return encoded(ds)


def encoded(ds: Any) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def deliveries(gateway: Any) -> list[Any]:
    return [d for r in gateway.records().values() for o in r.objects for d in o.deliveries]


def test_every_kind_of_bad_film_has_its_reason_and_the_next_one_works(
    launch: Launch, receiver: Receiver, phantoms: list[bytes], wait: Wait
) -> None:
    gateway = launch(("pacs", receiver.port, ["sr", "pm"]))
    truncated = edited(phantoms[0], PixelData=dcmread(io.BytesIO(phantoms[0])).PixelData[:10_000])
    lateral = edited(phantoms[0], ViewPosition="LL")
    ct = edited(phantoms[0], SOPClassUID=CTImageStorage, Modality="CT")
    patient = edited(phantoms[0], QualityControlSubject="NO")
    good = phantoms[1]
    sent = gateway.send(truncated, lateral, ct, patient, good)
    assert [s.status for s in sent] == [0] * 5
    gateway.settle(5)
    found = {uid: (r.state.value, r.film.reason_code) for uid, r in gateway.records().items()}
    assert found[uid_of(truncated)] == ("refused", "UNREADABLE_IMAGE")
    assert found[uid_of(lateral)] == ("refused", "VIEW_LATERAL")
    assert found[uid_of(ct)] == ("refused", "MODALITY")
    assert found[uid_of(patient)][0] == "refused" and found[uid_of(patient)][1]
    assert found[uid_of(good)] == ("done", "")
    received = {r.sop_class_uid for r in receiver.received}
    assert received == {"1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.30"}
    assert len(receiver.received) == 7, "one report and six maps, of the good film only"
    assert uid_of(good) not in gateway.log, "no UID of a film in the log"

    # The truncated film is sent again, whole: it takes the place of the damaged one.
    whole = edited(phantoms[0], keep_uid=True)
    ds = dcmread(io.BytesIO(whole))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(uid_of(truncated))
    gateway.send(encoded(ds))
    wait("the whole film is done", lambda: gateway.records()[uid_of(truncated)].state.value == "done")


def test_the_same_film_in_another_syntax_is_a_duplicate_and_other_pixels_are_set_aside(
    launch: Launch, phantoms: list[bytes], wait: Wait
) -> None:
    gateway = launch()
    film = phantoms[2]
    gateway.send(film)
    gateway.settle(1)
    compressed = dcmread(io.BytesIO(film))
    compressed.compress(RLELossless, generate_instance_uid=False)
    other = dcmread(io.BytesIO(film))
    pixels = bytearray(other.PixelData)
    pixels[len(pixels) // 2] ^= 255
    other.PixelData = bytes(pixels)
    sent = gateway.send(encoded(compressed), encoded(other))
    assert all(s.outcome is Outcome.SENT for s in sent)
    wait("it is set aside", lambda: gateway.audit.counts("quarantined") == {"OTHER_PIXELS": 1})
    wait("it is listed", lambda: gateway.states() == {"done": 1, "quarantined": 1})
    record = gateway.records()[uid_of(film)]
    assert record.analysis is not None and record.analysis.run == 1, "the film itself is left alone"


def test_a_film_outlives_a_service_that_is_down_and_a_restart(
    launch: Launch, receiver: Receiver, phantoms: list[bytes], dead_port: int, wait: Wait
) -> None:
    gateway = launch(
        ("pacs", receiver.port), VIDI_EXPLAINER_ADDRESS=f"127.0.0.1:{dead_port}", VIDI_RETRY_CAP_SECONDS="2"
    )
    gateway.send(phantoms[7])
    (film_id,) = gateway.journal.page(1)

    def waits() -> int:
        assert gateway.states() == {"processing": 1} or gateway.states() == {"received": 1}
        record = gateway.journal.records([film_id])[film_id]
        return record.analysis.waits if record.analysis else 0

    wait("it waits for the explainer", lambda: waits() >= 2)
    assert gateway.states() == {"processing": 1}
    gateway.stop()
    assert gateway.states() == {"processing": 1}, "stopping is not failing"
    assert "Traceback" not in gateway.log
    gateway.environment["VIDI_EXPLAINER_ADDRESS"] = gateway.backends.addresses["explainer"]
    gateway.start()
    gateway.settle(1)
    assert gateway.states() == {"done": 1} and len(receiver.files) == 2


def test_a_destination_that_was_down_gets_everything(
    launch: Launch, tmp_path: Path, phantoms: list[bytes], port: int, wait: Wait
) -> None:
    gateway = launch(("pacs", port))
    gateway.send(*phantoms[3:6])
    wait("three done", lambda: gateway.states() == {"done": 3})
    wait("an attempt", lambda: any("NO_ASSOCIATION" in d.last_error for d in deliveries(gateway)))
    with Receiver(tmp_path / "late", "PACS", port) as late:
        gateway.settle(3)
        assert len(late.files) == 6
    assert gateway.states() == {"done": 3}
