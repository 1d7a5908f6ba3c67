"""HTTP by TLS alone: who has no certificate of ours is refused, and a renewed one needs no restart."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest
import trustme
from fastapi import FastAPI

from vidi.errors import PreconditionFailed
from vidi_gateway.http.server import serving
from vidi_gateway.tls import ServerTls


def issue(authority: trustme.CA, folder: Path) -> ServerTls:
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(p.bytes() for p in leaf.cert_chain_pems))
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return ServerTls(folder / "cert.pem", folder / "key.pem", folder / "ca.pem")


def trusting(authority: trustme.CA, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client:
        client.configure_cert(context)
    return context


@pytest.fixture
def app() -> FastAPI:
    built = FastAPI()

    @built.get("/")
    async def hello() -> str:
        return "hello"

    return built


async def status(url: str, context: ssl.SSLContext) -> int:
    async with httpx.AsyncClient(verify=context) as client:
        return (await client.get(url)).status_code


async def test_only_clients_with_a_certificate_of_ours(app: FastAPI, tmp_path: Path) -> None:
    ours, foreign = trustme.CA(), trustme.CA()
    async with serving(app, "127.0.0.1", 0, issue(ours, tmp_path)) as url:
        assert url.startswith("https://")
        assert await status(url, trusting(ours, ours.issue_cert("client@here"))) == 200
        for context in (trusting(ours), trusting(ours, foreign.issue_cert("client@there")), trusting(foreign)):
            with pytest.raises((httpx.TransportError, ssl.SSLError)):
                await status(url, context)
        with pytest.raises(httpx.TransportError):
            await status(url.replace("https", "http"), trusting(ours))


async def test_a_renewed_certificate_is_used_at_once(app: FastAPI, tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    tls = issue(old, tmp_path)
    async with serving(app, "127.0.0.1", 0, ServerTls(tls.certificate, tls.key)) as url:
        assert await status(url, trusting(old)) == 200
        issue(new, tmp_path)
        assert await status(url, trusting(new)) == 200
        with pytest.raises(httpx.TransportError):
            await status(url, trusting(old))


async def test_files_that_are_no_certificates_stop_the_start(app: FastAPI, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("not a certificate")
    with pytest.raises(PreconditionFailed) as caught:
        async with serving(app, "127.0.0.1", 0, ServerTls(tmp_path / "x.pem", tmp_path / "x.pem")):
            pass
    assert caught.value.reason == "TLS_FILES"
