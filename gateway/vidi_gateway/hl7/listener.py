"""The MLLP listener (HL7 implementation guide, appendix C): VT, message, FS, CR; one answer for each message, in order.

Nothing of a peer is trusted: hosts are listed, messages and connections bounded, and silence ends a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from vidi import logs
from vidi_gateway.hl7.handler import Answer, Merges
from vidi_gateway.hl7.refusal import Reason, Refused
from vidi_gateway.hl7.settings import Hl7Settings
from vidi_gateway.tls import Current, ServerTls, failure

START, END = b"\x0b", b"\x1c\x0d"
#: Line ends that some senders write between messages.
_BETWEEN = b"\r\n"

log = logs.get("vidi.gateway.hl7")


class Listener:
    """Listens for messages in the running event loop.

    Parameters
    ----------
    settings
        Where to listen, whom to admit, and bounds.
    merges
        Obeys the messages.
    tls
        How to speak TLS; None: in the clear.
    """

    def __init__(self, settings: Hl7Settings, merges: Merges, tls: ServerTls | None = None) -> None:
        self._settings = settings
        self._merges = merges
        self._tls = Current(tls) if tls else None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            When the address is taken.
        """
        self._server = await asyncio.start_server(
            self._connected, self._settings.mllp_host, self._settings.mllp_port, limit=self._merges.max_bytes
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end all connections. What is being obeyed still is; its sender may not hear of it."""
        if self._server is None:
            return
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._talk(reader, writer), name="vidi-mllp")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peername = writer.get_extra_info("peername")
        host = str(peername[0]) if peername else ""
        source = f"mllp:{host}"
        try:
            if not {"*", host} & set(self._settings.mllp_hosts):
                await self._turn_away(source, "HOST_UNKNOWN")
            elif len(self._connections) > self._settings.mllp_max_connections:
                await self._turn_away(source, "CONGESTED")
            elif await self._secured(writer, source):
                await self._converse(reader, writer, source)
        except (OSError, EOFError):
            pass  # the peer is gone: what it had sent whole was answered
        except Exception as error:  # noqa: BLE001 - one peer's connection, whatever it did, is no other's matter
            log.error("connection failed", peer=source, error=type(error).__name__)
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _secured(self, writer: asyncio.StreamWriter, source: str) -> bool:
        if self._tls is None:
            return True
        try:
            await writer.start_tls(self._tls.context(), ssl_handshake_timeout=self._settings.mllp_timeout)
        except (ssl.SSLError, OSError, EOFError) as error:
            await self._turn_away(source, failure(error))
            return False
        return True

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        while True:
            async with asyncio.timeout(self._settings.mllp_idle_timeout):
                first = await reader.readexactly(1)
            if first in _BETWEEN:
                continue
            if first != START:
                await self._turn_away(source, "NOT_MLLP")
                return
            try:
                async with asyncio.timeout(self._settings.mllp_timeout):
                    data = await reader.readuntil(END)
            except asyncio.LimitOverrunError:
                # What follows cannot be told from the rest of this message: answered, and closed.
                text = f"the message is longer than {self._merges.max_bytes} bytes"
                await self._answer(writer, await self._merges.refuse(Refused(Reason.DATA, text), source))
                return
            except (TimeoutError, asyncio.IncompleteReadError):
                await self._turn_away(source, "MESSAGE_CUT_SHORT")
                return
            # Shielded: a message that has begun to be obeyed is not left half-way by a shutdown.
            await self._answer(writer, await asyncio.shield(self._merges.message(data[: -len(END)], source)))

    async def _answer(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        writer.write(START + answer.acknowledgment + END)
        async with asyncio.timeout(self._settings.mllp_timeout):
            await writer.drain()

    async def _turn_away(self, source: str, code: str) -> None:
        with contextlib.suppress(Exception):
            await self._merges.turned_away(source, code)
