"""What tests in several folders need: waiting, ports, films as bytes, an archive's notes, services beside a gateway.

Fixtures here are used by the `conftest.py` that imports them.
"""

from __future__ import annotations

import asyncio
import io
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from vidi.embedded import Suite, suite
from vidi.imaging.geometry import Affine
from vidi_gateway.store.records import ClassSummary, Summary

START_SECONDS = 300.0
MEANINGS = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}
#: A result without its arrays.
SUMMARY = Summary(
    prediction="normal",
    classes=(ClassSummary("normal", 0.5, 0.0, 0.0, 0.0, 0.0),),
    calibrated=False,
    cache_hit=False,
    explanation_key="ab" * 32,
    background_digest="sha256:0",
    method="shap/float32",
    map_to_film=Affine(1, 0, 0, 0, 1, 0),
)


def wait_until(what: str, true: Callable[[], bool], patience: float) -> None:
    """Wait; fail when it does not come true."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"not in {patience:.0f} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours by its own pid: it may end by itself for a minute."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def uid_of(film: bytes) -> str:
    """Its SOP Instance UID."""
    return str(dcmread(io.BytesIO(film), stop_before_pixels=True).SOPInstanceUID)


def part10(ds: Dataset) -> bytes:
    """A data set as a file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def rejection_note(films: Sequence[Dataset], code: str) -> bytes:
    """A note of an archive (IHE RAD, Imaging Object Change Management) that rejects films of one study."""
    title = CodedConcept(code, "DCM", MEANINGS[code])
    document = KeyObjectSelectionDocument(
        evidence=films,
        content=KeyObjectSelection(document_title=title, referenced_objects=films),
        series_instance_uid=generate_uid(),
        series_number=99,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Archive",
        institution_name="Test",
        institutional_department_name="Test",
    )
    return part10(document)


@pytest.fixture(scope="session")
def backends(model_dir: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A real classifier and explainer with the tiny bundles, served from a thread."""
    started: list[Suite] = []
    ready, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        overrides: dict[str, Any] = {"data_dir": tmp_path_factory.mktemp("backends"), "model_dir": model_dir}
        async with suite(services=("classifier", "explainer"), default_model="tiny-severity", **overrides) as running:
            started.append(running)
            ready.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(START_SECONDS)
    yield started[0]
    ended.set()
    thread.join()
