"""A film in fragments: whatever their sizes, and however they come in, it is the same film."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidi_gateway.dimse import film_stream
from vidi_gateway.dimse.film_stream import Buffers, FilmStream, Fragments

HEAD = b"\0" * 128 + b"DICM" + b"head"
CONTEXT = 5


def pdu(*fragments: bytes, last: bool = False, context: int = CONTEXT, control: int = 0) -> bytes:
    """One P-DATA-TF PDU with one or more fragments; the last one of all has its bit set where `last`."""
    body = b""
    for i, fragment in enumerate(fragments):
        bits = control | (2 if last and i == len(fragments) - 1 else 0)
        body += (len(fragment) + 2).to_bytes(4, "big") + bytes((context, bits)) + fragment
    return b"\4\0" + len(body).to_bytes(4, "big") + body


def feed(fragments: Fragments, data: bytes, most: int) -> int:
    """Read as a socket is read: at most `most` bytes at a time, and no more than there is room for."""
    taken = 0
    while taken < len(data) and not fragments.ended:
        with fragments.room() as room:
            count = min(most, len(room), len(data) - taken)
            room[:count] = data[taken : taken + count]
        fragments.advance(count)
        taken += count
    return taken


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 70_000), min_size=1, max_size=12),
    most=st.sampled_from([1 << 20, 65_536, 4096, 1000, 13, 12, 11]),
    after=st.sampled_from([b"", b"\5\0\0\0\0\4\0\0\0\0", pdu(b"x", control=3, last=True)]),
)
def test_any_sizes(sizes: list[int], most: int, after: bytes) -> None:
    parts = [bytes([i % 251]) * size for i, size in enumerate(sizes)]
    data = b"".join(pdu(p, last=i == len(parts) - 1) for i, p in enumerate(parts)) + after
    stream = FilmStream(HEAD, CONTEXT, Buffers())
    admitted: list[int] = []
    fragments = Fragments(stream, admitted.append)
    taken = feed(fragments, data, most)
    assert fragments.complete and fragments.ended
    assert stream.getvalue() == b"".join(parts)
    assert bytes(stream.part10) == HEAD + b"".join(parts)
    assert stream.digest() == "sha256:" + hashlib.sha256(HEAD + b"".join(parts)).hexdigest()
    assert fragments.rest() + data[taken:] == after, "what follows is given back"
    assert admitted == [size + 6 for size in sizes]


@pytest.mark.parametrize(
    "strange",
    [
        b"\7\0\0\0\0\4\0\0\2\0",  # A-ABORT
        pdu(b"a", b"b"),  # two fragments in one PDU
        pdu(b"command", control=1),
        pdu(b"other", context=7),
        b"\4\0\0\0\0\7" + b"\0\0\0\1\5\0x",  # an item without its message control header
        b"\4\0\0\0\0\6" + b"\0\0\xff\xff\5\0",  # an item that is longer than its PDU
        b"GET / HTTP/1.1\r\n",
    ],
)
@pytest.mark.parametrize("most", [1 << 20, 3])
def test_anything_else_is_given_back_untouched(strange: bytes, most: int) -> None:
    stream = FilmStream(HEAD, CONTEXT, Buffers())
    fragments = Fragments(stream, lambda _: None)
    data = pdu(b"first") + strange
    taken = feed(fragments, data, most)
    assert fragments.ended and not fragments.complete
    assert stream.getvalue() == b"first"
    assert fragments.rest() + data[taken:] == strange


def test_bounds_are_asked_before_anything_is_taken() -> None:
    def refuse(length: int) -> None:
        raise OSError("a PDU is larger than the limit")

    stream = FilmStream(HEAD, CONTEXT, Buffers())
    with pytest.raises(OSError, match="limit"):
        feed(Fragments(stream, refuse), pdu(b"x" * 100), 50)
    assert stream.getvalue() == b""


def test_pynetdicom_may_write_to_it() -> None:
    stream = FilmStream(HEAD, CONTEXT, Buffers())
    assert stream.write(b"abc") == 3 and stream.write(b"") == 0
    assert stream.getvalue() == b"abc"


def test_a_film_sees_nothing_of_the_one_before() -> None:
    buffers = Buffers()
    first = FilmStream(HEAD, CONTEXT, buffers)
    first.write(b"secret" * 2_000_000)  # the buffer grows
    memory = first._buffer
    first.release()
    second = FilmStream(HEAD, CONTEXT, buffers)
    assert second._buffer is memory, "used again"
    second.write(b"x")
    assert bytes(second.part10) == HEAD + b"x" and second.getvalue() == b"x"
    third = FilmStream(HEAD, CONTEXT, buffers)
    assert third._buffer is not memory, "never by two at a time"
    assert second.digest() == "sha256:" + hashlib.sha256(HEAD + b"x").hexdigest()


def test_idle_memory_is_bounded() -> None:
    buffers = Buffers(kept_bytes=3 * film_stream.FIRST_BYTES)
    streams = [FilmStream(HEAD, CONTEXT, buffers) for _ in range(5)]
    for stream in streams:
        stream.release()
    assert sum(map(len, buffers._spare)) == 3 * film_stream.FIRST_BYTES


def test_many_films_at_a_time_are_hashed_right() -> None:
    """More films than threads that hash: some are hashed by those who receive them."""
    buffers, begin = Buffers(), threading.Barrier(12)

    def receive(seed: int) -> bool:
        parts = [bytes([seed]) * (700_000 + seed), bytes([seed + 1]) * 900_000, b"end"]
        stream = FilmStream(HEAD, CONTEXT, buffers)
        begin.wait(60)
        for part in parts:
            stream.write(part)
        expected = hashlib.sha256(HEAD + b"".join(parts)).hexdigest()
        same = stream.digest() == f"sha256:{expected}"
        stream.release()
        return same

    with ThreadPoolExecutor(12) as pool:
        for _ in range(4):
            assert all(pool.map(receive, range(12)))
