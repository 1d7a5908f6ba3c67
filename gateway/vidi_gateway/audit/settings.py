"""Settings of the audit trail's relay, and of how long things are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from vidi.settings import MIB, CommonSettings
from vidi_gateway.tls import ClientTls

#: Port by transport: RFC 5426, RFC 6587 (by custom), RFC 5425.
SYSLOG_PORTS = {"udp": 514, "tcp": 601, "tls": 6514}


class RecordSettings(CommonSettings):
    """Audit records and retention (`VIDI_...`)."""

    audit_file: Path | None = Field(default=None, description="File that audit records are written to; none: no file.")
    audit_file_format: Literal["json", "xml"] = Field(
        default="json", description="One JSON object a line, or one DICOM audit message (PS3.15 A.5) a line."
    )
    audit_file_bytes: int = Field(
        default=64 * MIB, ge=64 << 10, description="Size at which the audit file is set aside and a new one begun."
    )
    audit_file_keep: int = Field(
        default=20, ge=1, le=10_000, description="Audit files kept, the current one not counted."
    )
    audit_syslog: str = Field(
        default="",
        description="Audit record repository: udp://host:port, tcp://host:port or tls://host:port; empty: none.",
    )
    audit_syslog_ca: Path | None = Field(
        default=None, description="Authorities of its certificate, a PEM file; none: those of the system."
    )
    audit_syslog_certificate: Path | None = Field(default=None, description="Our certificate for it, a PEM file.")
    audit_syslog_key: Path | None = Field(default=None, description="Its private key, a PEM file.")
    audit_site_id: str = Field(
        default="", max_length=64, description="Name of the site in audit messages (AuditEnterpriseSiteID)."
    )

    retention_film_days: float = Field(
        default=0.0,
        ge=0,
        description="Days after which a finished film's bytes are deleted, results delivered; 0: never.",
    )
    retention_result_days: float = Field(
        default=0.0,
        ge=0,
        description="Days after which results' bytes (objects, maps) are deleted, once delivered; 0: never.",
    )
    retention_audit_days: float = Field(
        default=0.0, ge=0, description="Days after which audit records are deleted, once relayed; 0: never."
    )
    retention_sweep_seconds: float = Field(
        default=600.0, gt=0, description="How often it is looked for what is to be deleted."
    )

    @field_validator("audit_syslog")
    @classmethod
    def _syslog(cls, value: str) -> str:
        if value:
            syslog_address(value)
        return value

    @model_validator(mode="after")
    def _pair(self) -> RecordSettings:
        if bool(self.audit_syslog_certificate) != bool(self.audit_syslog_key):
            raise ValueError("a client certificate for syslog is VIDI_AUDIT_SYSLOG_CERTIFICATE and _KEY together")
        return self

    @property
    def relays(self) -> bool:
        """Whether audit records go anywhere but into the journal."""
        return bool(self.audit_file or self.audit_syslog)

    @property
    def syslog_tls(self) -> ClientTls:
        """TLS to the repository."""
        return ClientTls(self.audit_syslog_ca, self.audit_syslog_certificate, self.audit_syslog_key)


def syslog_address(url: str) -> tuple[str, str, int]:
    """Return transport ("udp", "tcp", "tls"), host and port.

    Raises
    ------
    ValueError
        When it is not such an address.
    """
    parts = urlsplit(url)
    if parts.scheme not in SYSLOG_PORTS or not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError(f"{url!r}: a repository is written udp://host:port, tcp://host:port or tls://host:port")
    return parts.scheme, parts.hostname, parts.port or SYSLOG_PORTS[parts.scheme]
