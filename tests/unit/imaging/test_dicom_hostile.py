from __future__ import annotations

import io
import logging
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import UID

from vidi.errors import UnreadableImage
from vidi.imaging.dicom import decode_dicom, read_header
from vidi.phantoms import PhantomFilm, to_dicom

Edit = Callable[..., bytes]
NAME = "Testpatient^Verysecret"


@pytest.mark.parametrize(
    "data", [b"", b"just a text\n" * 50, bytes(200), b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"x" * 300]
)
def test_other_bytes_are_unreadable(data: bytes) -> None:
    for read in (decode_dicom, read_header):
        with pytest.raises(UnreadableImage) as caught:
            read(data)
        assert caught.value.message


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.5, 0.999])
@pytest.mark.parametrize("quirk", ["plain", "rle", "jpeg_2000", "jpeg_ls"])
def test_truncated_films_are_unreadable(phantom: PhantomFilm, quirk: str, share: float) -> None:
    data = to_dicom(phantom, quirk)
    with pytest.raises(UnreadableImage) as caught:
        decode_dicom(data[: int(len(data) * share)])
    assert "Phantom" not in str(caught.value)


def test_deflated_is_refused_before_it_is_inflated(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = dcmread(io.BytesIO(plain))
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)

    def inflate(*args: object, **kwargs: object) -> bytes:
        raise AssertionError("inflated")

    monkeypatch.setattr(zlib, "decompress", inflate)
    monkeypatch.setattr(zlib, "decompressobj", inflate)
    for read in (decode_dicom, read_header):
        with pytest.raises(UnreadableImage) as caught:
            read(out.getvalue())
        assert caught.value.reason == "UNSUPPORTED_TRANSFER_SYNTAX"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.3.4.5", ""])
def test_other_transfer_syntaxes_are_refused(plain: bytes, syntax: str) -> None:
    ds = dcmread(io.BytesIO(plain), stop_before_pixels=True)
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=False, implicit_vr=False, little_endian=True)
    with pytest.raises(UnreadableImage):
        decode_dicom(out.getvalue())


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Rows": 65535, "Columns": 65535}, "DIMENSIONS"),
        ({"Rows": 0}, "DIMENSIONS"),
        ({"Columns": 15}, "DIMENSIONS"),
        ({"NumberOfFrames": "2"}, "MULTI_FRAME"),
        ({"NumberOfFrames": "2000000000"}, "MULTI_FRAME"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "PIXEL_FORMAT"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PIXEL_FORMAT"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "PIXEL_FORMAT"),
        ({"BitsAllocated": 1, "BitsStored": 1}, "PIXEL_FORMAT"),
        ({"BitsStored": 0}, "PIXEL_FORMAT"),
        ({"BitsStored": 17}, "PIXEL_FORMAT"),
        ({"Rows": None}, "UNREADABLE_IMAGE"),
        ({"PixelData": None}, "UNREADABLE_IMAGE"),
        ({"PixelData": b"\0" * 64}, "UNREADABLE_IMAGE"),
    ],
)
def test_geometry_is_bounded_before_decoding(edited: Edit, attributes: dict[str, object], reason: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode_dicom(edited(**attributes))
    assert caught.value.reason == reason


@pytest.mark.parametrize("depth", [5, 200, 20000])
def test_deep_nesting_is_unreadable_or_harmless(plain: bytes, depth: int) -> None:
    """Sequences of undefined length, nested thousands deep, end Python's recursion, not the process."""
    opened = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    pixels = plain.index(b"\xe0\x7f\x10\x00OW")
    data = plain[:pixels] + opened * depth + closed * depth + plain[pixels:]
    if depth == 5:
        np.testing.assert_array_equal(decode_dicom(data).pixels, decode_dicom(plain).pixels)
        return
    for read in (decode_dicom, read_header):
        with pytest.raises(UnreadableImage):
            read(data)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_decode_or_are_unreadable(plain: bytes, data: st.DataObject) -> None:
    """Flipped header bytes never raise anything else, and never give pixels out of range."""
    end = len(plain) - 2 * 256 * 224
    spoiled = bytearray(plain)
    for _ in range(data.draw(st.integers(1, 6))):
        spoiled[data.draw(st.integers(128, end))] = data.draw(st.integers(0, 255))
    try:
        film = decode_dicom(bytes(spoiled))
    except UnreadableImage:
        return
    assert np.isfinite(film.pixels).all()
    assert film.pixels.min() >= 0.0
    assert film.pixels.max() <= 1.0


def test_nothing_of_the_patient_is_said(
    plain: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither errors nor pydicom's warnings and logs quote the header, malformed as it is."""
    ds = dcmread(io.BytesIO(plain))
    ds.PatientName = NAME
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    data = out.getvalue().replace(b"20250101", b"Verysec!").replace(b"ISO_IR 192", b"Verysecret")
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as said:
        film = decode_dicom(data)
        str(film.header.get("StudyDate"))
        spoken = [str(w.message) for w in said]
        for cut in (400, 800, 1200, len(data) - 100):
            try:
                decode_dicom(data[:cut])
            except UnreadableImage as error:
                spoken.append(str(error))
    captured = capsys.readouterr()
    everything = "\n".join([*spoken, caplog.text, captured.out, captured.err])
    assert "Verysec" not in everything


@pytest.mark.parametrize("slope", ["1e308", "-1e308", "1e300", "nan", "inf", "-inf", "1e-320"])
@pytest.mark.parametrize("intercept", ["0", "1e308", "-inf", "nan"])
def test_a_rescale_out_of_all_bounds_is_not_applied(phantom: PhantomFilm, slope: str, intercept: str) -> None:
    ds = dcmread(io.BytesIO(to_dicom(phantom)))
    for keyword, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        ds.add_new(keyword, "LO", value)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        film = decode_dicom(out.getvalue())
    assert np.isfinite(film.pixels).all()
    assert film.pixels.std() > 0.01, "the film is still to be seen"
