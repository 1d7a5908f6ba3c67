"""TLS on the DICOM node: who has no good certificate is refused and noted, and who is silent holds nobody up."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vidi.errors import PreconditionFailed, Unavailable
from vidi_gateway.dimse.address import Address
from vidi_gateway.dimse.query import Querier
from vidi_gateway.dimse.scu import Outcome, Sender, echo
from vidi_gateway.settings import GatewaySettings, Peer
from vidi_gateway.tls import ClientTls

Listen = Callable[..., Any]


@pytest.fixture
def secured(listen: Listen, authority: Any) -> Any:
    """A node that speaks TLS only, to those with a certificate of the site's authority."""
    certificate, key = authority.issue("node")
    files = {"dimse_tls_certificate": certificate, "dimse_tls_key": key, "dimse_tls_ca": authority.file}
    return listen(dimse_port=-1, dimse_tls_port=0, tls_handshake_timeout=3.0, **files)


def address(node: Any, tls: ClientTls | None, **changes: Any) -> Address:
    return Address("127.0.0.1", node.node.tls_port, "VIDI", **({"tls": tls, "timeout": 10.0} | changes))


def noted(node: Any, code: str) -> bool:
    """Whether the audit trail has a refusal, at the latest in a moment."""
    for _ in range(100):
        if code in node.audit.counts("association rejected"):
            return True
        time.sleep(0.05)
    return False


def test_films_arrive_through_tls(secured: Any, authority: Any, phantom: bytes) -> None:
    assert secured.node.port == -1
    (sent,) = Sender().send([phantom], address(secured, authority.client()))
    assert sent.outcome is Outcome.SENT
    (film_id,) = secured.journal.page(10)
    assert secured.journal.film(film_id).source == "dimse:VIDI@127.0.0.1"
    assert secured.audit.counts("association rejected") == {}


@pytest.mark.parametrize(
    ("case", "codes"),
    [
        ("none", ("CERTIFICATE_MISSING",)),
        ("foreign", ("CERTIFICATE_UNTRUSTED",)),
        ("expired", ("CERTIFICATE_OUT_OF_DATE",)),
        ("early", ("CERTIFICATE_OUT_OF_DATE",)),
        ("plain", ("TLS_FAILED",)),
    ],
)
def test_who_has_no_good_certificate_is_refused_and_noted(
    secured: Any, authority: Any, foreign: Any, phantom: bytes, case: str, codes: tuple[str, ...]
) -> None:
    now = datetime.now(UTC)
    if case == "none":
        tls: ClientTls | None = ClientTls(authority.file)
    elif case == "foreign":
        tls = replace(foreign.client(), ca=authority.file)
    elif case == "expired":
        tls = authority.client("expired", not_before=now - timedelta(9), not_after=now - timedelta(1))
    elif case == "early":
        tls = authority.client("early", not_before=now + timedelta(1), not_after=now + timedelta(9))
    else:
        tls = None
    assert not echo(address(secured, tls))
    (sent,) = Sender().send([phantom], address(secured, tls))
    assert sent.outcome is Outcome.RETRY
    assert any(noted(secured, code) for code in codes), secured.audit.counts("association rejected")
    assert secured.journal.page(10) == []
    assert echo(address(secured, authority.client())), "others get in"


def test_old_protocols_and_weak_ciphers_are_refused(secured: Any, authority: Any) -> None:
    def attempt(**options: Any) -> str:
        context = ssl.create_default_context(cafile=str(authority.file))
        context.load_cert_chain(*authority.issue("old", "client.example"))
        for name, value in options.items():
            if name == "ciphers":
                context.set_ciphers(value)
            else:
                setattr(context, name, value)
        raw = socket.create_connection(("127.0.0.1", secured.node.tls_port), 10)
        with raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            return str(connection.version())

    assert attempt(maximum_version=ssl.TLSVersion.TLSv1_2) == "TLSv1.2" and attempt() == "TLSv1.3"
    twelve = {"maximum_version": ssl.TLSVersion.TLSv1_2}
    eleven = {"minimum_version": ssl.TLSVersion.TLSv1_1, "maximum_version": ssl.TLSVersion.TLSv1_1}
    with pytest.warns(DeprecationWarning, match="TLSv1_1"), pytest.raises((ssl.SSLError, ConnectionError)):
        attempt(**eleven, ciphers="ALL:@SECLEVEL=0")
    for ciphers in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA"):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            attempt(**twelve, ciphers=f"{ciphers}:@SECLEVEL=0")


