"""The gateway as a service of the suite: opens journal, files, engine and listeners, and closes them in reverse.

Light to import: everything heavy is imported when the service opens.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vidi.service import Mounted, Service
from vidi_gateway.settings import GatewaySettings


@asynccontextmanager
async def open_gateway(settings: GatewaySettings) -> AsyncIterator[Mounted]:
    """Open what the settings' role asks for.

    Raises
    ------
    PreconditionFailed
        Another process uses the data directory.
    Unavailable
        A port is taken.
    """
    from vidi_gateway.mount import mounted

    async with mounted(settings) as opened:
        yield opened


SERVICE = Service("gateway", GatewaySettings, open_gateway)
WORKER = Service("worker", functools.partial(GatewaySettings, role="worker"), open_gateway)
