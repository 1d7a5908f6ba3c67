"""A gateway whose services' addresses lead back to itself: a slip of configuration, and no way to eat all memory."""

from __future__ import annotations

import asyncio
import resource
import socket
from pathlib import Path

import numpy as np
import pytest

from vidi.client import AsyncClient
from vidi.errors import Unavailable
from vidi.rpc.server import running
from vidi.service import find


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_call_does_not_go_round_for_ever(tmp_path: Path) -> None:
    port = free_port()
    itself = f"127.0.0.1:{port}"
    addresses = {f"{name}_address": itself for name in ("classifier", "explainer", "clusterer")}
    service = find("gateway")
    settings = service.settings(
        data_dir=tmp_path, port=port, dimse_port=-1, http_port=-1, low_disk_bytes=0, grace_seconds=1.0, **addresses
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with running(service, settings) as server, AsyncClient(gateway=server.address) as client:
        with pytest.raises(Unavailable, match="leads to a gateway") as caught:
            await asyncio.wait_for(client.explain(np.zeros((64, 64), np.float32)), 60)
    assert caught.value.reason == "FORWARDING_LOOP"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB
