"""From stored values to display values: modality LUT, VOI transform, presentation (PS3.3 C.7.6.3, C.11).

Stored values of a film have at most 16 bits, so the whole chain is computed once per possible value and looked up.
Display values are kept centred (-0.5 black, +0.5 white) until the end: then the inversion of MONOCHROME1 is a change of
sign, exact in floating point, and a MONOCHROME1 film comes out identical to its MONOCHROME2 twin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from vidi.imaging import headers
from vidi.imaging.notes import Note

Values = npt.NDArray[np.float64]

# Share of valid pixels left out at either end when a film brings no VOI transform (dead pixels, markers).
TAIL = 0.001
# Display values are rounded to 2**-20, well below 16 bits, so that decimal strings that are not exact in binary
# (window centres such as 1843.7) cannot make twins differ in the last place.
_STEPS = float(1 << 20)
# Modality values beyond this come from a damaged header: sums of them overflow.
_LARGEST = 1e12


@dataclass(frozen=True)
class Lut:
    """A DICOM lookup table: `table[i]` is the output for input `first + i`; ends extend. Outputs have `bits` bits."""

    first: int
    table: Values
    bits: int

    def __call__(self, inputs: Values) -> Values:
        """Look up inputs, rounded to whole numbers."""
        index = np.clip(np.rint(inputs) - self.first, 0, len(self.table) - 1).astype(np.intp)
        return np.asarray(self.table[index], np.float64)


def read_lut(item: Dataset, *, signed_input: bool) -> Lut | None:
    """Read one item of a Modality or VOI LUT Sequence (PS3.3 C.11.1.1.1, C.11.2.1.1); None when it is malformed."""
    descriptor = headers.numbers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    count, first, bits = (int(v) for v in descriptor)
    count = (count & 0xFFFF) or 65536
    # The first value mapped is signed when the input is; writers often store it as unsigned.
    first = first - 65536 if signed_input and first > 32767 else first
    if not 1 <= bits <= 16:
        return None
    raw = headers.value(item, "LUTData")
    if isinstance(raw, bytes):
        packed = len(raw) < 2 * count and len(raw) >= count
        data = np.frombuffer(raw[: len(raw) // 2 * 2] if not packed else raw, "u1" if packed else "<u2").astype(
            np.float64
        )
    else:
        data = np.asarray(headers.numbers(item, "LUTData"), np.float64)
        if bits <= 8 and len(data) < count <= 2 * len(data):  # two 8-bit entries in each 16-bit word
            data = data.astype("<u2").view("u1").astype(np.float64)
    if len(data) < count:
        return None
    data = data[:count]
    used = max(1, math.ceil(math.log2(float(data.max()) + 1.0)))
    # Some writers announce 16 bits and fill 12; then the entries themselves say what white is.
    return Lut(first, data, used if used > bits or (bits == 16 and used <= 12) else bits)


def modality_values(ds: Dataset, stored: Values, notes: list[Note]) -> Values:
    """Apply the Modality LUT Sequence, else rescale slope and intercept, to stored values."""
    for item in headers.items(ds, "ModalityLUTSequence")[:1]:
        lut = read_lut(item, signed_input=bool(stored[0] < 0))
        if lut is not None:
            return lut(stored)
        notes.append(Note("MODALITY_LUT_IGNORED", "the modality lookup table is malformed and was not applied"))
    slope, intercept = (headers.number(ds, "RescaleSlope"), headers.number(ds, "RescaleIntercept"))
    if slope == 0.0:
        notes.append(Note("RESCALE_IGNORED", "a rescale slope of 0 was not applied"))
        return stored
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored * (1.0 if slope is None else slope) + (intercept or 0.0)
    if not np.all(np.abs(values) <= _LARGEST):  # infinite, not a number, or beyond what can be told apart
        notes.append(Note("RESCALE_IGNORED", "a rescale out of all bounds was not applied"))
        return stored
    return values


def window(values: Values, centre: float, width: float, function: str) -> Values:
    """Apply a window (PS3.3 C.11.2.1.2, C.11.2.1.3); returns centred display values in -0.5..0.5.

    Parameters
    ----------
    values
        Modality values.
    centre, width
        Window Center and Window Width; width > 0.
    function
        VOI LUT Function: "LINEAR" (the default of the standard), "LINEAR_EXACT" or "SIGMOID".
    """
    if function == "SIGMOID":
        return np.asarray(0.5 * np.tanh(2.0 * (values - centre) / width), np.float64)
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width, -0.5, 0.5)
    offset = values - (centre - 0.5)
    if width <= 1.0:
        return np.where(offset > 0.0, 0.5, -0.5)
    return np.clip(offset / (width - 1.0), -0.5, 0.5)


def spread(values: Values, counts: npt.NDArray[np.int64]) -> Values:
    """Stretch values linearly between the valid pixels' `TAIL` quantiles; returns centred display values.

    `counts[i]` is the number of valid pixels with modality value `values[i]`.
    """
    order = np.argsort(values, kind="stable")
    ranked, weight = values[order], counts[order]
    tail = TAIL * float(weight.sum())
    below, above = np.cumsum(weight), np.cumsum(weight[::-1])[::-1]
    inside = np.flatnonzero((weight > 0) & (below > tail) & (above > tail))
    if len(inside) == 0:
        return np.zeros_like(values)
    low, high = ranked[inside[0]], ranked[inside[-1]]
    if high <= low:
        return np.zeros_like(values)
    return np.asarray(np.clip((values - (low + high) / 2.0) / (high - low), -0.5, 0.5), np.float64)


def voi_values(ds: Dataset, values: Values, counts: npt.NDArray[np.int64], notes: list[Note]) -> Values:
    """Apply the VOI transform: the LUT sequence, else the first window, else the range of the valid pixels.

    A window that leaves less than 1 % of the valid pixels between black and white shows nothing (typically it was
    written for another bit depth); it is passed over, with a note.
    """
    for item in headers.items(ds, "VOILUTSequence")[:1]:
        lut = read_lut(item, signed_input=bool(values.min() < 0))
        if lut is not None:
            top = float((1 << lut.bits) - 1)
            return (lut(values) - top / 2.0) / top
        notes.append(Note("VOI_LUT_IGNORED", "the VOI lookup table is malformed and was not applied"))
    centres, widths = (headers.numbers(ds, "WindowCenter"), headers.numbers(ds, "WindowWidth"))
    if centres and widths:
        function = headers.code(ds, "VOILUTFunction") or "LINEAR"
        if widths[0] > 0.0:
            shown = window(values, centres[0], widths[0], function)
            grey = float(counts[np.abs(shown) < 0.499].sum())
            if grey >= 0.01 * float(counts.sum()):
                return shown
        notes.append(
            Note("WINDOW_IGNORED", "the window shows nothing of this film; its range of values was used instead")
        )
        return spread(values, counts)
    notes.append(Note("NO_WINDOW", "the film brings no VOI transform; its range of values was used"))
    return spread(values, counts)


def is_inverted(ds: Dataset, notes: list[Note]) -> bool:
    """Whether low values show white.

    Presentation LUT Shape decides where it is present: IDENTITY says that the values are P-values (low is black),
    INVERSE that they are after inversion (PS3.3 C.11.6.1). In a DX object it repeats what the photometric
    interpretation says (C.8.11.3.1.2: INVERSE goes with MONOCHROME1), so the two never add up to a double inversion.
    Without it MONOCHROME1 shows low values white (C.7.6.3.1.2), which is how CR objects come. Where the two contradict
    each other, a note says so.
    """
    monochrome1 = headers.code(ds, "PhotometricInterpretation") == "MONOCHROME1"
    shape = headers.code(ds, "PresentationLUTShape")
    if shape not in ("IDENTITY", "INVERSE"):
        return monochrome1
    inverse = shape == "INVERSE"
    if inverse != monochrome1:
        notes.append(
            Note(
                "PRESENTATION_CONFLICT",
                f"photometric interpretation and presentation LUT shape {shape} contradict each other",
            )
        )
    return inverse


def display_table(
    ds: Dataset, stored: Values, counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], tuple[Note, ...]]:
    """Display value of every possible stored value.

    Parameters
    ----------
    ds
        Header of the film.
    stored
        All possible stored values, ascending.
    counts
        Number of valid pixels that have each of them.

    Returns
    -------
    table
        float32 in 0..1, 0 black, one per stored value.
    notes
        What had to be decided where the header was silent or wrong.
    """
    notes: list[Note] = []
    shown = voi_values(ds, modality_values(ds, stored, notes), counts, notes)
    if is_inverted(ds, notes):
        shown = -shown
    rounded = np.rint(shown * _STEPS) / _STEPS
    return np.clip(rounded + 0.5, 0.0, 1.0).astype(np.float32), tuple(notes)
