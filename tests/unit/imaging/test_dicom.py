from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from vidi.imaging.dicom import decode_dicom, read_header
from vidi.imaging.dx import Grey, Labels, write_dx
from vidi.imaging.preprocess import Preprocessing
from vidi.phantoms import QUIRKS, PhantomFilm, to_dicom, variant

Edit = Callable[..., bytes]
ANYONE = Labels("P1", quality_control=True)
NEUTRAL = (
    "monochrome1",
    "monochrome1_bare",
    "no_presentation_lut_shape",
    "rescale",
    "signed",
    "two_windows",
    "window_linear_exact",
    "bits_16",
    "implicit_vr",
    "rle",
    "jpeg_ls",
    "jpeg_2000",
)


@pytest.mark.parametrize("quirk", QUIRKS)
def test_every_quirk_shows_what_it_should(phantom: PhantomFilm, quirk: str) -> None:
    wanted = variant(phantom, quirk)
    film = decode_dicom(to_dicom(phantom, quirk))
    assert film.pixels.dtype == np.float32
    assert float(np.abs(film.pixels - wanted.shown).max()) <= wanted.tolerance
    assert film.bits == wanted.grey.bits_stored


@pytest.mark.parametrize("quirk", NEUTRAL)
def test_neutral_quirks_are_identical_to_the_plain_film(phantom: PhantomFilm, plain: bytes, quirk: str) -> None:
    np.testing.assert_array_equal(decode_dicom(to_dicom(phantom, quirk)).pixels, decode_dicom(plain).pixels)


@pytest.mark.parametrize("centre", [1843.7, 1843.3, 2000.0, 2048.5])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_monochrome_twins_are_identical(phantom: PhantomFilm, centre: float, function: str) -> None:
    # x' = 4095 - x moves the centre; LINEAR places it half a value off (PS3.3 C.11.2.1.2.1).
    mirrored = (4096.0 if function == "LINEAR" else 4095.0) - centre
    two = Grey(windows=((centre, 1234.5),), voi_function=function)
    one = Grey("MONOCHROME1", windows=((round(mirrored, 4), 1234.5),), voi_function=function)
    a = decode_dicom(write_dx(phantom.pixels, grey=two, labels=ANYONE, uid_seed="a"))
    b = decode_dicom(write_dx(4095 - phantom.pixels, grey=one, labels=ANYONE, uid_seed="b"))
    np.testing.assert_array_equal(a.pixels, b.pixels)


def test_twins_without_a_window_are_identical(phantom: PhantomFilm) -> None:
    a = write_dx(phantom.pixels, grey=Grey(), labels=ANYONE, uid_seed="a", iod="CR")
    b = write_dx(4095 - phantom.pixels, grey=Grey("MONOCHROME1"), labels=ANYONE, uid_seed="b", iod="CR")
    np.testing.assert_array_equal(decode_dicom(a).pixels, decode_dicom(b).pixels)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
    ],
)
def test_presentation(edited: Edit, plain: bytes, photometric: str, shape: str | None, inverted: bool) -> None:
    film = decode_dicom(edited(PhotometricInterpretation=photometric, PresentationLUTShape=shape))
    upright = decode_dicom(plain).pixels
    np.testing.assert_allclose(film.pixels, 1.0 - upright if inverted else upright, atol=2e-7)
    contradiction = shape is not None and (shape == "INVERSE") != (photometric == "MONOCHROME1")
    assert ("PRESENTATION_CONFLICT" in {n.code for n in film.notes}) == contradiction


def test_the_four_encodings_of_a_real_film(real_film: Callable[[str], bytes]) -> None:
    films = {n: decode_dicom(real_film(f"RG1_{n}.dcm")) for n in ("UNCR", "UNCI", "J2KR", "J2KI")}
    grids = {n: Preprocessing().to_grid(film.pixels)[0] for n, film in films.items()}
    assert films["UNCR"].pixels.shape == (1955, 1841)
    np.testing.assert_array_equal(films["UNCR"].pixels, films["J2KR"].pixels)
    assert films["UNCR"].pixel_digest == films["J2KR"].pixel_digest
    # UNCI is what the lossy J2KI decompresses to; both differ from the original by the compression.
    assert float(np.abs(grids["UNCR"] - grids["J2KI"]).max()) < 2e-3
    assert float(np.abs(grids["UNCR"] - grids["UNCI"]).max()) < 2e-3
    assert films["UNCR"].pixel_digest != films["J2KI"].pixel_digest


