"""A whole suite, with small real networks, on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vidi.embedded import Suite, suite
from vidi.phantoms import PhantomSpec, make, to_dicom
from vidi_gateway.dimse.receiver import Receiver


@dataclass
class Live:
    """A running suite, and the storage SCP that its results go to."""

    suite: Suite
    receiver: Receiver
    data_dir: Path

    @property
    def http(self) -> str:
        """Base URL of the gateway."""
        return self.suite.endpoints["http"]

    @property
    def dimse(self) -> tuple[str, int]:
        """Host and port of the DICOM node."""
        host, _, port = self.suite.endpoints["dimse"].rpartition("@")[2].rpartition(":")
        return host, int(port)


@pytest.fixture(scope="session")
def live(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The suite in a thread of its own, until the last test."""
    root = tmp_path_factory.mktemp("suite")
    loop = asyncio.new_event_loop()
    ready: threading.Event = threading.Event()
    found: list[Suite] = []
    failed: list[BaseException] = []
    stop = asyncio.Event()
    with Receiver(root / "received", "STORE") as receiver:

        async def run() -> None:
            destination = {"name": "store", "ae_title": "STORE", "host": "127.0.0.1", "port": receiver.port}
            async with suite(
                data_dir=root / "state",
                model_dir=model_dir,
                default_model="tiny-pneumonia",
                ae_models={"VIDI_PHANTOM": "tiny-severity"},
                destinations=(destination,),
                out_of_population="mark",
                low_disk_bytes=0,
                settle_seconds=0.0,
                grace_seconds=2.0,
            ) as running:
                found.append(running)
                ready.set()
                await stop.wait()

        def main() -> None:
            try:
                loop.run_until_complete(run())
            except BaseException as error:
                failed.append(error)
                raise
            finally:
                ready.set()

        thread = threading.Thread(target=main, name="suite")
        thread.start()
        assert ready.wait(120), "the suite did not start"
        if failed:
            raise failed[0]
        yield Live(found[0], receiver, root / "state")
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


@pytest.fixture(scope="session")
def films() -> list[bytes]:
    """Six different phantoms as DX files, two of each severity."""
    specs = [(s, severity) for severity in ("mild", "medium", "severe") for s in (1, 2)]
    return [to_dicom(make(PhantomSpec(seed=100 + s, severity=k, height=256, width=256))) for s, k in specs]  # type: ignore[arg-type]
