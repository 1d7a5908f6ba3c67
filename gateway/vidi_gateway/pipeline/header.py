"""Reading a film's header without looking at, or copying, its pixels."""

from __future__ import annotations

import io

from pydicom import Dataset, dcmread
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from vidi.errors import UnreadableImage
from vidi_gateway.store.files import Data

#: Nearly all headers end before; a film's few megabytes are copied only where one does not.
_BEGINNING = 64 << 10
#: pydicom goes back to the tag where it stops: at least a tag and a length are left then.
_TAG_AND_LENGTH = 8


def read_header(data: Data) -> Dataset:
    """Read a Part 10 file up to its pixels.

    Raises
    ------
    UnreadableImage
        Not DICOM, damaged, or deflated (which may inflate without bound).
    """
    if len(data) > _BEGINNING:
        stream = io.BytesIO(data[:_BEGINNING])
        try:
            header = _read(stream)
        except UnreadableImage:
            raise
        except Exception:  # noqa: BLE001 - cut off in the middle of something: the whole file says more
            header = None
        if header is not None and stream.tell() <= _BEGINNING - _TAG_AND_LENGTH:
            return header
    try:
        return _read(io.BytesIO(data))
    except UnreadableImage:
        raise
    except Exception:  # noqa: BLE001 - a hostile file may raise anything, and messages quote values
        raise UnreadableImage("not a DICOM Part 10 file, or a damaged one", field="dicom") from None


def _read(stream: io.BytesIO) -> Dataset:
    read_preamble(stream, force=False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise UnreadableImage("deflated transfer syntax is not accepted", field="dicom")
    stream.seek(0)
    return dcmread(stream, stop_before_pixels=True)
