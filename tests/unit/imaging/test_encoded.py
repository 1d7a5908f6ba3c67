from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.errors import InvalidInput, InvalidTensor, UnreadableImage
from vidi.imaging.encoded import decode_encoded
from vidi.imaging.image_proto import grid_source

Encode = Callable[..., bytes]
RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (40, 30), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (40, 30)).astype(np.uint16)


def test_8_bit_png_is_divided_by_255(encode: Encode) -> None:
    film = decode_encoded(encode(GREY8))
    assert film.dtype == np.float32
    np.testing.assert_array_equal(film, GREY8.astype(np.float32) / np.float32(255))


def test_16_bit_png_keeps_its_depth(encode: Encode) -> None:
    np.testing.assert_allclose(decode_encoded(encode(GREY16)), GREY16 / 65535.0, atol=1e-7)


def test_grey_stored_as_colour_is_the_same_film(encode: Encode) -> None:
    np.testing.assert_array_equal(decode_encoded(encode(np.stack([GREY8] * 3, -1))), decode_encoded(encode(GREY8)))


def test_colour_becomes_luma(encode: Encode) -> None:
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 255
    assert decode_encoded(encode(red)).mean() == pytest.approx(0.299, abs=0.002)


def test_transparency_lies_on_black(encode: Encode) -> None:
    half = np.stack([np.full((20, 20), 200, np.uint8), np.zeros((20, 20), np.uint8)], -1)
    half[:10, :, 1] = 255
    film = decode_encoded(encode(half))
    assert film[:10].mean() == pytest.approx(200 / 255, abs=0.01)
    assert film[10:].max() == 0.0


def test_exif_orientation_is_applied() -> None:
    array = np.zeros((32, 48), np.uint8)
    array[:, :16] = 255  # stored: bright at the left
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored left edge is the top
    Image.fromarray(array).save(out, "JPEG", exif=exif, quality=95)
    film = decode_encoded(out.getvalue())
    assert film.shape == (48, 32)
    assert film[:14].mean() > 0.9
    assert film[20:].mean() < 0.1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_unreadable(encode: Encode, kind: str, share: float) -> None:
    data = encode(GREY8, kind)
    with pytest.raises(UnreadableImage):
        decode_encoded(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"hello, this is a text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", bytes(4096)])
def test_other_bytes_are_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        decode_encoded(data)


def test_other_formats_are_not_opened(encode: Encode) -> None:
    for kind in ("TIFF", "GIF", "BMP"):
        with pytest.raises(UnreadableImage):
            decode_encoded(encode(GREY8, kind))


@pytest.mark.parametrize("shape", [(15, 400), (400, 15), (8193, 20)])
def test_sides_are_bounded(encode: Encode, shape: tuple[int, int]) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode_encoded(encode(np.zeros(shape, np.uint8)))
    assert caught.value.reason == "DIMENSIONS"


def test_image_message_gives_the_tensor_or_the_file(encode: Encode) -> None:
    film = (GREY8 / 255.0).astype(np.float32)
    data = encode(GREY8)
    np.testing.assert_array_equal(grid_source(common_pb2.Image(tensor=tensors.encode(film))), film)
    np.testing.assert_array_equal(grid_source(common_pb2.Image(encoded=data)), decode_encoded(data))


def test_image_message_may_overshoot_by_rounding_only() -> None:
    film = np.full((16, 16), 1.0 + 5e-7)
    assert grid_source(common_pb2.Image(tensor=tensors.encode(film))).max() == 1.0
    with pytest.raises(InvalidTensor, match=r"0 to 1"):
        grid_source(common_pb2.Image(tensor=tensors.encode(film + 1e-3)))


@pytest.mark.parametrize(
    "array",
    [
        np.full((20, 20), np.nan, np.float32),
        np.full((20, 20), -0.1, np.float32),
        np.zeros((3, 20, 20), np.float32),
        np.zeros((20, 20), np.uint8),
    ],
)
def test_image_message_refuses_other_tensors(array: np.ndarray) -> None:
    with pytest.raises(InvalidTensor):
        grid_source(common_pb2.Image(tensor=tensors.encode(array)))


def test_image_message_needs_a_source_and_a_size() -> None:
    with pytest.raises(InvalidInput):
        grid_source(common_pb2.Image())
    with pytest.raises(UnreadableImage):
        grid_source(common_pb2.Image(tensor=tensors.encode(np.zeros((15, 20), np.float32))))
