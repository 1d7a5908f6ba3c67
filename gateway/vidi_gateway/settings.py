"""Settings of the gateway: who may send, where results go, how many films at a time."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from vidi.settings import LOOPBACK, MIB, ServiceSettings
from vidi_gateway.audit.settings import RecordSettings
from vidi_gateway.hl7.settings import Hl7Settings
from vidi_gateway.nodes import AE_TITLE, Archive, Destination, ObjectKind, Peer, RemoteNode, checked_ae_title
from vidi_gateway.tls import ServerTls

__all__ = ["AE_TITLE", "Archive", "Destination", "GatewaySettings", "ObjectKind", "Peer", "RemoteNode"]


class GatewaySettings(RecordSettings, Hl7Settings, ServiceSettings):
    """Settings of `vidi serve gateway` and `vidi serve worker`.

    A gateway takes films in (DIMSE, gRPC, HTTP), a worker processes and delivers them; `role` all does both in one
    process. Several processes need PostgreSQL and a data directory that they share.
    """

    role: Literal["all", "front", "worker"] = Field(default="all", description="Take in, process, or both.")
    port: int = Field(default=50050, ge=0, le=65535, description="gRPC port; 0 lets the system choose.")
    executor_id: str = Field(
        default="",
        max_length=64,
        description="Stable name of this worker (a StatefulSet's pod name); empty: the host name.",
    )
    database_url: str = Field(
        default="", description="SQLAlchemy URL of the journal (postgresql://...); empty: SQLite in the data directory."
    )

    classifier_address: str = Field(default=f"{LOOPBACK}:50051", description="gRPC address of the classifier.")
    explainer_address: str = Field(default=f"{LOOPBACK}:50052", description="gRPC address of the explainer.")
    clusterer_address: str = Field(default=f"{LOOPBACK}:50053", description="gRPC address of the clusterer.")
    classify_timeout: float = Field(default=120.0, gt=0, description="Deadline of one Classify in seconds.")
    explain_timeout: float = Field(default=600.0, gt=0, description="Deadline of one Explain in seconds.")
    cluster_timeout: float = Field(default=1800.0, gt=0, description="Deadline of one sweep or fit in seconds.")

    dimse_host: str = Field(default=LOOPBACK, description="Address that the DICOM node listens on.")
    dimse_port: int = Field(default=11112, ge=-1, le=65535, description="Its port; 0: the system chooses, -1: no node.")
    ae_title: str = Field(default="VIDI", description="Called AE title of the default model, and our calling AE title.")
    ae_models: dict[str, str] = Field(
        default_factory=dict,
        description='More called AE titles, each with its model: {"VIDI_PHANTOM": "severity-phantom"}.',
    )
    allowed_peers: Annotated[tuple[Peer, ...], NoDecode] = Field(
        default=(Peer(ae_title="*", host="127.0.0.1"), Peer(ae_title="*", host="::1")),
        description="Who may associate: AET@host, separated by commas; only this machine unless set.",
    )
    max_associations: int = Field(default=32, ge=1, description="Associations at a time; more are rejected.")
    max_pdu_bytes: int = Field(
        default=128 * 1024, ge=4096, le=8 * MIB, description="Largest P-DATA PDU taken, in bytes."
    )
    dimse_timeout: float = Field(
        default=30.0, gt=0, description="Seconds that a peer may stay silent inside a message."
    )
    idle_timeout: float = Field(default=120.0, gt=0, description="Seconds that an association may stay idle.")

    http_host: str = Field(default=LOOPBACK, description="Address that the HTTP server listens on.")
    http_port: int = Field(default=8080, ge=-1, le=65535, description="Its port; 0: the system chooses, -1: none.")
    stow_peers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses and networks that may send films by HTTP, separated by commas; * for everybody.",
    )
    operator_peers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses and networks that may operate the gateway by HTTP (/api/v1/operations, /api/v1/pulls).",
    )
    stow_max_bytes: int = Field(default=4096 * MIB, gt=0, description="Largest body of a STOW-RS request, in bytes.")
    stow_max_parts: int = Field(default=4096, ge=1, description="Most instances of a STOW-RS request.")
    stow_max_requests: int = Field(default=8, ge=1, description="STOW-RS requests at a time; more get 503.")

    dimse_tls_port: int = Field(
        default=-1, ge=-1, le=65535, description="Port of the DICOM node with TLS (2762 by custom); -1: none."
    )
    dimse_tls_certificate: Path | None = Field(default=None, description="Its certificate with chain, a PEM file.")
    dimse_tls_key: Path | None = Field(default=None, description="Its private key, a PEM file.")
    dimse_tls_ca: Path | None = Field(
        default=None,
        description="Authorities of client certificates, a PEM file: when set, only peers with one are admitted.",
    )
    tls_handshake_timeout: float = Field(default=10.0, gt=0, description="Seconds for a peer's TLS handshake.")
    http_tls_certificate: Path | None = Field(default=None, description="Certificate: the HTTP server speaks TLS only.")
    http_tls_key: Path | None = Field(default=None, description="Its private key, a PEM file.")
    http_tls_ca: Path | None = Field(
        default=None, description="Authorities of client certificates: when set, everybody needs one."
    )

    max_receive_bytes: int = Field(
        default=65 * MIB, ge=0, description="Largest gRPC message taken: a film and what it is wrapped in."
    )
    max_film_bytes: int = Field(default=64 * MIB, gt=0, description="Largest DICOM instance taken, in bytes.")
    low_disk_bytes: int = Field(default=512 * MIB, ge=0, description="Free space below which films are refused (A700).")
    max_queued: int = Field(default=10_000, ge=1, description="Unfinished films above which associations are refused.")
    out_of_population: Literal["refuse", "mark"] = Field(
        default="refuse",
        description="Films outside a model's intended use: refuse, or process with a warning and watermark.",
    )

    settle_seconds: float = Field(
        default=10.0, ge=0, description="A study's results are published so long after its last film came."
    )
    study_patience_seconds: float = Field(
        default=600.0,
        ge=0,
        description="How long a study waits for a film that is still worked on; then it is published, and says so.",
    )
    rules_file: Path | None = Field(
        default=None, description="Rules of the site, a TOML file (docs/rules.md); none: all films, live, everywhere."
    )
    source_silence_hours: float = Field(
        default=0.0, ge=0, description="Hours without a film after which the status names a source; 0: never."
    )

    concurrency: int = Field(
        default=2, ge=0, le=256, description="Films worked on at a time by this worker; 0: films are kept, and wait."
    )
    patience_seconds: float = Field(
        default=86_400.0,
        gt=0,
        description="How long a film waits for services that are down before it counts as failed.",
    )
    max_attempts: int = Field(
        default=20,
        ge=1,
        description="Starts of a film's workflow, restarts included, before it counts as failed.",
    )
    retry_cap_seconds: float = Field(default=60.0, gt=0, description="Longest pause between two attempts at a service.")
    heartbeat_seconds: float = Field(default=5.0, gt=0, description="How often a worker says that it is alive.")
    worker_lost_seconds: float = Field(
        default=60.0, gt=0, description="Silence after which others take over a worker's films."
    )
    sweep_seconds: float = Field(
        default=15.0, gt=0, description="How often films without a live workflow are looked for."
    )

    destinations: tuple[Destination, ...] = Field(default=(), description="Where results are sent, as a JSON list.")
    delivery_attempts: int = Field(
        default=300, ge=1, description="Attempts at a destination before an object is set aside."
    )
    delivery_cap_seconds: float = Field(
        default=300.0, gt=0, description="Longest pause between two attempts at a destination."
    )
    confirm_seconds: float = Field(
        default=600.0,
        gt=0,
        description="How long a destination that acknowledged an object may deny having it, before it is sent again.",
    )
    confirm_attempts: int = Field(
        default=5, ge=1, description="Times that an object is acknowledged and denied before it is set aside."
    )
    pull_watermark: int = Field(
        default=200, ge=1, description="Unfinished films above which no more are fetched from archives."
    )
    archives: tuple[Archive, ...] = Field(default=(), description="Where films are fetched from, as a JSON list.")

    @field_validator("allowed_peers", mode="before")
    @classmethod
    def _peers(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part for part in value.split(",") if part.strip()]
        return tuple(Peer.parse(v) if isinstance(v, str) else v for v in value)

    @field_validator("stow_peers", "operator_peers", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        entries = value.split(",") if isinstance(value, str) else value
        entries = tuple(e.strip() for e in entries if e.strip())
        for entry in entries:
            if entry != "*":
                ipaddress.ip_network(entry, strict=False)
        return entries

    @field_validator("ae_title")
    @classmethod
    def _ae_title(cls, value: str) -> str:
        return checked_ae_title(value)

    @field_validator("ae_models")
    @classmethod
    def _ae_models(cls, value: dict[str, str]) -> dict[str, str]:
        return {checked_ae_title(title): model for title, model in value.items()}

    @model_validator(mode="after")
    def _consistent(self) -> GatewaySettings:
        for kind, names in (
            ("destinations", [d.name for d in self.destinations]),
            ("archives", [a.name for a in self.archives]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"two {kind} share a name")
        if self.dimse_tls_port >= 0 and not self.dimse_tls:
            raise ValueError("a DICOM node with TLS needs VIDI_DIMSE_TLS_CERTIFICATE and VIDI_DIMSE_TLS_KEY")
        if bool(self.http_tls_certificate) != bool(self.http_tls_key) or (self.http_tls_ca and not self.http_tls_key):
            raise ValueError("HTTP with TLS needs VIDI_HTTP_TLS_CERTIFICATE and VIDI_HTTP_TLS_KEY")
        if self.role != "all" and self.embedded_database:
            raise ValueError("a gateway and workers of their own need VIDI_DATABASE_URL: SQLite is for one process")
        return self

    @property
    def embedded_database(self) -> bool:
        """Whether journal and workflows live in SQLite files, used by this process alone."""
        return not self.database_url or self.database_url.startswith("sqlite")

    @property
    def journal_url(self) -> str:
        """SQLAlchemy URL of the journal."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir / 'journal.sqlite3'}"
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", self.database_url)

    @property
    def workflows_url(self) -> str:
        """Database URL of the workflow engine's own tables."""
        if self.embedded_database:
            return f"sqlite:///{self.data_dir / 'workflows.sqlite3'}"
        return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", self.database_url)

    @property
    def dimse_tls(self) -> ServerTls | None:
        """TLS of the DICOM node."""
        if not (self.dimse_tls_certificate and self.dimse_tls_key):
            return None
        return ServerTls(self.dimse_tls_certificate, self.dimse_tls_key, self.dimse_tls_ca)

    @property
    def http_tls(self) -> ServerTls | None:
        """TLS of the HTTP server."""
        if not (self.http_tls_certificate and self.http_tls_key):
            return None
        return ServerTls(self.http_tls_certificate, self.http_tls_key, self.http_tls_ca)

    @property
    def worker_id(self) -> str:
        """Name under which this process's unfinished workflows are found again after a restart."""
        if self.executor_id:
            return self.executor_id
        return "embedded" if self.embedded_database else socket.gethostname()

    @property
    def called_ae_titles(self) -> dict[str, str]:
        """Model by called AE title."""
        return {self.ae_title: self.default_model, **self.ae_models}

    @property
    def site_key_path(self) -> Path:
        """The key that film ids are made with; shared by all processes of a site."""
        return self.data_dir / "site.key"
