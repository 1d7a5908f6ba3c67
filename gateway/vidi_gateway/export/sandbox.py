"""De-identifying in a process that may die: native codecs and hostile headers run there, with little memory."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import resource
import threading
from concurrent.futures.process import BrokenProcessPool

from vidi import logs
from vidi.errors import PreconditionFailed, UnreadableImage
from vidi.settings import CommonSettings
from vidi_gateway.export.profile import Options, Subject, deidentify
from vidi_gateway.export.secret import Names

MEMORY_BYTES = 4 << 30
TIMEOUT = 120.0


class ExportSandbox:
    """One process, started when it is needed, and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def deidentify(self, data: bytes, names: Names, subject: Subject, options: Options) -> bytes:
        """As `profile.deidentify`. Blocking; one film at a time.

        Raises
        ------
        UnreadableImage
            It cannot be decoded, or the process died of it.
        PreconditionFailed
            BURNED_IN_ANNOTATION, NOT_DEIDENTIFIED.
        """
        with self._lock:
            if self._pool is None:
                spawn = multiprocessing.get_context("spawn")
                self._pool = concurrent.futures.ProcessPoolExecutor(1, spawn, initializer=_prepare)
            future = self._pool.submit(_work, data, names.secret, subject, options)
            try:
                done = future.result(TIMEOUT)
            except (BrokenProcessPool, TimeoutError):
                self._end()
                raise UnreadableImage("the film could not be decoded", field="data", reason="DECODER_CRASHED") from None
        if isinstance(done, bytes):
            return done
        kind, reason, message = done
        if kind == "unreadable":
            raise UnreadableImage(message, field="data", reason=reason)
        raise PreconditionFailed(message, reason=reason)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def _prepare() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logs.configure(CommonSettings(log_level="ERROR"))


def _work(data: bytes, secret: bytes, subject: Subject, options: Options) -> bytes | tuple[str, str, str]:
    """Run in the process. Errors travel as codes: an exception would bring its causes along."""
    try:
        return deidentify(data, Names(secret), subject, options)
    except UnreadableImage as e:
        return "unreadable", e.reason, e.message
    except PreconditionFailed as e:
        return "refused", e.reason, e.message
