"""The DICOM node: C-ECHO and C-STORE for whitelisted peers. Success means durable (PS3.4 annex B)."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any

from pydicom import Dataset
from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity

from vidi import logs
from vidi.errors import Exhausted, InvalidInput, Unavailable, ViDiError
from vidi_gateway.dimse import transport
from vidi_gateway.dimse.commitment import Commitment, answer_event
from vidi_gateway.dimse.contexts import accepted, commitment
from vidi_gateway.dimse.film_stream import FilmStream
from vidi_gateway.pipeline import metrics
from vidi_gateway.pipeline.intake import Intake
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.records import PRIORITY_BULK, PRIORITY_LIVE
from vidi_gateway.tls import Current

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

# A-ASSOCIATE-RJ (PS3.8 table 9-21): result, source, reason.
_CALLING_UNKNOWN = (1, 1, 3)
_CALLED_UNKNOWN = (1, 1, 7)
_CONGESTED = (2, 3, 1)

log = logs.get("vidi.gateway.dimse")


class Node:
    """A storage SCP in threads of its own: one per association.

    Parameters
    ----------
    settings
        Whom to admit, and bounds.
    intake
        Takes the instances.
    audit
        Hears of rejected associations.
    on_commitment
        Told what nodes report on our requests for Storage Commitment; durable when it returns. None: they cannot.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        intake: Intake,
        audit: Audit,
        on_commitment: Callable[[Commitment], object] | None = None,
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._audit = audit
        self._on_commitment = on_commitment
        self._models = settings.called_ae_titles
        self._archives = {a.ae_title: a.name for a in settings.archives if a.protocol == "dimse"}
        self._ae = ApplicationEntity(settings.ae_title)
        self._ae.maximum_associations = settings.max_associations
        self._ae.maximum_pdu_size = settings.max_pdu_bytes
        self._ae.acse_timeout = settings.dimse_timeout
        self._ae.dimse_timeout = settings.dimse_timeout
        self._ae.network_timeout = settings.idle_timeout
        self._ae.supported_contexts = [*accepted(), commitment()] if on_commitment else accepted()
        self._server: transport.BoundedServer | None = None
        self._tls_server: transport.BoundedServer | None = None

    def open(self) -> None:
        """Listen, without and with TLS as the settings say.

        Raises
        ------
        OSError
            When an address is taken.
        PreconditionFailed
            TLS_FILES: certificate, key or CA file cannot be used.
        """
        _config.ENFORCE_UID_CONFORMANCE = True
        gc.freeze()  # what is here stays: the collector need not look at it again for each few films
        _config.LOG_HANDLER_LEVEL = "none"  # its texts hold what peers sent, and are made whether or not one reads them
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_ECHO, _echo),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_EVENT_REPORT, self._report),
        ]
        settings = self._settings
        bounds: dict[str, Any] = {"max_pdu_bytes": settings.max_pdu_bytes, "max_message_bytes": settings.max_film_bytes}
        bounds |= {"silence": settings.dimse_timeout, "stage": self._intake.stage}
        if settings.dimse_tls_port >= 0 and settings.dimse_tls:
            current = Current(settings.dimse_tls)
            secured = transport.Secured(current, settings.tls_handshake_timeout, self._handshake_failed)
            address = (settings.dimse_host, settings.dimse_tls_port)
            self._tls_server = transport.listen(self._ae, address, handlers, secured=secured, **bounds)
        if settings.dimse_port >= 0:
            try:
                address = (settings.dimse_host, settings.dimse_port)
                self._server = transport.listen(self._ae, address, handlers, **bounds)
            except OSError:
                self.close()
                raise

    @property
    def port(self) -> int:
        """The port that it listens on without TLS; -1: none."""
        return int(self._server.server_address[1]) if self._server else -1

    @property
    def tls_port(self) -> int:
        """The port that it listens on with TLS; -1: none."""
        return int(self._tls_server.server_address[1]) if self._tls_server else -1

    def close(self) -> None:
        """Stop listening; associations end. What was acknowledged is durable, the rest is the peer's to send again."""
        for server in (self._server, self._tls_server):
            if server:
                transport.stop(self._ae, server)
        self._server = self._tls_server = None

    def _requested(self, event: evt.Event) -> None:
        """Admit or reject an association before anything is negotiated."""
        association = event.assoc
        request: Any = association.requestor.primitive
        calling, called = request.calling_ae_title.strip(), request.called_ae_title.strip()
        host = str(association.requestor.address)
        if not any(peer.admits(calling, host) for peer in self._settings.allowed_peers):
            self._reject(association, _CALLING_UNKNOWN, f"{calling}@{host}", "PEER_UNKNOWN")
        elif called not in self._models:
            self._reject(association, _CALLED_UNKNOWN, f"{calling}@{host}", "CALLED_AE_UNKNOWN")
        else:
            try:
                self._intake.check_room()
            except (Exhausted, Unavailable) as e:
                self._reject(association, _CONGESTED, f"{calling}@{host}", e.reason)

    def _handshake_failed(self, host: str, code: str) -> None:
        log.warning("TLS handshake failed", peer=host, reason=code)
        metrics.ASSOCIATIONS_REJECTED.labels(code).inc()
        self._audit.note("association rejected", source=f"@{host}", outcome=code)

    def _reject(self, association: Any, reason: tuple[int, int, int], source: str, code: str) -> None:
        log.warning("association rejected", peer=source, reason=code)
        metrics.ASSOCIATIONS_REJECTED.labels(code).inc()
        with contextlib.suppress(Unavailable):  # it may be the journal that is away: then the log has to do
            self._audit.note("association rejected", source=source, outcome=code)
        association.acse.send_reject(*reason)
        evt.trigger(association, evt.EVT_REJECTED, {})
        association.kill()

    def _store(self, event: evt.Event) -> int:
        """Answer C-STORE: Success only for what is durable, or deliberately dropped."""
        requestor: Any = event.assoc.requestor
        request: Any = event.request
        source = f"dimse:{requestor.ae_title.strip()}@{requestor.address}"
        priority = PRIORITY_LIVE
        archive = self._archives.get(requestor.ae_title.strip())
        if archive and request.MoveOriginatorApplicationEntityTitle == self._settings.ae_title:
            source, priority = f"pull:{archive}", PRIORITY_BULK  # we have asked for it
        called = requestor.primitive.called_ae_title.strip()
        stream = request.DataSet if isinstance(request.DataSet, FilmStream) else None
        try:
            receipt = self._intake.accept(
                stream.part10 if stream else event.encoded_dataset(),
                source=source,
                model=self._models[called],
                called=called,
                expected_uid=str(request.AffectedSOPInstanceUID),
                priority=priority,
                coming=stream,
            )
        except (Exhausted, Unavailable) as e:
            log.warning("film not taken", peer=source, reason=e.reason)
            return OUT_OF_RESOURCES
        except InvalidInput as e:
            log.warning("instance not taken", peer=source, reason=e.reason)
            self._audit.note("instance not taken", source=source, outcome=e.reason)
            return CANNOT_UNDERSTAND
        except Exception as e:  # noqa: BLE001 - whatever it is, the peer must not hear Success
            log.error("film not taken", peer=source, error=e.reason if isinstance(e, ViDiError) else type(e).__name__)
            return PROCESSING_FAILURE
        finally:
            if stream:
                stream.release()
        log.info("instance taken", peer=source, film=receipt.film_id, fate=receipt.fate.value)
        return SUCCESS

    def _report(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """Hear what a node says about a request for Storage Commitment."""
        return answer_event(event, self._on_commitment or (lambda _: None))


def _echo(_event: evt.Event) -> int:
    return SUCCESS