def test_a_certificate_does_not_replace_the_list_of_peers(listen: Listen, authority: Any, phantom: bytes) -> None:
    certificate, key = authority.issue("node2")
    files = {"dimse_tls_certificate": certificate, "dimse_tls_key": key, "dimse_tls_ca": authority.file}
    peers = (Peer(ae_title="PACS", host="127.0.0.1"), Peer(ae_title="CT", host="10.9.8.7"))
    node = listen(dimse_port=-1, dimse_tls_port=0, allowed_peers=peers, **files)
    client = authority.client()
    assert echo(address(node, client, calling_ae="PACS"))
    assert not echo(address(node, client, calling_ae="STRANGER"))
    assert not echo(address(node, client, calling_ae="CT")), "a known AE title from another host"
    assert node.audit.counts("association rejected") == {"PEER_UNKNOWN": 2}


def test_a_silent_client_holds_nobody_up(secured: Any, authority: Any, phantom: bytes) -> None:
    client = authority.client()
    silent = [socket.create_connection(("127.0.0.1", secured.node.tls_port), 10) for _ in range(20)]
    try:
        started = time.monotonic()
        assert echo(address(secured, client)) and time.monotonic() - started < 2.5
        assert noted(secured, "TLS_TIMEOUT") or noted(secured, "TLS_FAILED")
        for connection in silent:
            connection.settimeout(10)
            assert connection.recv(1) == b"", "closed by the node"
    finally:
        for connection in silent:
            connection.close()


def test_a_client_that_drips_its_handshake_is_let_go(secured: Any) -> None:
    with socket.create_connection(("127.0.0.1", secured.node.tls_port), 10) as connection:
        started = time.monotonic()

        def drip() -> None:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
            while time.monotonic() - started < 20:
                connection.sendall(b"\x00")
                time.sleep(0.2)

        with pytest.raises(OSError):
            drip()
        assert time.monotonic() - started < 15


def test_renewed_files_are_used_without_a_restart(secured: Any, authority: Any, foreign: Any) -> None:
    settings: GatewaySettings = secured.node._settings
    theirs, ours = foreign.client(), authority.client()
    assert echo(address(secured, ours)) and not echo(address(secured, theirs))
    assert settings.dimse_tls_certificate and settings.dimse_tls_key and settings.dimse_tls_ca
    certificate, key = foreign.issue("renewed")
    saved = settings.dimse_tls_ca.read_bytes()
    try:
        settings.dimse_tls_certificate.write_bytes(b"half written")
        assert echo(address(secured, ours)), "until the new files are there, the old ones hold"
        settings.dimse_tls_certificate.write_bytes(certificate.read_bytes())
        settings.dimse_tls_key.write_bytes(key.read_bytes())
        settings.dimse_tls_ca.write_bytes(foreign.file.read_bytes())
        assert echo(address(secured, theirs)) and not echo(address(secured, ours))
    finally:
        settings.dimse_tls_ca.write_bytes(saved)


def test_we_check_whom_we_call(secured: Any, listen: Listen, authority: Any, foreign: Any) -> None:
    def reason(tls: ClientTls) -> str:
        with pytest.raises(Unavailable) as caught, Querier(address(secured, tls)):
            pass
        return caught.value.reason

    client = authority.client()
    assert reason(replace(client, ca=foreign.file)) == "CERTIFICATE_UNTRUSTED"
    assert reason(replace(client, server_name="pacs.example")) == "CERTIFICATE_NAME"
    assert reason(replace(client, ca=None)) == "CERTIFICATE_UNTRUSTED", "the system's authorities did not sign it"
    assert echo(address(secured, replace(client, server_name="localhost")))
    with pytest.raises(PreconditionFailed) as missing, Querier(address(secured, ClientTls(foreign.file / "x"))):
        pass
    assert missing.value.reason == "TLS_FILES"


def test_files_that_cannot_be_used_are_found_out_at_the_start(listen: Listen, authority: Any, foreign: Any) -> None:
    certificate, _ = authority.issue("node3")
    _, other_key = foreign.issue("node3")
    with pytest.raises(PreconditionFailed) as caught:
        listen(dimse_port=-1, dimse_tls_port=0, dimse_tls_certificate=certificate, dimse_tls_key=other_key)
    assert caught.value.reason == "TLS_FILES"
    with pytest.raises(ValueError, match="VIDI_DIMSE_TLS_CERTIFICATE"):
        GatewaySettings(dimse_tls_port=2762)
