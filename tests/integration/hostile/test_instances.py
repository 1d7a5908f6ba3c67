"""Instances that a modality would not send, over C-STORE, gRPC and HTTP: a status or a typed error, and a record."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from tests.integration.hostile import pdus
from tests.integration.hostile.conftest import MAX_FILM, part10
from tests.integration.hostile.pdus import Wire
from vidi.client import Client
from vidi.errors import InvalidInput, ViDiError

EXPLICIT = "1.2.840.10008.1.2.1"


def encoded(ds: Dataset) -> bytes:
    """A data set without its file meta information: what C-STORE carries."""
    data = part10(ds)
    length = int(dcmread(io.BytesIO(data), stop_before_pixels=True).file_meta.FileMetaInformationGroupLength)
    return data[132 + 12 + length :]


def store_raw(target: Any, uid: bytes, body: bytes, syntax: bytes = pdus.EXPLICIT) -> int:
    """C-STORE-RQ with any SOP Instance UID; returns the status, -1 when the association ended instead."""
    with Wire(target.port) as wire:
        assert wire.send(pdus.associate(pdus.context(1, b"1.2.840.10008.5.1.4.1.1.1.1", syntax)))
        kind, accepted = wire.receive()
        assert kind == 0x02
        assert b"\x21\0" in accepted
        wire.send(pdus.data(pdus.pdv(1, 3, pdus.store_command(uid, b"1.2.840.10008.5.1.4.1.1.1.1"))))
        for start in range(0, max(len(body), 1), 16000):
            last = 2 if start + 16000 >= len(body) else 0
            wire.send(pdus.data(pdus.pdv(1, last, body[start : start + 16000])))
        kind, answer = wire.receive()
        if kind != 0x04:
            return -1
        return int(struct.unpack("<H", answer[answer.index(b"\0\0\0\x09\x02\0\0\0") + 8 :][:2])[0])


PATHS = [
    b"../../../etc/passwd",
    b"/etc/passwd",
    b"1.2.3/../../x",
    b"1.2.3\0../x",
    b"..\\..\\windows",
    b"1.2.3 ; rm -rf /",
    b"1.2." + b"9" * 80,
    b"",
    b"1..2",
    b"01.2.3",
    b"\xff\xfe1.2",
    b"%2e%2e%2f",
    b"'; DROP TABLE films; --",
]


@pytest.mark.parametrize("uid", PATHS, ids=range(len(PATHS)))
def test_paths_for_uids(attack: Any, uid: bytes) -> None:
    noted, films = attack.audit_count, attack.films()
    files = attack.files()
    ds = attack.fresh()
    body = encoded(ds)
    own = str(ds.SOPInstanceUID).encode()
    own += b"\0" * (len(own) % 2)
    element = b"\x08\0\x18\0UI" + struct.pack("<H", len(own)) + own
    assert body.count(element) == 1
    padded = uid + b"\0" * (len(uid) % 2)
    spoiled = body.replace(element, b"\x08\0\x18\0UI" + struct.pack("<H", len(padded)) + padded)
    status = store_raw(attack, uid, spoiled)
    assert status not in (0x0000, 0x0110)
    assert store_raw(attack, own.rstrip(b"\0"), spoiled) & 0xF000 == 0xC000, "another UID than was announced"
    assert attack.films() == films
    assert attack.audit_count > noted
    assert attack.files() == files, "no file came of it"


def hostile(target: Any) -> dict[str, tuple[bytes, set[str]]]:
    """Part 10 files, each with what the journal may say of it ("" when it is not taken at all)."""
    fresh = target.fresh
    cases: dict[str, tuple[bytes, set[str]]] = {}

    def case(name: str, data: bytes, *reasons: str) -> None:
        cases[name] = (data, set(reasons))

    case("largest sides", part10(fresh(Rows=65535, Columns=65535)), "DIMENSIONS")
    case("no rows", part10(fresh(Rows=0)), "DIMENSIONS")
    case("thin", part10(fresh(Rows=1, Columns=65535)), "DIMENSIONS")
    case("wrong sides", part10(fresh(Rows=1000, Columns=1000)), "UNREADABLE_IMAGE")
    case("many frames", part10(fresh(NumberOfFrames="2147483647")), "MULTI_FRAME")
    case("frames are text", part10(fresh(NumberOfFrames="9" * 12)), "MULTI_FRAME")
    ds = fresh()
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]
    case("truncated pixels", part10(ds), "UNREADABLE_IMAGE")
    ds = fresh()
    ds.PixelData = b""
    case("empty pixels", part10(ds), "UNREADABLE_IMAGE")
    whole = part10(fresh())
    case("truncated file", whole[: len(whole) - 3000], "UNREADABLE_IMAGE", "")
    for slope in ("nan", "inf", "1e308", "-1e308", "1e-320", "0", "x"):
        ds = fresh()
        for keyword, value in (("RescaleSlope", slope), ("RescaleIntercept", "-inf"), ("RescaleType", "US")):
            ds.add_new(keyword, "LO", value)
            ds[keyword].VR = "LO"
        case(f"slope {slope}", part10(ds), "done", "NOT_A_FRONTAL_CHEST_FILM")
    ds = fresh()
    for keyword, value in (("WindowCenter", "nan"), ("WindowWidth", "inf")):
        if keyword in ds:
            del ds[keyword]
        ds.add_new(keyword, "LO", value)
    case("window nan", part10(ds), "done", "UNREADABLE_IMAGE")
    ds = fresh(BitsAllocated=16, BitsStored=16, HighBit=15)
    ds.PixelData = np.random.default_rng(1).bytes(len(ds.PixelData))
    case("noise of 16 bits", part10(ds), "done", "NOT_A_FRONTAL_CHEST_FILM")
    for name, level in (("black", 0), ("flat", 1000)):
        ds = fresh()
        ds.PixelData = np.full(len(ds.PixelData) // 2, level, "<u2").tobytes()
        case(name, part10(ds), "done", "NOT_A_FRONTAL_CHEST_FILM")
    case("bits", part10(fresh(BitsStored=99)), "PIXEL_FORMAT")
    case("64 bits", part10(fresh(BitsAllocated=64, BitsStored=64, HighBit=63)), "PIXEL_FORMAT")
    case("high bit", part10(fresh(HighBit=65535)), "done")
    case("colour", part10(fresh(SamplesPerPixel=3, PhotometricInterpretation="RGB")), "PIXEL_FORMAT")
    # Over C-STORE the association says what the syntax is, whatever the file said: "done".
    unread = ("UNSUPPORTED_TRANSFER_SYNTAX", "", "done")
    case("private syntax", _syntax(fresh(), "1.3.6.1.4.1.5962.300.1"), *unread)
    case("video", _syntax(fresh(), "1.2.840.10008.1.2.4.102"), *unread)
    case("unknown syntax", _syntax(fresh(), "1.2.3.4"), *unread)
    case("no syntax", _syntax(fresh(), ""), "UNREADABLE_IMAGE", *unread)
    case("native pixels called JPEG 2000", _syntax(fresh(), "1.2.840.10008.1.2.4.90"), "UNREADABLE_IMAGE", "")
    case("native pixels called RLE", _syntax(fresh(), "1.2.840.10008.1.2.5"), "UNREADABLE_IMAGE", "")
    case("deflated bomb", _deflated(fresh()), "")
    case("nested", _nested(fresh(), 5000), "done", "")
    case("nested, undefined lengths", _nested(fresh(), 5000, defined=False), "")
    case("many items", _with(fresh(), _sequence(b"\xfe\xff\x00\xe0\0\0\0\0" * 100_000)), "done", "")
    case("many elements", _with(fresh(), _private(60_000)), "done", "")
    case("length of 4 GiB", _with(fresh(), b"\x09\0\x10\x10OB\0\0\xfe\xff\xff\xff"), "")
    case("length beyond the end", _with(fresh(), b"\x09\0\x10\x10OB\0\0\0\0\0\x7f"), "")
    case("undefined length without an end", _with(fresh(), b"\x09\0\x10\x10SQ\0\0\xff\xff\xff\xff"), "")
    case("unknown VR", _with(fresh(), b"\x09\0\x10\x10ZZ\4\0abcd"), "done", "")
    case("values by the thousand", part10(fresh(ImageType=["A"] * 20_000)), "done")
    case("other character set", part10(fresh(SpecificCharacterSet="../../x")), "done")
    case("character sets", part10(fresh(SpecificCharacterSet=["ISO 2022 IR 87"] * 500)), "done")
    case("no DICM", bytes(200) + whole, "")
    case("meta only", whole[: 132 + 200], "")
    case("preamble only", whole[:132], "")
    case("text", b"just a text\n" * 1000, "")
    case("a zip", b"PK\3\4" + zlib.compress(bytes(10_000)), "")
    case("one byte", b"\0", "")
    return cases


def _syntax(ds: Dataset, uid: str) -> bytes:
    """The film's file with another transfer syntax in its meta information: the pixels stay as they are."""
    data = part10(ds)
    own = str(ds.file_meta.TransferSyntaxUID).encode()
    own += b"\0" * (len(own) % 2)
    new = uid.encode() + b"\0" * (len(uid) % 2)
    head = b"\2\0\x10\0UI"
    at = data.index(head + struct.pack("<H", len(own)) + own)
    length = struct.unpack_from("<I", data, 140)[0] + len(new) - len(own)
    spliced = data[:at] + head + struct.pack("<H", len(new)) + new + data[at + 8 + len(own) :]
    return spliced[:140] + struct.pack("<I", length) + spliced[144:]