def test_digest_follows_pixels_not_their_encoding(phantom: PhantomFilm, plain: bytes, edited: Edit) -> None:
    digest = decode_dicom(plain).pixel_digest
    assert digest.startswith("sha256:")
    for quirk in ("rle", "jpeg_ls", "jpeg_2000", "implicit_vr"):
        assert decode_dicom(to_dicom(phantom, quirk)).pixel_digest == digest
    assert decode_dicom(edited(PatientName="Other^Name", WindowWidth="3000")).pixel_digest == digest
    assert decode_dicom(edited(PhotometricInterpretation="MONOCHROME1")).pixel_digest != digest
    raw = bytearray(dcmread(io.BytesIO(plain)).PixelData)
    raw[1000] ^= 1
    assert decode_dicom(edited(PixelData=bytes(raw))).pixel_digest != digest


def test_header_comes_without_pixels(plain: bytes) -> None:
    film = decode_dicom(plain)
    assert "PixelData" not in film.header
    assert film.header.QualityControlSubject == "YES"
    assert read_header(plain) == film.header
    assert "PatientName" not in repr(film)


def test_padding_is_black_and_invalid(phantom: PhantomFilm) -> None:
    film = decode_dicom(to_dicom(phantom, "padding_range"))
    assert film.valid is not None
    assert not film.valid[0].any()
    assert film.valid[128, 100]
    assert film.pixels[~film.valid].max() == 0.0


def test_padding_does_not_bend_the_range(phantom: PhantomFilm) -> None:
    """Without a window the range comes from valid pixels only."""
    stored = phantom.pixels.copy()
    stored[:30] = 60000
    padded = Grey(bits_stored=16, padding=(60000,))
    film = decode_dicom(write_dx(stored, grey=padded, labels=ANYONE, uid_seed="a", iod="CR"))
    bare = decode_dicom(write_dx(phantom.pixels[30:], grey=Grey(), labels=ANYONE, uid_seed="b", iod="CR"))
    np.testing.assert_array_equal(film.pixels[30:], bare.pixels)


def test_everything_padding_is_not_believed(phantom: PhantomFilm, plain: bytes) -> None:
    grey = Grey(windows=((2048.0, 4096.0),), padding=(0, 4095))
    film = decode_dicom(write_dx(phantom.pixels, grey=grey, labels=ANYONE, uid_seed="a"))
    assert "PADDING_IGNORED" in {n.code for n in film.notes}
    np.testing.assert_array_equal(film.pixels, decode_dicom(plain).pixels)


@pytest.mark.parametrize("quirk", ["padding", "padding_range", "voi_lut", "signed", "shutter_polygonal"])
def test_implicit_vr_says_the_same(phantom: PhantomFilm, quirk: str) -> None:
    """Implicit files leave the type of padding and tables to the reader."""
    wanted = variant(phantom, quirk)
    syntax = "1.2.840.10008.1.2"
    data = write_dx(
        wanted.stored, grey=wanted.grey, labels=ANYONE, uid_seed="a", iod=wanted.iod, transfer_syntax=syntax
    )
    assert float(np.abs(decode_dicom(data).pixels - wanted.shown).max()) <= wanted.tolerance


def test_signed_padding(phantom: PhantomFilm) -> None:
    stored = phantom.pixels.astype(np.int32) - 2048
    stored[:30] = -2048
    grey = Grey(signed=True, windows=((0.0, 4096.0),), padding=(-2048,))
    film = decode_dicom(write_dx(stored, grey=grey, labels=ANYONE, uid_seed="a", iod="CR"))
    assert film.valid is not None
    assert not film.valid[:30].any()
    np.testing.assert_array_equal(film.valid[30:], phantom.pixels[30:] > 0)


