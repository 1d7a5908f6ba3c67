"""Settings of the HL7 listener."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from vidi.settings import LOOPBACK, MIB, CommonSettings
from vidi_gateway.tls import ServerTls


class Hl7Settings(CommonSettings):
    """Patient merges by HL7 version 2 (`VIDI_...`)."""

    mllp_host: str = Field(default=LOOPBACK, description="Address that the HL7 (MLLP) listener listens on.")
    mllp_port: int = Field(
        default=-1, ge=-1, le=65535, description="Its port (2575 by custom); 0: the system chooses, -1: no listener."
    )
    mllp_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1", "::1"),
        description='Addresses that may send patient merges, separated by commas; "*": all.',
    )
    mllp_max_bytes: int = Field(
        default=64 << 10, ge=1024, le=MIB, description="Longest HL7 message taken, in bytes; over HTTP too."
    )
    mllp_max_connections: int = Field(default=16, ge=1, description="Connections at a time; more are closed.")
    mllp_timeout: float = Field(default=30.0, gt=0, description="Seconds in which a message has to come whole.")
    mllp_idle_timeout: float = Field(
        default=3600.0, gt=0, description="Seconds that a connection may stay silent between messages."
    )
    mllp_charset: str = Field(
        default="utf-8", description="Character set (Python's name) of HL7 messages that do not name theirs in MSH-18."
    )
    mllp_processing_id: str = Field(
        default="P", pattern="^[PTD]$", description="Processing id (MSH-11) of HL7 messages that are obeyed."
    )
    mllp_tls_certificate: Path | None = Field(default=None, description="Certificate: HL7 is taken by TLS only.")
    mllp_tls_key: Path | None = Field(default=None, description="Its private key, a PEM file.")
    mllp_tls_ca: Path | None = Field(
        default=None, description="Authorities of client certificates: when set, every sender of HL7 needs one."
    )
    patient_issuer: str = Field(
        default="",
        max_length=64,
        description="Issuer (assigning authority) of Patient IDs in films that name none; empty: there is one only.",
    )

    @field_validator("mllp_hosts", mode="before")
    @classmethod
    def _mllp_hosts(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("mllp_charset")
    @classmethod
    def _mllp_charset(cls, value: str) -> str:
        try:
            if "|".encode(value) != b"|":  # MLLP frames and MSH are found before anything is decoded
                raise LookupError
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(f"{value!r} is no character set that contains ASCII") from None

    @model_validator(mode="after")
    def _mllp_tls_complete(self) -> Hl7Settings:
        if bool(self.mllp_tls_certificate) != bool(self.mllp_tls_key) or (self.mllp_tls_ca and not self.mllp_tls_key):
            raise ValueError("HL7 with TLS needs VIDI_MLLP_TLS_CERTIFICATE and VIDI_MLLP_TLS_KEY")
        return self

    @property
    def mllp_tls(self) -> ServerTls | None:
        """TLS of the HL7 listener."""
        if not (self.mllp_tls_certificate and self.mllp_tls_key):
            return None
        return ServerTls(self.mllp_tls_certificate, self.mllp_tls_key, self.mllp_tls_ca)
