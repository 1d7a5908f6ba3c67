from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidi.errors import InvalidInput, UnreadableImage
from vidi.imaging.dicom import decode_dicom
from vidi.imaging.dx import Grey, Labels, uid_from, wrap_image, write_dx
from vidi.imaging.encoded import decode_encoded
from vidi.imaging.gate import check_header

Encode = Callable[..., bytes]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 4096, (200, 160)).astype(np.uint16)
LABELS = Labels("P1", quality_control=True)
WINDOW = Grey(windows=((2048.0, 4096.0),))


def errors(data: bytes, folder: Path) -> list[str]:
    """What dciodvfy calls an error."""
    path = folder / "film.dcm"
    path.write_bytes(data)
    tool = Path(sys.executable).with_name("dciodvfy")
    done = subprocess.run([tool, "-new", path], capture_output=True, text=True, check=False)
    said = (done.stderr + done.stdout).splitlines()
    assert any("Image" in line for line in said), said  # it recognised the object
    return [line for line in said if line.startswith("Error")]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_wrapped_picture_shows_the_same_film(encode: Encode, bits: int, tmp_path: Path) -> None:
    array = RNG.integers(0, 1 << bits, (200, 160)).astype(np.uint8 if bits == 8 else np.uint16)
    picture = encode(array)
    wrapped = wrap_image(picture, name_hint="child.png")
    film = decode_dicom(wrapped)
    np.testing.assert_allclose(film.pixels, decode_encoded(picture), atol=1e-6)
    assert film.bits == bits
    assert film.notes == ()
    assert errors(wrapped, tmp_path) == []


def test_a_wrapped_picture_claims_nothing_that_it_does_not_show(encode: Encode) -> None:
    wrapped = decode_dicom(wrap_image(encode(PIXELS.astype(np.uint8)), name_hint="A\\B\n" + "x" * 99)).header
    assert wrapped.PatientOrientation is None or not wrapped.PatientOrientation
    assert wrapped.ViewPosition == ""
    assert wrapped.PatientBirthDate == ""
    assert wrapped.PatientID.startswith("VIDI-")
    assert len(wrapped.SeriesDescription) <= 64
    assert check_header(wrapped) is None


def test_wrapping_is_a_function_of_the_content(encode: Encode) -> None:
    a, b = encode(PIXELS.astype(np.uint8)), encode(PIXELS.astype(np.uint8)[::-1])
    assert wrap_image(a) == wrap_image(a)
    assert decode_dicom(wrap_image(a)).header.SOPInstanceUID != decode_dicom(wrap_image(b)).header.SOPInstanceUID


def test_what_is_no_picture_is_not_wrapped() -> None:
    with pytest.raises(UnreadableImage):
        wrap_image(b"text")


def test_uids_are_valid_and_told_apart() -> None:
    uid = uid_from("a", "b")
    assert uid.startswith("2.25.")
    assert len(uid) <= 64
    assert uid != uid_from("ab")
    assert uid == uid_from("a", b"b")


@pytest.mark.parametrize(
    ("grey", "labels"),
    [
        (Grey(signed=True, windows=((0.0, 4096.0),)), LABELS),
        (Grey(rescale=(2.0, 0.0), windows=((0.0, 4096.0),)), LABELS),
        (Grey(presentation_lut_shape="", windows=((0.0, 4096.0),)), LABELS),
        (Grey(), LABELS),
        (WINDOW, Labels("P1", orientation=())),
        (WINDOW, Labels("P1", view="")),
        (Grey(bits_stored=8, windows=((128.0, 256.0),)), LABELS),
    ],
)
def test_dx_refuses_what_the_standard_forbids(grey: Grey, labels: Labels) -> None:
    with pytest.raises(InvalidInput):
        write_dx(PIXELS, grey=grey, labels=labels, uid_seed="x")


def test_cr_and_lateral_dx_are_valid(tmp_path: Path) -> None:
    lateral = Labels("P1", view="LL", orientation=("A", "F"))
    assert errors(write_dx(PIXELS, grey=WINDOW, labels=lateral, uid_seed="x"), tmp_path) == []
    bare = Labels("P1", view="", orientation=())
    assert errors(write_dx(PIXELS, grey=Grey(), labels=bare, uid_seed="x", iod="CR"), tmp_path) == []
