"""The DICOM node: C-ECHO and C-STORE for whitelisted peers. Success means durable (PS3.4 annex B)."""

from __future__ import annotations

from typing import Any

from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity

from vidi import logs
from vidi.errors import Exhausted, InvalidInput, ViDiError
from vidi_gateway.dimse import transport
from vidi_gateway.dimse.contexts import accepted
from vidi_gateway.pipeline import metrics
from vidi_gateway.pipeline.intake import Intake
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.audit import Audit

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
    """

    def __init__(self, settings: GatewaySettings, intake: Intake, audit: Audit) -> None:
        self._settings = settings
        self._intake = intake
        self._audit = audit
        self._models = settings.called_ae_titles
        self._ae = ApplicationEntity(settings.ae_title)
        self._ae.maximum_associations = settings.max_associations
        self._ae.maximum_pdu_size = settings.max_pdu_bytes
        self._ae.acse_timeout = settings.dimse_timeout
        self._ae.dimse_timeout = settings.dimse_timeout
        self._ae.network_timeout = settings.idle_timeout
        self._ae.supported_contexts = accepted()
        self._server: transport.BoundedServer | None = None

    def open(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            When the address is taken.
        """
        _config.ENFORCE_UID_CONFORMANCE = True
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_ECHO, _echo),
            (evt.EVT_C_STORE, self._store),
        ]
        address = (self._settings.dimse_host, self._settings.dimse_port)
        bounds = {"max_pdu_bytes": self._settings.max_pdu_bytes, "max_message_bytes": self._settings.max_film_bytes}
        self._server = transport.listen(self._ae, address, handlers, **bounds)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening; associations end. What was acknowledged is durable, the rest is the peer's to send again."""
        if self._server:
            transport.stop(self._ae, self._server)
            self._server = None

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
            except Exhausted as e:
                self._reject(association, _CONGESTED, f"{calling}@{host}", e.reason)

    def _reject(self, association: Any, reason: tuple[int, int, int], source: str, code: str) -> None:
        log.warning("association rejected", peer=source, reason=code)
        metrics.ASSOCIATIONS_REJECTED.labels(code).inc()
        self._audit.note("association rejected", source=source, outcome=code)
        association.acse.send_reject(*reason)
        evt.trigger(association, evt.EVT_REJECTED, {})
        association.kill()

    def _store(self, event: evt.Event) -> int:
        """Answer C-STORE: Success only for what is durable, or deliberately dropped."""
        requestor: Any = event.assoc.requestor
        request: Any = event.request
        source = f"dimse:{requestor.ae_title.strip()}@{requestor.address}"
        called = requestor.primitive.called_ae_title.strip()
        try:
            receipt = self._intake.accept(
                event.encoded_dataset(),
                source=source,
                model=self._models[called],
                called=called,
                expected_uid=str(request.AffectedSOPInstanceUID),
            )
        except Exhausted as e:
            log.warning("film not taken", peer=source, reason=e.reason)
            return OUT_OF_RESOURCES
        except InvalidInput as e:
            log.warning("instance not taken", peer=source, reason=e.reason)
            self._audit.note("instance not taken", source=source, outcome=e.reason)
            return CANNOT_UNDERSTAND
        except Exception as e:  # noqa: BLE001 - whatever it is, the peer must not hear Success
            log.error("film not taken", peer=source, error=e.reason if isinstance(e, ViDiError) else type(e).__name__)
            return PROCESSING_FAILURE
        log.info("instance taken", peer=source, film=receipt.film_id, fate=receipt.fate.value)
        return SUCCESS


def _echo(_event: evt.Event) -> int:
    return SUCCESS
