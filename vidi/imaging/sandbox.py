"""Decoding in a process that may be killed: native codecs have crashed, hung and eaten memory on crafted films."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from types import TracebackType

from vidi.errors import InternalError, UnreadableImage
from vidi.imaging import wire
from vidi.imaging.dicom import Film, transfer_syntax

_START_SECONDS = 120.0


class DecodeSandbox:
    """Decodes films one at a time in a persistent, memory-limited subprocess, started when it is first needed.

    A film that crashes the process, hangs it or needs too much memory gives `UnreadableImage`; the process is started
    anew for the next film.

    Parameters
    ----------
    memory_bytes
        Limit of the subprocess's address space (RLIMIT_AS), its libraries included (about 0.6 GiB).
    timeout
        Seconds that one film may take.
    """

    def __init__(self, memory_bytes: int = 2 << 30, timeout: float = 30.0) -> None:
        self._memory_bytes = memory_bytes
        self._timeout = timeout
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the running subprocess."""
        return self._process.pid if self._process is not None else None

    async def decode(self, data: bytes) -> Film:
        """Decode a DICOM Part 10 file; see `vidi.imaging.dicom.decode_dicom`.

        Raises
        ------
        UnreadableImage
            What the decoder raised, or reason DECODER_CRASHED, DECODER_TIMEOUT or DECODER_MEMORY.
        InternalError
            The decoder failed by a defect of its own, or could not be started.
        """
        transfer_syntax(data)
        async with self._lock:
            if self._closed:
                raise InternalError("the decoder is closed")
            process = await self._running()
            reply = await self._ask(process, data)
        return await asyncio.to_thread(wire.unpack, reply, data)

    async def close(self) -> None:
        """End the subprocess. A film that is being decoded is finished first."""
        async with self._lock:
            self._closed = True
            await self._kill()

    async def __aenter__(self) -> DecodeSandbox:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._kill()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "vidi.imaging.sandbox_worker",
            str(self._memory_bytes),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                await _receive(self._process)
        except (TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            await self._kill()
            raise InternalError("the decoder did not start") from error
        except BaseException:
            await self._kill()
            raise
        return self._process

    async def _ask(self, process: asyncio.subprocess.Process, data: bytes) -> bytes:
        assert process.stdin is not None
        try:
            async with asyncio.timeout(self._timeout):
                process.stdin.write(wire.HEAD.pack(len(data)))
                process.stdin.write(data)
                await process.stdin.drain()
                return await _receive(process)
        except TimeoutError as error:
            await self._kill()
            raise UnreadableImage(
                f"decoding took longer than {self._timeout:g} s", field="data", reason="DECODER_TIMEOUT"
            ) from error
        except (asyncio.IncompleteReadError, OSError) as error:
            await self._kill()
            raise UnreadableImage("the film crashed the decoder", field="data", reason="DECODER_CRASHED") from error
        except BaseException:
            # Cancelled, or a reply out of bounds: what is in the pipes belongs to this film, never to the next.
            await self._kill()
            raise

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            # Shielded, so that a cancelled caller leaves no zombie and no open pipe.
            await asyncio.shield(_ended(process))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End a process: by the end of its input where it still listens, else by force."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await process.wait()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _receive(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    (length,) = wire.HEAD.unpack(await process.stdout.readexactly(wire.HEAD.size))
    if length > wire.MAX_REPLY:
        raise InternalError("the decoder's reply is out of bounds")
    return await process.stdout.readexactly(length)


def _environment() -> dict[str, str]:
    """Only what Python and the dynamic linker need: no credentials of the gateway reach the decoder.

    One arena and one thread, since each thread's stack and arena count against the limit.
    """
    kept = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
