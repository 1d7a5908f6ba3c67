"""Multipart bodies: every body comes apart as it was put together, however it is cut, and hostile ones end soon."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidi.errors import Exhausted, InvalidInput
from vidi_gateway.dicomweb.multipart import HEAD_BYTES, Part, Parts, media_type

BOUNDARY = "b0undary"


def body(parts: list[bytes], boundary: str = BOUNDARY, kind: str = "application/dicom") -> bytes:
    """A body as a sender writes it."""
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    pieces = [b"--" + boundary.encode() + b"\r\n" + head + data + b"\r\n" for data in parts]
    return b"".join(pieces) + b"--" + boundary.encode() + b"--\r\n"


def split(data: bytes, cuts: list[int] | None = None, **bounds: int) -> list[Part]:
    """Feed a body in pieces."""
    limits = {"max_part_bytes": 1 << 20, "max_parts": 100, "max_bytes": 1 << 30}
    parts = Parts(BOUNDARY, **(limits | bounds))
    found: list[Part] = []
    edges = sorted({c % (len(data) + 1) for c in cuts or []} | {0, len(data)})
    for start, end in itertools.pairwise(edges):
        found += parts.feed(data[start:end])
    parts.close()
    return found


CUTS = st.lists(st.integers(0, 4000), max_size=8)


def near_misses() -> st.SearchStrategy[bytes]:
    """Bytes that come close to a boundary."""
    tokens = [b"\r\n", b"--", BOUNDARY.encode(), b"\r\n--" + BOUNDARY.encode()[:-1], b"\r", b"\n", b"\0"]
    return st.lists(st.sampled_from(tokens) | st.binary(max_size=20), max_size=12).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(near_misses() | st.binary(max_size=300), min_size=1, max_size=5),
    st.lists(st.integers(0, 4000), max_size=8),
)
def test_what_was_put_together_comes_apart(datas: list[bytes], cuts: list[int]) -> None:
    if any(b"\r\n--" + BOUNDARY.encode() in b"\r\n" + d + b"\r\n" for d in datas):
        return  # a sender has to choose another boundary then
    found = split(body(datas), cuts)
    assert [p.data for p in found] == datas
    assert {p.media_type for p in found} == {"application/dicom"} and not any(p.oversize for p in found)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600) | near_misses(), st.lists(st.integers(0, 600), max_size=6))
def test_any_bytes_at_all_are_read_or_refused(data: bytes, cuts: list[int]) -> None:
    with contextlib.suppress(InvalidInput):
        split(data, cuts)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400))
def test_a_body_that_was_cut_off_is_refused(cut: int) -> None:
    whole = body([b"first" * 20, b"second" * 20])
    cut = min(cut, len(whole) - 3)  # the last line break says nothing
    with pytest.raises(InvalidInput, match=r"closing boundary") as caught:
        split(whole[:cut])
    assert caught.value.reason == "MULTIPART"


def test_too_large_a_part_is_cut_off_and_the_others_are_whole() -> None:
    large = bytes(range(256)) * (HEAD_BYTES // 64)
    first, second, third = split(body([b"a", large, b"c"]), [7, 5000, HEAD_BYTES + 9], max_part_bytes=2 << 20)
    assert (first.data, third.data) == (b"a", b"c")
    assert second.oversize and second.data == large[:HEAD_BYTES]


def test_many_parts_and_many_bytes_end_the_reading() -> None:
    with pytest.raises(Exhausted) as caught:
        split(body([b""] * 101))
    assert caught.value.reason == "TOO_MANY_PARTS"
    with pytest.raises(Exhausted) as caught:
        split(body([b"x" * 1000]), max_bytes=1000)
    assert caught.value.reason == "TOO_LARGE"


def test_endless_headers_are_refused() -> None:
    start = f"--{BOUNDARY}\r\n".encode()
    for headers in (b"X: " + b"y" * 100_000, b"".join(b"X%d: y\r\n" % i for i in range(1000))):
        with pytest.raises(InvalidInput, match="not multipart"):
            split(start + headers + b"\r\n\r\ndata\r\n--" + BOUNDARY.encode() + b"--")


def test_another_boundary_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not multipart"):
        split(body([b"a"], boundary="another"))
    for boundary in ("", "x" * 201):
        with pytest.raises(InvalidInput):
            Parts(boundary, max_part_bytes=1, max_parts=1, max_bytes=1)


def test_content_types() -> None:
    kind, parameters = media_type('Multipart/Related; Type="application/dicom"; boundary="a b"; start=x')
    assert kind == "multipart/related" and parameters["type"] == "application/dicom" and parameters["boundary"] == "a b"
    assert media_type("") == ("", {})
    with pytest.raises(InvalidInput):
        media_type("text/plän")
