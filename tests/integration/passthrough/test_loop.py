"""A pass-through whose addresses lead back to itself: a slip of configuration, and no way to eat all memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from vidi.client import AsyncClient
from vidi.errors import Unavailable
from vidi.rpc.channel import open_channel
from vidi.rpc.server import running
from vidi.service import Mounted, Service
from vidi.settings import ServiceSettings
from vidi_gateway.passthrough import FORWARDED, add_forwarders


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def open_loop(settings: ServiceSettings) -> AsyncIterator[Mounted]:
    """Forward all three services to the very port that serves them."""
    channel = open_channel(f"127.0.0.1:{settings.port}")
    names = tuple(name for name, _register, _forwarder in FORWARDED)
    yield Mounted(add_to=lambda server: add_forwarders(server, [channel] * 3), names=names)
    await channel.close()


async def test_a_call_does_not_go_round_for_ever() -> None:
    service = Service("loop", ServiceSettings, open_loop)
    settings = ServiceSettings(port=free_port(), grace_seconds=1.0)
    async with running(service, settings) as server, AsyncClient(gateway=server.address) as client:
        with pytest.raises(Unavailable, match="leads to a gateway") as caught:
            await asyncio.wait_for(client.explain(np.zeros((64, 64), np.float32)), 60)
    assert caught.value.reason == "FORWARDING_LOOP"