def test_shutters_intersect(edited: Edit) -> None:
    film = decode_dicom(
        edited(
            ShutterShape=["RECTANGULAR", "CIRCULAR"],
            ShutterLeftVerticalEdge=1,
            ShutterRightVerticalEdge=112,
            ShutterUpperHorizontalEdge=1,
            ShutterLowerHorizontalEdge=256,
            CenterOfCircularShutter=[128, 112],
            RadiusOfCircularShutter=60,
        )
    )
    assert film.valid is not None
    assert film.valid[127, 111]
    assert film.valid[127, 52]
    assert not film.valid[127, 113]  # right of the rectangle
    assert not film.valid[127, 45]  # outside the circle


@pytest.mark.parametrize(
    "module",
    [
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [1, 1], "RadiusOfCircularShutter": 1},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1]},
        {"ShutterShape": "STAR"},
        {"ShutterShape": "RECTANGULAR"},
    ],
)
def test_a_senseless_shutter_is_passed_over(edited: Edit, plain: bytes, module: dict[str, object]) -> None:
    film = decode_dicom(edited(**module))
    assert "SHUTTER_IGNORED" in {n.code for n in film.notes}
    np.testing.assert_array_equal(film.pixels, decode_dicom(plain).pixels)


def test_high_bit_at_the_top_of_the_cell(phantom: PhantomFilm, plain: bytes, edited: Edit) -> None:
    """12 bits in the upper end of 16, with overlay rubbish below."""
    cells = (phantom.pixels.astype(np.uint16) << 4) | 0x5
    film = decode_dicom(edited(HighBit=15, PixelData=cells.tobytes()))
    np.testing.assert_array_equal(film.pixels, decode_dicom(plain).pixels)


def test_a_wrong_high_bit_is_recognised(plain: bytes, edited: Edit) -> None:
    np.testing.assert_array_equal(decode_dicom(edited(HighBit=15)).pixels, decode_dicom(plain).pixels)


def test_unused_bits_are_dropped(phantom: PhantomFilm, plain: bytes, edited: Edit) -> None:
    cells = phantom.pixels.astype(np.uint16) | 0xA000
    np.testing.assert_array_equal(decode_dicom(edited(PixelData=cells.tobytes())).pixels, decode_dicom(plain).pixels)


def test_a_window_that_shows_nothing_is_passed_over(edited: Edit) -> None:
    film = decode_dicom(edited(WindowCenter="30000", WindowWidth="20"))
    assert "WINDOW_IGNORED" in {n.code for n in film.notes}
    assert float(film.pixels.std()) > 0.1


def test_a_slope_of_0_is_passed_over(edited: Edit, plain: bytes) -> None:
    film = decode_dicom(edited(RescaleSlope="0"))
    assert "RESCALE_IGNORED" in {n.code for n in film.notes}
    np.testing.assert_array_equal(film.pixels, decode_dicom(plain).pixels)


def test_modality_lut_comes_before_the_window(phantom: PhantomFilm, edited: Edit, plain: bytes) -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [4096, 0, 16])
    lut.add_new("LUTData", "OW", (4095 - np.arange(4096)).astype("<u2").tobytes())
    lut.ModalityLUTType = "US"
    film = decode_dicom(edited(ModalityLUTSequence=[lut], RescaleSlope=None, RescaleIntercept=None, RescaleType=None))
    np.testing.assert_allclose(film.pixels, 1.0 - decode_dicom(plain).pixels, atol=1e-6)


def test_voi_lut_bits_that_the_table_does_not_fill(phantom: PhantomFilm, plain: bytes) -> None:
    """Announced as 16 bits, filled with 12: white is 4095."""
    table = np.arange(4096, dtype=np.uint16)
    grey = Grey(voi_lut=table, voi_lut_bits=16)
    film = decode_dicom(write_dx(phantom.pixels, grey=grey, labels=ANYONE, uid_seed="a"))
    np.testing.assert_allclose(film.pixels, decode_dicom(plain).pixels, atol=2e-6)


def test_other_codecs_decode(real_film: Callable[[str], bytes]) -> None:
    for name in ("JPEG-LL.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm", "MR_small_bigendian.dcm"):
        film = decode_dicom(real_film(name))
        assert film.pixels.min() >= 0.0
        assert film.pixels.max() <= 1.0
        assert film.pixels.std() > 0.01
