"""A process's part in the trail: that it started and stopped, and the relay while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from vidi import __version__
from vidi_gateway.audit.events import Event
from vidi_gateway.audit.relay import relay_of
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.audit import Audit
from vidi_gateway.threads import Threads


@asynccontextmanager
async def recorded(settings: GatewaySettings, audit: Audit, threads: Threads) -> AsyncIterator[None]:
    """Note start and stop, and relay meanwhile. Open it before, and so close it after, all that notes anything."""
    async with AsyncExitStack() as stack:
        relay = relay_of(settings, audit, settings.ae_title, shared=not settings.embedded_database)
        # A front end relays only where nobody else does: its files would lie on another machine than the workers'.
        if relay is not None and settings.role != "front":
            relay.start()
            stack.push_async_callback(threads.run, relay.close)
        detail = {"version": __version__, "role": settings.role, "worker": settings.worker_id}
        await threads.run(audit.note, Event.STARTED, actor="vidi", detail=detail)
        stack.push_async_callback(threads.run, audit.note, Event.STOPPED, actor="vidi", detail=detail)
        yield
