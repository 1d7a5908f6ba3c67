"""Valid films, mutated by the hundred (by the thousand in `make test-faults`), over every way in.

Each is taken or refused, never lost: what was taken is in the journal, and what was refused is in the audit trail.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.integration.hostile.test_instances import ACCEPTED, _split, _uid, store_raw
from vidi.client import Client
from vidi.errors import AlreadyExists, InvalidInput
from vidi.phantoms import PhantomSpec, make, to_dicom

FILMS = 100


def seeds() -> list[bytes]:
    """Small films of several kinds."""
    phantoms = [make(PhantomSpec(seed=500 + i, severity="severe", height=64, width=64)) for i in range(3)]
    quirks = ("plain", "rle", "jpeg_2000", "jpeg_ls", "padding", "monochrome1")
    return [to_dicom(p, quirk) for p in phantoms for quirk in quirks]


def mutated(data: bytes, rng: random.Random, number: int) -> bytes:
    """A film, half of the time under a UID of its own, with some of its bytes changed."""
    film = bytearray(data)
    if rng.random() < 0.5:
        uid = _uid(data).encode()
        own = uid[: -len(str(number)) - 2] + b"1" + str(number).zfill(len(str(number)) + 1).encode()
        film = film.replace(uid, own)
    header = film.find(b"\xe0\x7f\x10\0")
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = 132 + rng.randrange(max(1, header - 132 if rng.random() < 0.85 else len(film) - 132))
        what = rng.randrange(8)
        if what < 4:
            film[at % len(film)] = rng.choice((0, 255, 127, rng.randrange(256)))
        elif what == 4:
            del film[at : at + rng.randint(1, 30)]
        elif what == 5:
            film[at:at] = rng.randbytes(rng.randint(1, 30))
        elif what == 6:
            film[at:at] = film[at : at + rng.randint(1, 200)]
        else:
            film[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\0\0\0\0", b"\xfe\xff\xff\x7f"))
    if rng.random() < 0.1:
        del film[rng.randrange(len(film)) :]
    return bytes(film)


def by_dimse(target: Any, _: Client, data: bytes) -> str:
    syntax, body = _split(data)
    status = store_raw(target, _uid(data).encode() or b"1.2.3", body, syntax if syntax in ACCEPTED else ACCEPTED[0])
    if status == -1:
        return "cut off"
    assert status == 0 or status & 0xF000 == 0xC000 or status in (0xA900, 0xA700), hex(status)
    return "taken" if status == 0 else "refused"


def by_grpc(_: Any, client: Client, data: bytes) -> str:
    try:
        client.submit(data)
    except AlreadyExists:
        return "set aside"
    except InvalidInput:
        return "refused"
    return "taken"


def by_http(target: Any, _: Client, data: bytes) -> str:
    url, kind = f"{target.http}/api/v1/films", {"content-type": "application/dicom"}
    status = httpx.post(url, content=data, headers=kind, timeout=120).status_code
    assert status in (202, 400, 409), status
    return {202: "taken", 400: "refused", 409: "set aside"}[status]


@pytest.mark.parametrize("way", [by_dimse, by_grpc, by_http])
@pytest.mark.timeout(3000)
def test_mutated_films(attack: Any, way: Any, scale: int) -> None:
    rng = random.Random(way.__name__)
    films = seeds()
    with Client(gateway=attack.grpc, timeout=120.0) as client:
        by_grpc(attack, client, films[0])  # one original each of some: the others' mutants are the first of their UID
        noted, seen = attack.outcomes(), Counter[str]()
        for number in range(FILMS * scale):
            seen[way(attack, client, mutated(rng.choice(films), rng, number + 1000))] += 1
    assert seen["taken"], seen
    assert seen["refused"], seen
    attack.quiet()
    now = attack.outcomes()
    records = sum(now.values()) - sum(noted.values())
    assert records >= seen["refused"], "what is refused leaves a record"
    with attack.journal.database.read() as c:
        defects = c.exec_driver_sql("SELECT count(*) FROM films WHERE reason_code LIKE 'INTERNAL%'").scalar_one()
    assert defects == 0, attack.log[-3000:]
