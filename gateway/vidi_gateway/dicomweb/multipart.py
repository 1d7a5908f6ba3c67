"""The parts of a multipart/related body (RFC 2387), as they come in, within bounds.

python-multipart finds the boundaries; its parser knows nothing of form fields, only of parts with headers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from vidi.errors import Exhausted, InvalidInput

#: RFC 2046 allows 70 characters; Orthanc's have 73.
MAX_BOUNDARY = 200
MAX_HEADERS = 16
MAX_HEADER_BYTES = 4096
#: Of a part that is too large this much is kept: enough for the header that says which instance it was.
HEAD_BYTES = 1 << 20


@dataclass
class Part:
    """One part. Header names are in lower case. `oversize`: it was larger than allowed, and `data` is its beginning."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    oversize: bool = False

    @property
    def media_type(self) -> str:
        """Media type without parameters, in lower case; "" when the part names none."""
        return media_type(self.headers.get("content-type", ""))[0]


def media_type(value: str) -> tuple[str, dict[str, str]]:
    """Return media type and parameters of a Content-Type value, names in lower case.

    Raises
    ------
    InvalidInput
        It is not plain ASCII.
    """
    if not value.isascii():
        raise InvalidInput("a content type is plain ASCII", field="content-type", reason="MEDIA_TYPE")
    kind, parameters = parse_options_header(value)
    return kind.decode("ascii").strip(), {k.decode("ascii").lower(): v.decode("latin-1") for k, v in parameters.items()}


class Parts:
    """Splits a body that is fed piece by piece.

    Parameters
    ----------
    boundary
        As the Content-Type names it.
    max_part_bytes
        Larger parts are cut off, and say so.
    max_parts
        More parts end the reading.
    max_bytes
        Of the whole body.

    Raises
    ------
    InvalidInput
        MULTIPART: there is no boundary, or a very long one.
    """

    def __init__(self, boundary: str, *, max_part_bytes: int, max_parts: int, max_bytes: int) -> None:
        self._max_part_bytes = max_part_bytes
        self._max_parts = max_parts
        self._max_bytes = max_bytes
        self._size = self._count = 0
        self._ended = False
        self._headers: dict[str, str] = {}
        self._name = self._value = bytearray()
        self._pieces: list[bytes] = []
        self._held = 0
        self._oversize = False
        self._done: list[Part] = []
        if not 1 <= len(boundary) <= MAX_BOUNDARY:
            message = f"a boundary has 1 to {MAX_BOUNDARY} characters"
            raise InvalidInput(message, field="content-type", reason="MULTIPART")
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_begin": self._header,
            "on_header_field": self._field,
            "on_header_value": self._content,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }
        self._parser = _parser(boundary, callbacks)

    def feed(self, data: bytes) -> list[Part]:
        """Read on; return the parts that are complete now.

        Raises
        ------
        InvalidInput
            MULTIPART: this is no multipart body with this boundary.
        Exhausted
            TOO_MANY_PARTS, TOO_LARGE.
        """
        self._size += len(data)
        if self._size > self._max_bytes:
            raise Exhausted("the body is larger than the limit", reason="TOO_LARGE")
        try:
            self._parser.write(data)
        except FormParserError:
            raise InvalidInput("not multipart with this boundary", field="body", reason="MULTIPART") from None
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Say that this was all.

        Raises
        ------
        InvalidInput
            MULTIPART: the closing boundary is missing; the body was cut off.
        """
        if not self._ended:
            raise InvalidInput("the body ends without its closing boundary", field="body", reason="MULTIPART")

    def _begin(self) -> None:
        self._count += 1
        if self._count > self._max_parts:
            raise Exhausted("more parts than the limit", reason="TOO_MANY_PARTS")
        self._headers, self._pieces, self._held, self._oversize = {}, [], 0, False

    def _header(self) -> None:
        self._name, self._value = bytearray(), bytearray()

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _content(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._held += end - start
        if self._oversize:
            return
        if self._held > self._max_part_bytes:
            self._oversize = True
            head = b"".join(self._pieces)[:HEAD_BYTES]
            self._pieces = [(head + data[start:end])[:HEAD_BYTES]]
            return
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        self._done.append(Part(self._headers, b"".join(self._pieces), self._oversize))
        self._pieces = []

    def _all(self) -> None:
        self._ended = True


def _parser(boundary: str, callbacks: dict[str, Callable[..., None]]) -> MultipartParser:
    limits: dict[str, Any] = {"max_header_count": MAX_HEADERS, "max_header_size": MAX_HEADER_BYTES}
    try:
        return MultipartParser(boundary.encode("latin-1"), callbacks, **limits)  # type: ignore[arg-type]
    except (FormParserError, ValueError):
        raise InvalidInput("not a boundary", field="content-type", reason="MULTIPART") from None