def _deflated(ds: Dataset) -> bytes:
    """Some 260 KB that would be 256 MiB."""
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    head = part10(ds)
    meta = head[: 144 + struct.unpack_from("<I", head, 140)[0]]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(b"\x09\0\x10\x10OB\0\0\0\0\0\x10" + bytes(256 << 20)) + deflate.flush()
    return meta + body


def _with(ds: Dataset, elements: bytes) -> bytes:
    """The film with raw elements of group 0009 in their place: after group 0008."""
    ds.remove_private_tags()
    data = part10(ds)
    at = data.index(b"\x10\0\x10\0PN")
    return data[:at] + elements + data[at:]


def _sequence(items: bytes) -> bytes:
    return b"\x09\0\x10\x10SQ\0\0" + struct.pack("<I", len(items)) + items


def _private(count: int) -> bytes:
    return b"".join(struct.pack("<HH2sH2s", 9, 0x1000 + n % 0xEFFF, b"LO", 2, b"ab") for n in range(count))


def _nested(ds: Dataset, depth: int, *, defined: bool = True) -> bytes:
    if not defined:
        return _with(ds, b"\x09\0\x10\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * depth)
    body = b""
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(body)) + body
        body = _sequence(item)
    return _with(ds, body)


def _outcome(target: Any, uid: str) -> str:
    """The reason, or the state, of a film in the journal; "" when it is not there."""
    with target.journal.database.read() as c:
        rows = c.exec_driver_sql("SELECT state, reason_code FROM films WHERE sop_instance_uid = ?", (uid,)).all()
    return str(rows[0][1] or rows[0][0]) if rows else ""


