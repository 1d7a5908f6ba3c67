"""A storage SCP that writes what it receives into a directory: the demo's PACS, and the tests'."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from vidi_gateway.dimse import transport
from vidi_gateway.dimse.contexts import accepted
from vidi_gateway.store.files import write_durable

MAX_OBJECT_BYTES = 256 << 20


@dataclass(frozen=True)
class Received:
    """One instance as it came. The same UID may come again; `digest` tells whether its bytes were the same."""

    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    digest: str


class Receiver:
    """Receives any storage class from anybody, durably, while the context is open.

    Parameters
    ----------
    directory
        Where files go; made if missing. A file's name is a digest of its UID, never a peer's words.
    ae_title
        Called AE title; others are rejected.
    port
        Port on `host`; 0 lets the system choose.
    host
        Address to listen on.
    """

    def __init__(self, directory: Path, ae_title: str = "RECEIVER", port: int = 0, host: str = "127.0.0.1") -> None:
        self.directory = directory
        self.ae_title = ae_title
        self.host = host
        self._port = port
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._ae = ApplicationEntity(ae_title)
        self._ae.require_called_aet = True
        self._ae.maximum_associations = 32
        self._ae.supported_contexts = accepted()
        self._server: transport.BoundedServer | None = None

    def __enter__(self) -> Self:
        """Listen.

        Raises
        ------
        OSError
            When the port is taken.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_ECHO, _echo)]
        bounds: dict[str, Any] = {"max_pdu_bytes": self._ae.maximum_pdu_size, "max_message_bytes": MAX_OBJECT_BYTES}
        self._server = transport.listen(self._ae, (self.host, self._port), handlers, **bounds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        if self._server:
            transport.stop(self._ae, self._server)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def received(self) -> tuple[Received, ...]:
        """Everything that came so far, in order, repetitions included."""
        with self._lock:
            return tuple(self._received)

    @property
    def files(self) -> dict[str, Path]:
        """File by SOP Instance UID."""
        return {r.sop_instance_uid: r.path for r in self.received}

    def _store(self, event: evt.Event) -> int:
        data = event.encoded_dataset()
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        path = self.directory / f"{hashlib.sha256(uid.encode()).hexdigest()[:24]}.dcm"
        try:
            write_durable(path, data)
        except OSError:
            return 0xA700
        sop_class = str(request.AffectedSOPClassUID)
        with self._lock:
            self._received.append(Received(uid, sop_class, path, hashlib.sha256(data).hexdigest()))
        return 0x0000


def _echo(_event: evt.Event) -> int:
    return 0x0000
