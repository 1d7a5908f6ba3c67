"""Images as callers have them become messages that the services read back to the same film."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as PilImage

from vidi.client.images import to_image
from vidi.errors import InvalidTensor, NotFound, UnreadableImage
from vidi.imaging.image_proto import grid_source

RNG = np.random.default_rng(5)


def png(array: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    PilImage.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_float_films_are_sent_as_they_are(dtype: str) -> None:
    film = RNG.random((40, 50)).astype(dtype)
    message = to_image(film)
    assert message.WhichOneof("source") == "tensor"
    np.testing.assert_array_equal(grid_source(message), film.astype(np.float32))


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), (">u2", 65535)])
def test_integer_films_lose_nothing(dtype: str, top: int) -> None:
    film = RNG.integers(0, top + 1, (40, 50)).astype(dtype)
    film[0, :2] = 0, top
    back = grid_source(to_image(film))
    np.testing.assert_array_equal(np.round(back.astype(np.float64) * top).astype(np.int64), film)


def test_a_view_of_another_array_is_sent_as_it_looks() -> None:
    film = RNG.random((60, 80)).astype(np.float32)[::2, ::-1]
    np.testing.assert_array_equal(grid_source(to_image(film)), film)


def test_a_float_film_above_a_message_travels_as_16_bit() -> None:
    film = RNG.random((200, 300)).astype(np.float32)
    message = to_image(film, max_bytes=200_000)  # the tensor would have 240,000 bytes
    assert message.WhichOneof("source") == "encoded"
    assert message.ByteSize() < 200_000
    np.testing.assert_allclose(grid_source(message), film, atol=0.5001 / 65535)


def test_files_and_bytes_are_sent_unchanged(tmp_path: Path) -> None:
    data = png(RNG.integers(0, 256, (30, 30), dtype=np.uint8))
    path = tmp_path / "film.png"
    path.write_bytes(data)
    assert to_image(data).encoded == to_image(path).encoded == to_image(str(path)).encoded == data


def test_what_cannot_be_sent_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        to_image(tmp_path / "nowhere.png")
    with pytest.raises(UnreadableImage, match="cannot be read"):
        to_image(tmp_path)
    with pytest.raises(UnreadableImage, match="submit"):
        to_image(b"\0" * 128 + b"DICM" + b"\0" * 10)
    with pytest.raises(UnreadableImage, match="too large"):
        to_image(b"x" * 200_000, max_bytes=100_000)
    with pytest.raises(InvalidTensor, match="two axes"):
        to_image(np.zeros((3, 20, 20), np.float32))
    with pytest.raises(InvalidTensor, match="int64"):
        to_image(np.zeros((20, 20), np.int64))
    with pytest.raises(InvalidTensor, match=r"0\.\.1"):
        to_image(np.full((400, 400), np.nan, np.float32), max_bytes=200_000)