@pytest.mark.parametrize("way", ["dimse", "grpc", "http"])
def test_instances_that_no_modality_sends(attack: Any, way: str, scale: int) -> None:
    cases = hostile(attack)
    if way == "http" and scale == 1:  # it leads to where gRPC leads
        cases = dict(list(cases.items())[::4])
    seen: dict[str, str] = {}
    uids: dict[str, str] = {}
    with Client(gateway=attack.grpc, timeout=120.0) as client:
        for name, (data, _) in cases.items():
            noted, films = attack.audit_count, attack.films()
            if way == "dimse":
                said = _by_dimse(attack, data)
            elif way == "grpc":
                said = _by_grpc(client, data)
            else:
                said = _by_http(attack, data)
            seen[name] = said
            taken = attack.films() > films
            if said == "refused":
                assert not taken, f"{name}: refused, and taken"
                assert attack.audit_count > noted, f"{name}: refused without a record"
            uid = _uid(data)
            if taken:
                assert uid, name
                uids[name] = uid
            assert attack.process.poll() is None, f"{name}: {attack.log[-3000:]}"
    attack.quiet()
    wrong = {}
    for name, (_, allowed) in cases.items():
        outcome = _outcome(attack, uids[name]) if name in uids else ""
        if outcome not in allowed and not (outcome == "" and seen[name] in ("refused", "dropped") and "" in allowed):
            wrong[name] = (seen[name], outcome, allowed)
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


def _by_dimse(target: Any, data: bytes) -> str:
    """Send the data set as it is, in the syntax that it names."""
    uid = _uid(data).encode() or b"1.2.3"
    syntax, body = _split(data)
    if syntax not in ACCEPTED:
        syntax = EXPLICIT.encode()
    status = store_raw(target, uid, body, syntax)
    return "taken" if status == 0 else "refused"


def _by_grpc(client: Client, data: bytes) -> str:
    try:
        return "taken" if client.submit(data).film_id else "dropped"
    except InvalidInput as error:  # anything else is a defect, and fails the test
        return "refused" if "Verysecret" not in str(error) else "leaked"


