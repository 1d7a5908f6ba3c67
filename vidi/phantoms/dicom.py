"""Phantoms as DICOM objects, plain and with the quirks that real devices show.

Every quirk names how grey values are stored; a reader that follows the standard shows the same film for all of them,
but for what the quirk itself hides or rounds. `variant` says what it has to show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidi.errors import InvalidInput
from vidi.imaging.dx import Grey, Labels, write_dx
from vidi.phantoms.fields import Field
from vidi.phantoms.film import BITS, PhantomFilm

_TOP = (1 << BITS) - 1
# LINEAR windows map the stored values 0..4095 to 0..1 exactly with these two (PS3.3 C.11.2.1.2.1).
_WINDOW = (2048.0, 4096.0)
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"


@dataclass(frozen=True)
class Variant:
    """A phantom as a quirk stores it.

    Attributes
    ----------
    stored
        Stored values (height, width).
    grey
        How they are meant.
    shown
        float32 (height, width) in 0..1: what a correct reader shows.
    tolerance
        By how much a reader may differ from `shown`, from rounding and lossy compression.
    iod
        "DX", or "CR" for what DX forbids.
    transfer_syntax
        UID.
    """

    stored: npt.NDArray[np.integer]
    grey: Grey
    shown: Field
    tolerance: float = 2e-6
    iod: Literal["DX", "CR"] = "DX"
    transfer_syntax: str = EXPLICIT


def to_dicom(phantom: PhantomFilm, quirk: str = "plain") -> bytes:
    """Write a phantom as a DICOM Part 10 file with Quality Control Subject (0010,0200) YES.

    Parameters
    ----------
    quirk
        One of `QUIRKS`.

    Raises
    ------
    InvalidInput
        When there is no such quirk.
    """
    drawn = variant(phantom, quirk)
    spec = phantom.spec
    key = hashlib.sha256(f"{spec} {quirk}".encode() + phantom.pixels.tobytes()).hexdigest()
    person = np.random.default_rng([0x9E0, spec.seed])
    name = hashlib.sha256(f"{spec.seed}".encode()).hexdigest()[:12].upper()
    labels = Labels(
        patient_id=f"PHANTOM-{name}",
        patient_name=f"Phantom^{name}",
        sex="FM"[int(person.integers(2))],
        age=f"{int(person.integers(20, 86)):03d}Y",
        study_date="20250101",
        study_time="120000",
        study_id="1",
        view="PA",
        study_description="Chest phantom",
        series_description=f"Chest PA, synthetic, {quirk}",
        quality_control=True,
        pixel_spacing=round(360.0 / spec.width, 4),
        comments=f"severity={phantom.severity} extent={phantom.extent:.4f} seed={spec.seed}",
    )
    return write_dx(
        drawn.stored,
        grey=drawn.grey,
        labels=labels,
        uid_seed=key,
        iod=drawn.iod,
        transfer_syntax=drawn.transfer_syntax,
    )


def variant(phantom: PhantomFilm, quirk: str) -> Variant:
    """Return a phantom as a quirk stores it, with what a reader has to show.

    Raises
    ------
    InvalidInput
        When there is no such quirk.
    """
    if quirk not in _VARIANTS:
        raise InvalidInput(f"no quirk named {quirk!r}; there are {', '.join(QUIRKS)}", field="quirk")
    return _VARIANTS[quirk](phantom)


def _plain(p: PhantomFilm) -> Variant:
    return Variant(p.pixels, Grey(windows=(_WINDOW,)), p.grey())


def _transfer(syntax: str) -> Callable[[PhantomFilm], Variant]:
    return lambda p: Variant(p.pixels, Grey(windows=(_WINDOW,)), p.grey(), transfer_syntax=syntax)


def _monochrome1(p: PhantomFilm) -> Variant:
    # x' = 4095 - x moves the centre of a LINEAR window to 4096 - 2048.
    return Variant(_TOP - p.pixels, Grey("MONOCHROME1", windows=(_WINDOW,)), p.grey())


def _monochrome1_bare(p: PhantomFilm) -> Variant:
    grey = Grey("MONOCHROME1", windows=(_WINDOW,), presentation_lut_shape="")
    return Variant(_TOP - p.pixels, grey, p.grey(), iod="CR")


def _no_shape(p: PhantomFilm) -> Variant:
    return Variant(p.pixels, Grey(windows=(_WINDOW,), presentation_lut_shape=""), p.grey(), iod="CR")


def _rescale(p: PhantomFilm) -> Variant:
    # 2 x - 1000 spans -1000..7190.
    return Variant(p.pixels, Grey(rescale=(2.0, -1000.0), windows=((3095.5, 8191.0),)), p.grey(), iod="CR")


def _signed(p: PhantomFilm) -> Variant:
    stored = p.pixels.astype(np.int32) - 2048
    return Variant(stored, Grey(signed=True, windows=((0.0, 4096.0),)), p.grey(), iod="CR")


def _two_windows(p: PhantomFilm) -> Variant:
    return Variant(p.pixels, Grey(windows=(_WINDOW, (1000.0, 500.0))), p.grey())


def _exact(p: PhantomFilm) -> Variant:
    return Variant(p.pixels, Grey(windows=((2047.5, 4095.0),), voi_function="LINEAR_EXACT"), p.grey())


def _sigmoid(p: PhantomFilm) -> Variant:
    """Store the inverse of the sigmoid, so that it shows the film again (but for its open ends)."""
    end, width = 0.001, 18000.0
    shown = np.clip(p.grey().astype(np.float64), end, 1.0 - end)
    stored = np.rint(32768.0 + width / 4.0 * np.log(shown / (1.0 - shown))).astype(np.uint16)
    grey = Grey(bits_stored=16, windows=((32768.0, width),), voi_function="SIGMOID")
    return Variant(stored, grey, shown.astype(np.float32), tolerance=1e-4)


def _voi_lut(p: PhantomFilm) -> Variant:
    """A VOI LUT that inverts a stored gamma, beside a window that is not to be used."""
    table = np.rint((np.arange(_TOP + 1) / _TOP) ** 2 * 65535.0).astype(np.uint16)
    stored = np.rint(np.sqrt(p.grey().astype(np.float64)) * _TOP).astype(np.uint16)
    grey = Grey(windows=((300.0, 200.0),), voi_lut=table, voi_lut_bits=16)
    return Variant(stored, grey, (table[stored] / 65535.0).astype(np.float32))


def _no_window(p: PhantomFilm) -> Variant:
    """Without a VOI transform a reader may stretch to the values that are there: no fixed truth, only its limits."""
    low, high = (float(v) for v in np.quantile(p.grey(), (0.001, 0.999), method="nearest"))
    shown = np.clip((p.grey() - low) / (high - low), 0.0, 1.0)
    return Variant(p.pixels, Grey(), shown.astype(np.float32), tolerance=0.01, iod="CR")


def _bits16(p: PhantomFilm) -> Variant:
    grey = Grey(bits_stored=16, windows=((32760.5, 65521.0),))
    return Variant(p.pixels.astype(np.uint16) * np.uint16(16), grey, p.grey())


def _bits8(p: PhantomFilm) -> Variant:
    stored = np.rint(p.grey() * 255.0).astype(np.uint8)
    return Variant(stored, Grey(bits_stored=8, windows=((128.0, 256.0),)), (stored / 255.0).astype(np.float32))


def _jpeg_baseline(p: PhantomFilm) -> Variant:
    eight = _bits8(p)
    return Variant(eight.stored, eight.grey, eight.shown, tolerance=0.12, transfer_syntax=JPEG_BASELINE)


def _border(p: PhantomFilm) -> npt.NDArray[np.bool_]:
    height, width = p.pixels.shape
    edge = round(0.02 * min(height, width))
    border = np.ones((height, width), bool)
    border[edge : height - edge, edge : width - edge] = False
    return border


def _padding(p: PhantomFilm) -> Variant:
    """A bright padding value in the border, above all film values."""
    border = _border(p)
    stored = np.where(border, np.uint16(8191), p.pixels).astype(np.uint16)
    grey = Grey(bits_stored=13, windows=(_WINDOW,), padding=(8191,))
    return Variant(stored, grey, np.where(border, np.float32(0.0), p.grey()))


def _padding_range(p: PhantomFilm) -> Variant:
    border = _border(p)
    noise = np.random.default_rng(p.spec.seed).integers(5000, 6001, p.pixels.shape)
    grey = Grey("MONOCHROME1", bits_stored=13, windows=(_WINDOW,), padding=(5000, 6000))
    stored = np.where(border, noise, _TOP - p.pixels.astype(np.int64)).astype(np.uint16)
    return Variant(stored, grey, np.where(border, np.float32(0.0), p.grey()))


def _shuttered(kind: str) -> Callable[[PhantomFilm], Variant]:
    def draw(p: PhantomFilm) -> Variant:
        height, width = p.pixels.shape
        rows, columns = np.arange(1, height + 1)[:, None], np.arange(1, width + 1)[None, :]
        top, bottom, left, right = height // 32, height - height // 32, width // 40, width - width // 40
        module: dict[str, object] = {"ShutterShape": kind, "ShutterPresentationValue": 0}
        if kind == "RECTANGULAR":
            module |= {
                "ShutterLeftVerticalEdge": left,
                "ShutterRightVerticalEdge": right,
                "ShutterUpperHorizontalEdge": top,
                "ShutterLowerHorizontalEdge": bottom,
            }
            inside = (rows >= top) & (rows <= bottom) & (columns >= left) & (columns <= right)
        elif kind == "CIRCULAR":
            centre, radius = (height // 2, width // 2), round(0.62 * max(height, width))
            module |= {"CenterOfCircularShutter": list(centre), "RadiusOfCircularShutter": radius}
            inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
        else:
            cut = height // 8
            corners = [
                (top, left + cut),
                (top, right - cut),
                (top + cut, right),
                (bottom, right),
                (bottom, left),
                (top + cut, left),
            ]
            module["VerticesOfThePolygonalShutter"] = [v for corner in corners for v in corner]
            inside = (rows >= top) & (rows <= bottom) & (columns >= left) & (columns <= right)
            inside &= (rows - top) + (columns - left) >= cut
            inside &= (rows - top) + (right - columns) >= cut
        grey = Grey(windows=(_WINDOW,), shutter=module)
        return Variant(p.pixels, grey, np.where(inside, p.grey(), np.float32(0.0)))

    return draw


_VARIANTS: dict[str, Callable[[PhantomFilm], Variant]] = {
    "plain": _plain,
    "monochrome1": _monochrome1,
    "monochrome1_bare": _monochrome1_bare,
    "no_presentation_lut_shape": _no_shape,
    "rescale": _rescale,
    "signed": _signed,
    "two_windows": _two_windows,
    "window_linear_exact": _exact,
    "window_sigmoid": _sigmoid,
    "voi_lut": _voi_lut,
    "no_window": _no_window,
    "bits_16": _bits16,
    "bits_8": _bits8,
    "padding": _padding,
    "padding_range": _padding_range,
    "shutter_rectangular": _shuttered("RECTANGULAR"),
    "shutter_circular": _shuttered("CIRCULAR"),
    "shutter_polygonal": _shuttered("POLYGONAL"),
    "implicit_vr": _transfer(IMPLICIT),
    "rle": _transfer(RLE),
    "jpeg_ls": _transfer(JPEG_LS),
    "jpeg_2000": _transfer(JPEG_2000),
    "jpeg_baseline": _jpeg_baseline,
}
QUIRKS: tuple[str, ...] = tuple(_VARIANTS)
