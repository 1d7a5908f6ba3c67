"""DICOM files to grey films.

Order (DICOM PS3.3 C.7.6.3, C.7.6.11, C.11): stored values -> modality LUT -> padding and shutter -> VOI transform ->
presentation inversion -> 0..1. The header is bounded before any pixel is decoded, and the transfer syntax is checked
before anything is inflated: a deflated data set of 261 KB can hold 256 MiB.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from vidi.errors import UnreadableImage
from vidi.imaging import headers
from vidi.imaging.encoded import MAX_SIDE, MIN_SIDE
from vidi.imaging.grayscale import display_table
from vidi.imaging.notes import Note
from vidi.imaging.shutter import padded, shutter

# Decoded natively, or bit-exactly by the installed codecs; deflated and video syntaxes are left out on purpose.
NATIVE_SYNTAXES = (
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian (retired)
    "1.2.840.10008.1.2.5",  # RLE Lossless
)
CODEC_SYNTAXES = (
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline, 8 bit
    "1.2.840.10008.1.2.4.51",  # JPEG Extended, 12 bit
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # High-Throughput JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.202",  # High-Throughput JPEG 2000 RPCL Lossless
    "1.2.840.10008.1.2.4.203",  # High-Throughput JPEG 2000
)
TRANSFER_SYNTAXES = NATIVE_SYNTAXES + CODEC_SYNTAXES
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True)
class Film:
    """A decoded film.

    Attributes
    ----------
    pixels
        float32 (height, width) in 0..1 in display sense: 0 black, 1 white. Padding and everything outside the shutter
        is 0.
    valid
        bool (height, width), False for padding and outside the shutter; None: every pixel is valid.
    header
        The data set without pixel data. Holds patient data: it stays in the gateway.
    bits
        Bits Stored.
    notes
        What had to be decided where the header was silent or wrong.
    pixel_digest
        "sha256:" and hex over rows, columns, photometric interpretation and decoded stored values: the same for a film
        that was sent again in another lossless transfer syntax.
    """

    pixels: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_] | None
    header: Dataset = field(repr=False)
    bits: int
    notes: tuple[Note, ...]
    pixel_digest: str


def transfer_syntax(data: bytes) -> UID:
    """Transfer syntax of a DICOM Part 10 file, from its file meta information alone.

    Raises
    ------
    UnreadableImage
        When this is not a Part 10 file, or ViDi does not decode its transfer syntax (reason
        UNSUPPORTED_TRANSFER_SYNTAX).
    """
    if len(data) < 132 or data[128:132] != b"DICM":
        raise UnreadableImage("not a DICOM file (the DICM prefix is missing)", field="data")
    stream = io.BytesIO(data)
    stream.seek(132)
    try:
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        syntax = headers.text(meta, "TransferSyntaxUID")
    except Exception as error:  # Whatever the parser hits first in damaged bytes.
        raise UnreadableImage("damaged DICOM file: the file meta information cannot be read", field="data") from error
    if not syntax:
        raise UnreadableImage("damaged DICOM file: no transfer syntax", field="data")
    uid = UID(syntax)
    if syntax not in TRANSFER_SYNTAXES:
        name = uid.name if uid.name != syntax else "an unknown one"
        raise UnreadableImage(
            f"the transfer syntax is not accepted ({name}); send an uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000 film",
            field="data",
            reason="UNSUPPORTED_TRANSFER_SYNTAX",
        )
    return uid


def read_header(data: bytes) -> Dataset:
    """Parse a DICOM Part 10 file up to its pixel data; no pixel is decoded.

    Returns
    -------
    The data set, with `file_meta`, without pixel data. Attributes may still be malformed: read them through
    `vidi.imaging.headers`.

    Raises
    ------
    UnreadableImage
        When it is no Part 10 file, its transfer syntax is not accepted, or it cannot be parsed.
    """
    headers.quiet_pydicom()
    transfer_syntax(data)
    return _parse(data, stop_before_pixels=True)


def decode_dicom(data: bytes) -> Film:
    """Decode a single-frame grey DICOM film for display.

    Whether the film is one that ViDi should process (modality, view, population) is not decided here: see
    `vidi.imaging.gate`. Native codecs run on the bytes as they come: for files from elsewhere call this through
    `vidi.imaging.sandbox.DecodeSandbox`.

    Raises
    ------
    UnreadableImage
        When the bytes are not a DICOM film that can be decoded. `reason` tells the cases apart: UNREADABLE_IMAGE,
        UNSUPPORTED_TRANSFER_SYNTAX, MULTI_FRAME, DIMENSIONS, PIXEL_FORMAT.
    """
    headers.quiet_pydicom()
    syntax = transfer_syntax(data)
    ds = _parse(data, stop_before_pixels=False)
    check_geometry(ds)
    stored = _stored_values(ds, syntax)
    header = _without_pixels(ds)
    digest = _digest(header, stored)
    notes: list[Note] = []
    pad, inside = padded(header, stored), shutter(header, stored.shape, notes)
    valid = _combine(pad, inside)
    if valid is not None and not valid.any():
        notes.append(Note("PADDING_IGNORED", "every pixel is declared padding; the padding was not applied"))
        valid = inside
    low, high = int(stored.min()), int(stored.max())
    shown = stored if valid is None else stored[valid]
    counts = np.bincount((shown - low).ravel(), minlength=high - low + 1)
    table, decided = display_table(header, np.arange(low, high + 1, dtype=np.float64), counts)
    pixels = table[stored - low]
    if valid is not None:
        pixels[~valid] = 0.0
    bits = headers.integer(header, "BitsStored") or 16
    return Film(pixels, valid, header, bits, tuple(notes) + decided, digest)


def decode_stored(data: bytes) -> tuple[Dataset, npt.NDArray[np.int32]]:
    """Decode a single-frame grey DICOM film to what its device stored: no transform, no padding, no overlay bits.

    Native codecs run here: call it in a process that may die.

    Returns
    -------
    The data set without pixel data, and the stored values, int32 (rows, columns).

    Raises
    ------
    UnreadableImage
        As `decode_dicom`.
    """
    headers.quiet_pydicom()
    syntax = transfer_syntax(data)
    ds = _parse(data, stop_before_pixels=False)
    check_geometry(ds)
    stored = _stored_values(ds, syntax)
    return _without_pixels(ds), stored


def check_geometry(ds: Dataset) -> None:
    """Bound a film by its header before decoding it.

    Raises
    ------
    UnreadableImage
        Reason MULTI_FRAME, DIMENSIONS (sides of 16 to 8192 pixels) or PIXEL_FORMAT (grey, 8 or 16 bits allocated).
    """
    rows, columns = headers.integer(ds, "Rows"), headers.integer(ds, "Columns")
    if rows is None or columns is None:
        raise UnreadableImage("no image: Rows or Columns is missing", field="data")
    if headers.values(ds, "NumberOfFrames") and headers.integer(ds, "NumberOfFrames") != 1:
        raise UnreadableImage("more than one frame; a film has one", field="data", reason="MULTI_FRAME")
    if not (MIN_SIDE <= rows <= MAX_SIDE and MIN_SIDE <= columns <= MAX_SIDE):
        raise UnreadableImage(
            f"{rows} x {columns} pixels; sides of {MIN_SIDE} to {MAX_SIDE} pixels are accepted",
            field="data",
            reason="DIMENSIONS",
        )
    allocated, bits = (headers.integer(ds, "BitsAllocated"), headers.integer(ds, "BitsStored"))
    grey = headers.code(ds, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
    if not grey or headers.integer(ds, "SamplesPerPixel") != 1:
        raise UnreadableImage("not a grey image (MONOCHROME1 or MONOCHROME2)", field="data", reason="PIXEL_FORMAT")
    signed = headers.integer(ds, "PixelRepresentation")
    if allocated not in (8, 16) or bits is None or not 1 <= bits <= allocated or signed not in (0, 1):
        raise UnreadableImage(
            "pixels must be whole numbers of 8 or 16 bits allocated, with Bits Stored not above that",
            field="data",
            reason="PIXEL_FORMAT",
        )


def _parse(data: bytes, *, stop_before_pixels: bool) -> Dataset:
    try:
        return dcmread(io.BytesIO(data), stop_before_pixels=stop_before_pixels)
    except Exception as error:  # Whatever the parser hits first in damaged bytes, a RecursionError included.
        raise UnreadableImage("damaged DICOM file: it cannot be parsed", field="data") from error


def _without_pixels(ds: Dataset) -> Dataset:
    for keyword in _PIXELS:
        if keyword in ds:
            delattr(ds, keyword)
    return ds


def _stored_values(ds: Dataset, syntax: UID) -> npt.NDArray[np.int32]:
    """Decode the frame to stored values, int32 (rows, columns)."""
    if "PixelData" not in ds:
        raise UnreadableImage("no pixel data: not an image, or truncated", field="data")
    uncoded = syntax in NATIVE_SYNTAXES
    bits = int(ds.BitsStored)
    if uncoded:
        # Whole cells: pydicom would keep the low bits, whatever High Bit says.
        ds.BitsStored = ds.BitsAllocated
    try:
        decoded = pixel_array(ds, raw=True)
    except Exception as error:  # Whatever the codec hits first in damaged pixel data.
        raise UnreadableImage("the pixel data is truncated or damaged", field="data") from error
    finally:
        ds.BitsStored = bits
    if decoded.ndim != 2:
        raise UnreadableImage("the pixel data is not one grey frame", field="data", reason="PIXEL_FORMAT")
    stored = decoded.astype(np.int32)
    return _unused_bits(ds, stored) if uncoded else stored


def _unused_bits(ds: Dataset, cells: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Take Bits Stored bits, ending at High Bit, out of each cell of uncompressed pixel data.

    The rest of a cell may hold overlays (PS3.5 8.1.1, retired) or rubbish. Values that lie at the low end although
    High Bit says otherwise are recognised by never using the high bits.
    """
    allocated, bits = int(ds.BitsAllocated), int(ds.BitsStored)
    if bits == allocated:
        return cells
    raw = cells & ((1 << allocated) - 1)
    high_bit = headers.integer(ds, "HighBit")
    shift = 0 if high_bit is None else min(max(high_bit + 1 - bits, 0), allocated - bits)
    if shift and int(raw.max()) < 1 << bits:
        shift = 0
    values = (raw >> shift) & ((1 << bits) - 1)
    if int(ds.PixelRepresentation) == 1:
        values = np.where(values >= 1 << (bits - 1), values - (1 << bits), values)
    return values.astype(np.int32)


def _digest(ds: Dataset, stored: npt.NDArray[np.int32]) -> str:
    geometry = f"{stored.shape[0]}x{stored.shape[1]} {headers.code(ds, 'PhotometricInterpretation')}\n"
    digest = hashlib.sha256(geometry.encode())
    digest.update(np.ascontiguousarray(stored, "<i4").data)
    return "sha256:" + digest.hexdigest()


def _combine(pad: npt.NDArray[np.bool_] | None, inside: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_] | None:
    if pad is None or not pad.any():
        return inside
    return ~pad if inside is None else inside & ~pad