def _by_http(target: Any, data: bytes) -> str:
    answer = httpx.post(
        f"{target.http}/api/v1/films", content=data, headers={"content-type": "application/dicom"}, timeout=120
    )
    assert answer.status_code in (202, 400), answer.text
    assert "Verysecret" not in answer.text
    if answer.status_code == 400:
        assert answer.json()["reason"]
        return "refused"
    return "taken" if answer.json()["film_id"] else "dropped"


ACCEPTED = (pdus.EXPLICIT, pdus.IMPLICIT, b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.90")


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Transfer syntax and data set of a file, as far as it is one."""
    if len(data) < 144 or data[128:132] != b"DICM":
        return EXPLICIT.encode(), data
    meta = 144 + struct.unpack_from("<I", data, 140)[0]
    at = data.find(b"\2\0\x10\0UI")
    length = struct.unpack_from("<H", data, at + 6)[0] if at >= 0 else 0
    return data[at + 8 : at + 8 + length].rstrip(b"\0"), data[meta:]


def _uid(data: bytes) -> str:
    at = data.find(b"\x08\0\x18\0UI")
    if at < 0:
        return ""
    length = struct.unpack_from("<H", data, at + 6)[0]
    return data[at + 8 : at + 8 + length].rstrip(b"\0").decode("ascii", "replace")


def test_an_instance_above_the_limit(attack: Any) -> None:
    ds = attack.fresh()
    ds.add_new(0x00091001, "OB", bytes(MAX_FILM))
    data, films = part10(ds), attack.films()
    assert attack.store(data) != ["sent"]
    with Client(gateway=attack.grpc, timeout=120.0) as client, pytest.raises(ViDiError):
        client.submit(data)
    assert _by_http(attack, data) == "refused"
    assert attack.films() == films
    assert attack.outcomes().get("TOO_LARGE", 0) >= 1


def test_http_bodies_without_end_and_odd_requests(attack: Any) -> None:
    def endless() -> Any:
        for _ in range(1000):
            yield bytes(1 << 20)

    url = f"{attack.http}/api/v1/films"
    with contextlib.suppress(httpx.TransportError):  # it closes while the body is still being sent
        answer = httpx.post(url, content=endless(), headers={"content-type": "application/dicom"}, timeout=60)
        assert answer.status_code == 400
    for kind in ("", "text/html", "application/dicom+json", "multipart/related", "x" * 5000):
        assert httpx.post(url, content=b"x", headers={"content-type": kind}, timeout=60).status_code == 400
    for path in (
        "/../../etc/passwd",
        "/%2e%2e%2fetc/passwd",
        "/f" + "0" * 5000,
        "/%00",
        "/x/objects/..%2f..%2fx?kind=sr",
    ):
        answer = httpx.get(f"{attack.http}/api/v1/films{path}", timeout=60)
        assert answer.status_code in (400, 404, 414), (path, answer.status_code)
        assert "root:" not in answer.text
    for body in (b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(100), b"\xff\xd8\xff" + bytes(100)):
        for kind in ("image/png", "image/jpeg"):
            answer = httpx.post(url, content=body, headers={"content-type": kind}, timeout=60)
            assert answer.status_code == 400


def test_a_png_bomb(attack: Any) -> None:
    """A PNG of 30,000 x 30,000 pixels in some 900 KB."""
    side = 30_000
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(side)) * side, 9)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    answer = httpx.post(f"{attack.http}/api/v1/films", content=data, headers={"content-type": "image/png"}, timeout=120)
    assert answer.status_code == 400


def test_dcmtk_sends_what_it_should_not(attack: Any, tmp_path: Path) -> None:
    """storescu as an independent sender: deflated is not agreed to, so that it inflates the film by itself."""
    (tmp_path / "good.dcm").write_bytes(part10(attack.fresh()))
    path = tmp_path / "deflated.dcm"
    convert = ["dcmconv", "+td", str(tmp_path / "good.dcm"), str(path)]
    subprocess.run(convert, check=True, timeout=60)
    films = attack.films()
    send = ["storescu", "-xd", "-R", "-aec", "VIDI", "127.0.0.1", str(attack.port), str(path)]
    sent = subprocess.run(send, timeout=60, check=False, capture_output=True)
    assert (sent.returncode, attack.films()) == (0, films + 1), sent.stderr
    sent = subprocess.run([*send, str(tmp_path / "good.dcm")], timeout=60, check=False, capture_output=True)
    assert (sent.returncode, attack.films()) == (0, films + 1), "and it is the same film"
