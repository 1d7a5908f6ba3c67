"""Merges over REST: JSON, and HL7 with its acknowledgment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import hl7
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from vidi.errors import Unavailable, ViDiError
from vidi_gateway.http import app as http_app
from vidi_gateway.http.routes_patients import router

URL = "/api/v1/patients/merge"
HL7 = {"content-type": "application/hl7-v2"}
JSON: dict[str, Any] = {
    "prior": {"id": "123", "issuer": "HOSP"},
    "surviving": {"id": "555", "issuer": "HOSP", "name": "Everywoman^Eve", "birth_date": "1962-03-20", "sex": "F"},
}


@pytest_asyncio.fixture
async def rest(listen: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    """A client of the routes, and what is behind them."""
    opened = await listen()
    app = FastAPI()
    app.add_exception_handler(ViDiError, http_app._known)

    async def anybody() -> None:
        """Who may merge is tested with the whole gateway."""

    app.include_router(router(opened.merges, anybody))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vidi") as client:
        yield client, opened


async def test_a_merge_by_json(rest: Any) -> None:
    client, opened = rest
    film = opened.add_film(1, "123")
    answer = await client.post(URL, json=JSON)
    assert (answer.status_code, answer.json()["films"]) == (200, 1)
    assert opened.journal.film(film).patient_key == opened.key("555")
    (merge,) = opened.merger.merges
    surviving = merge.surviving
    assert (surviving.name, surviving.birth_date, surviving.sex) == ("Everywoman^Eve", "19620320", "F")
    assert opened.outcomes("patients merged") == {"1 films": 1}


async def test_the_same_id_is_obeyed_once(rest: Any) -> None:
    client, opened = rest
    opened.add_film(1, "123")
    for _ in range(2):
        answer = await client.post(URL, json=JSON | {"message_id": "ticket-7"})
        assert answer.json() == {"message_id": "rest-ticket-7", "films": 1}


async def test_a_merge_by_hl7(rest: Any, message: Any) -> None:
    client, opened = rest
    answer = await client.post(URL, content=message(), headers=HL7)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/hl7-v2")
    assert str(hl7.parse(answer.text)["MSA"][0][1]) == "AA"
    assert len(opened.merger.merges) == 1
    answer = await client.post(URL, content=message().replace(b"A40", b"A08"), headers=HL7)
    assert (answer.status_code, str(hl7.parse(answer.text)["MSA"][0][1])) == (400, "AR")
    opened.merger.failures.append(Unavailable("the journal is away"))
    answer = await client.post(URL, content=message("M2"), headers=HL7)
    assert (answer.status_code, str(hl7.parse(answer.text)["MSA"][0][1])) == (503, "AR")


WRONG: dict[str, tuple[bytes, str, int]] = {
    "no JSON": (b"{", "application/json", 400),
    "binary": (b"\xff\xfe\x00", "application/json", 400),
    "no prior": (b'{"surviving": {"id": "1"}}', "application/json", 400),
    "empty id": (b'{"prior": {"id": " "}, "surviving": {"id": "1"}}', "application/json", 400),
    "itself": (b'{"prior": {"id": "1"}, "surviving": {"id": " 1 "}}', "application/json", 400),
    "backslash": (b'{"prior": {"id": "a\\\\b"}, "surviving": {"id": "1"}}', "application/json", 400),
    "line feed": (b'{"prior": {"id": "a\\n"}, "surviving": {"id": "1"}}', "application/json", 400),
    "long id": (b'{"prior": {"id": "' + b"a" * 65 + b'"}, "surviving": {"id": "1"}}', "application/json", 400),
    "date": (b'{"prior": {"id": "a"}, "surviving": {"id": "Everywoman", "birth_date": "x"}}', "application/json", 400),
    "unknown field": (b'{"prior": {"id": "a"}, "surviving": {"id": "1", "ssn": "9"}}', "application/json", 400),
    "too large": (b"[" * 70_000, "application/json", 400),
    "nested": (b"[" * 60_000, "application/json", 400),
    "form": (b"prior=1", "application/x-www-form-urlencoded", 400),
    "large HL7": (b"MSH|^~\\&|" + b"x" * 70_000, "application/hl7-v2", 400),
    "no HL7": (b"hello", "application/hl7-v2", 400),
    "empty HL7": (b"", "application/hl7-v2", 400),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_refused(rest: Any, name: str) -> None:
    client, opened = rest
    body, kind, status = WRONG[name]
    answer = await client.post(URL, content=body, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert "Everywoman" not in answer.text
    assert not opened.merger.merges
