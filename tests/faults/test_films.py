"""Films come again while in flight, in other syntaxes, of other patients, with other pixels; or are rejected."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, RLELossless

from tests.faults.conftest import Sites
from tests.faults.harness import Backends, Expected, Film, count, film, replaced, wait
from tests.support import rejection_note
from vidi_gateway.dimse.receiver import Receiver

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="session")
def copies(films: list[Film], tmp_path_factory: pytest.TempPathFactory) -> list[Film]:
    """The films, each in another transfer syntax: RLE, JPEG-LS, JPEG 2000 without loss, in turn."""
    folder = tmp_path_factory.mktemp("copies")
    return [(_rle, _jpeg_ls, _jpeg_2000)[i % 3](one, folder) for i, one in enumerate(films)]


def _rle(one: Film, _folder: Path) -> Film:
    ds = dcmread(io.BytesIO(one.data))
    ds.compress(RLELossless, generate_instance_uid=False)
    return film(ds)


def _jpeg_2000(one: Film, _folder: Path) -> Film:
    ds = dcmread(io.BytesIO(one.data))
    ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    return film(ds)


def _jpeg_ls(one: Film, folder: Path) -> Film:
    (folder / "plain.dcm").write_bytes(one.data)
    subprocess.run(["dcmcjpls", "+un", str(folder / "plain.dcm"), str(folder / "packed.dcm")], check=True)
    return film(dcmread(folder / "packed.dcm"))


def test_duplicates_in_other_syntaxes(site: Sites, pacs: Receiver, films: list[Film], copies: list[Film]) -> None:
    assert all(a.uid == b.uid and a.data != b.data for a, b in zip(films, copies, strict=True))
    state = site()
    state.process()
    senders = [state.modality(films), state.modality(copies), state.modality(films[::-1])]
    for sender in senders:
        sender.finished()
    state.settle(len(films))
    others = state.scalar("SELECT count(*) FROM arrivals WHERE verdict = 'duplicate'")
    assert others == state.scalar("SELECT count(*) FROM arrivals") == len(films)
    count("each film three times, in two syntaxes, at once", state, pacs, films, f"{others} recognised by their pixels")


def test_amended_in_flight(site: Sites, backends: Backends, pacs: Receiver, films: list[Film]) -> None:
    state = site()
    state.process()
    amended = [f.changed(PatientID=f"C{i}", PatientName=f"Corrected^{i}") for i, f in enumerate(films) if i % 3 == 0]
    state.send(*films[: len(films) // 2])
    state.wait_for_done(len(films) / 4)
    backends.services["explainer"].freeze()
    state.send(*films[len(films) // 2 :])
    wait("films are worked on", lambda: state.states()["processing"] > 0)
    state.send(*amended)
    backends.services["explainer"].thaw()
    state.settle(len(films))
    verdicts = state.scalar("SELECT count(*) FROM arrivals WHERE verdict = 'amended'")
    assert verdicts == len(amended)
    count(
        "demographics amended in flight",
        state,
        pacs,
        Expected(replaced(films, *amended), before=films),
        f"{verdicts} amended",
    )


def test_other_pixels_in_flight(site: Sites, pacs: Receiver, films: list[Film]) -> None:
    state = site()
    state.process()
    modality = state.modality(films)
    modality.finished()
    others = []
    for one in films[::2]:
        ds = dcmread(io.BytesIO(one.data))
        ds.PixelData = np.ascontiguousarray(ds.pixel_array[::-1]).tobytes()
        others.append(film(ds))
    assert state.busy()
    state.send(*others)
    state.settle(len(films) + len(others))
    expected = Expected(films, {"done": len(films), "quarantined": len(others)})
    count("other pixels under the same UID in flight", state, pacs, expected)


def test_rejected_in_flight(site: Sites, backends: Backends, pacs: Receiver, films: list[Film]) -> None:
    state = site()
    state.process()
    first, second, last = (films[i * len(films) // 3 : (i + 1) * len(films) // 3] for i in range(3))
    rejected = [f for i, f in enumerate(films) if i % 3 == 1]
    state.send(*first)
    state.settle(len(first))
    backends.services["explainer"].freeze()
    state.send(*second)
    wait("films are worked on", lambda: state.states()["processing"] > 0)
    state.send(
        *(rejection_note([f.dataset], "113001") for f in rejected)
    )  # of films that are done, in flight, and not there yet
    backends.services["explainer"].thaw()
    state.modality(last).finished()
    state.settle(len(films))
    states = {"done": len(films) - len(rejected), "withdrawn": len(rejected)}
    gone = frozenset(f.uid for f in rejected)
    notes = count("rejection notes in flight", state, pacs, Expected(films, states, withdrawn=gone))
    assert notes >= 2 * sum(f.uid in gone for f in first), "what was there already is rejected: report and capture"
