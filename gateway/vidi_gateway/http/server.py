"""The HTTP server inside the gateway's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI

from vidi.errors import Unavailable
from vidi_gateway.tls import Current, ServerTls


class _Server(uvicorn.Server):
    """Leaves signals to the process: the gateway drains as a whole."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: FastAPI, host: str, port: int, tls: ServerTls | None = None) -> AsyncIterator[str]:
    """Serve until the context ends, by TLS alone where `tls` says how; yields the base URL.

    Raises
    ------
    Unavailable
        When the port is taken.
    PreconditionFailed
        TLS_FILES: certificate, key or authorities cannot be used.
    """
    secured = _context(Current(tls)) if tls else None
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"HTTP port {port} on {host} cannot be opened: {error.strerror}", reason="PORT_TAKEN"
        ) from None
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5)
    if secured:
        config.load()
        config.ssl = secured
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="vidi-http")
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn tells by this attribute alone
            await asyncio.sleep(0.01)
        yield f"{'https' if tls else 'http'}://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


def _context(current: Current) -> ssl.SSLContext:
    """Return a context that hands each connection to the newest one: a renewed certificate needs no restart."""
    context = current.context()

    def newest(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = current.context()

    context.sni_callback = newest
    return context
