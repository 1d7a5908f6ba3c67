"""Other nodes, as the settings describe them: who may call us, where results go, where films are fetched."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vidi.errors import PreconditionFailed
from vidi_gateway.dicomweb.address import WebAddress
from vidi_gateway.dimse.address import Address
from vidi_gateway.tls import ClientTls

#: DICOM application entity title (PS3.5 section 6.2, VR AE): up to 16 printable characters, no backslash.
AE_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")

ObjectKind = Literal["sr", "sc", "pm"]


class Hosts:
    """A list of addresses and networks.

    Parameters
    ----------
    entries
        Such as "127.0.0.1", "10.1.0.0/16", "::1", or "*" for everybody.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._all = "*" in entries
        self._networks = [ipaddress.ip_network(e, strict=False) for e in entries if e != "*"]

    def admits(self, host: str) -> bool:
        """Whether an address is on the list. What is no address never is."""
        if self._all:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


class Peer(BaseModel):
    """Somebody who may open associations: a calling AE title at a host; "*" stands for any."""

    model_config = ConfigDict(frozen=True)

    ae_title: str
    host: str

    @classmethod
    def parse(cls, text: str) -> Peer:
        """Read "AET@host".

        Raises
        ------
        ValueError
            When a part is missing or not an AE title.
        """
        title, at, host = text.strip().rpartition("@")
        if not at or not host or (title != "*" and not AE_TITLE.fullmatch(title)):
            raise ValueError(f"{text!r}: a peer is written AET@host, such as PACS@10.0.0.5, *@127.0.0.1 or PACS@*")
        return cls(ae_title=title, host=host)

    def admits(self, ae_title: str, host: str) -> bool:
        """Whether an association from this AE title and address is this peer's."""
        return self.ae_title in ("*", ae_title) and self.host in ("*", host)


class RemoteNode(BaseModel):
    """A node that we call, by DIMSE or DICOMweb.

    Attributes
    ----------
    name
        Stable name: the journal knows the node by it.
    protocol
        "dimse", or "dicomweb".
    ae_title, host, port
        DIMSE: where to connect, and as whom it is called.
    url
        DICOMweb: base URL of its services, such as https://pacs.example/dicom-web.
    username, password_env, password_file, token_file
        DICOMweb: who we are. The password stands in an environment variable or a file, a bearer token in a file; they
        are read for each connection, and never logged.
    tls
        DIMSE: whether to speak TLS. (DICOMweb says so by https.)
    tls_ca, tls_certificate, tls_key
        PEM files: who may have signed the node's certificate (None: the system's authorities); our client certificate.
    tls_server_name
        Name that the node's certificate must bear, when it is not `host`.
    timeout
        Seconds without an answer after which a call fails.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern="^[A-Za-z0-9._-]{1,64}$")
    protocol: Literal["dimse", "dicomweb"] = "dimse"
    ae_title: str = ""
    host: str = ""
    port: int = Field(default=0, ge=0, le=65535)
    url: str = Field(default="", pattern=r"^$|^https?://[^\s/?#@]+(/[^\s?#]*)?$")
    username: str = ""
    password_env: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    tls: bool = False
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str = ""
    timeout: float = Field(default=60.0, gt=0)

    @field_validator("ae_title")
    @classmethod
    def _ae_title(cls, value: str) -> str:
        return checked_ae_title(value) if value else value

    @model_validator(mode="after")
    def _complete(self) -> RemoteNode:
        if self.protocol == "dimse" and not (self.ae_title and self.host and self.port):
            raise ValueError(f"{self.name}: a DIMSE node has ae_title, host and port")
        if self.protocol == "dicomweb" and not self.url:
            raise ValueError(f"{self.name}: a DICOMweb node has a url")
        if self.protocol == "dicomweb" and self.tls_server_name:
            raise ValueError(f"{self.name}: the name in a DICOMweb node's certificate is the host of its url")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError(f"{self.name}: tls_certificate and tls_key belong together")
        return self

    def dimse_address(self, calling_ae: str) -> Address:
        """Return where and how to open associations."""
        assert self.protocol == "dimse", "a DICOMweb node has no AE title"
        return Address(
            self.host, self.port, self.ae_title, calling_ae, self.timeout, self._client_tls() if self.tls else None
        )

    def web_address(self) -> WebAddress:
        """Return where and as whom to call; reads the password.

        Raises
        ------
        PreconditionFailed
            CREDENTIALS_MISSING: the variable or file that should hold the password does not.
        """
        assert self.protocol == "dicomweb", "a DIMSE node has no URL"
        return WebAddress(
            url=self.url.rstrip("/"),
            username=self.username,
            password=self._password(),
            token=_secret(self.token_file, self.name) if self.token_file else "",
            tls=self._client_tls() if self.url.startswith("https:") else None,
            timeout=self.timeout,
        )

    def _client_tls(self) -> ClientTls:
        return ClientTls(self.tls_ca, self.tls_certificate, self.tls_key, self.tls_server_name)

    def _password(self) -> str:
        if self.password_file:
            return _secret(self.password_file, self.name)
        if not self.password_env:
            return ""
        value = os.environ.get(self.password_env, "")
        if not value:
            raise PreconditionFailed(f"{self.name}: no password in its variable", reason="CREDENTIALS_MISSING")
        return value


class Destination(RemoteNode):
    """A node that receives results.

    Attributes
    ----------
    kinds
        Result objects that it gets: "sr" (structured report), "sc" (Secondary Capture), "pm" (Parametric Maps).
    confirm
        How we make sure that it has what it acknowledged: "commitment" (Storage Commitment, DIMSE only), "query"
        (C-FIND, or QIDO-RS), "auto" (commitment where it is offered, else a query), "none" (not at all: what is sent
        stays unconfirmed for ever).
    """

    kinds: tuple[ObjectKind, ...] = ("sr", "sc")
    confirm: Literal["auto", "commitment", "query", "none"] = "auto"

    @model_validator(mode="after")
    def _confirmable(self) -> Destination:
        if self.protocol == "dicomweb" and self.confirm == "commitment":
            raise ValueError(f"{self.name}: Storage Commitment is a DIMSE service; use auto or query")
        return self


class Archive(RemoteNode):
    """A node that films are fetched from.

    Attributes
    ----------
    move_to
        AE title that it sends to by C-MOVE, as it knows us; "": our own.
    """

    move_to: str = ""

    @field_validator("move_to")
    @classmethod
    def _move_to(cls, value: str) -> str:
        return checked_ae_title(value) if value else value


def checked_ae_title(value: str) -> str:
    """Return an AE title without padding.

    Raises
    ------
    ValueError
        When it is none.
    """
    title = value.strip()
    if not AE_TITLE.fullmatch(title):
        raise ValueError(f"{value!r} is no AE title: up to 16 printable ASCII characters without backslash")
    return title


def _secret(path: Path, node: str) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        raise PreconditionFailed(
            f"{node}: its password or token file cannot be read", reason="CREDENTIALS_MISSING"
        ) from None
