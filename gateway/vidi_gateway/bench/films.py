"""The films that are sent: phantoms, each under UIDs of its own, as the PDUs that carry it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from vidi.phantoms import PhantomSpec, make, to_dicom

CONTEXT_ID = 1


@dataclass(frozen=True)
class Film:
    """One film to be sent.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid
        What it is.
    dataset
        The encoded data set, explicit VR little endian, without file meta information.
    """

    sop_class_uid: str
    sop_instance_uid: str
    dataset: bytes

    def pdus(self, max_pdu_bytes: int) -> bytes:
        """Return the P-DATA-TF PDUs of its C-STORE request (PS3.8 section 9.3.5), none longer than the peer takes.

        Parameters
        ----------
        max_pdu_bytes
            The peer's maximum length; 0: no limit.
        """
        request = C_STORE()
        request.MessageID = 1
        request.AffectedSOPClassUID = self.sop_class_uid
        request.AffectedSOPInstanceUID = self.sop_instance_uid
        request.Priority = 2
        request.DataSet = io.BytesIO(b"\0\0")  # says that there is a data set
        message = C_STORE_RQ()
        message.primitive_to_message(request)
        command = encode(message.command_set, True, True)
        assert command is not None
        parts = [_pdu(command, 0x03)]
        step = (max_pdu_bytes or 1 << 17) - 6
        view = memoryview(self.dataset)
        for start in range(0, len(view), step):
            part = view[start : start + step]
            parts.append(_pdu(part, 0x02 if start + step >= len(view) else 0x00))
        return b"".join(parts)


def _pdu(fragment: bytes | memoryview, control: int) -> bytes:
    """One PDU of one presentation data value, with its message control header (PS3.8 annex E.2)."""
    length = len(fragment) + 2
    head = b"\x04\0" + (length + 4).to_bytes(4, "big") + length.to_bytes(4, "big") + bytes((CONTEXT_ID, control))
    return head + fragment


_TEMPLATES: dict[int, bytes] = {}


def _template(side: int) -> bytes:
    if side not in _TEMPLATES:
        _TEMPLATES[side] = to_dicom(make(PhantomSpec(seed=side, severity="mild", height=side, width=side)))
    return _TEMPLATES[side]


def films(count: int, sides: Sequence[int], run: str) -> Iterator[Film]:
    """Return films that nobody has seen: each is a patient and a study of its own.

    Parameters
    ----------
    count
        How many.
    sides
        Heights, and widths, in pixels: taken in turn.
    run
        Part of all UIDs: films of different runs are different films.
    """
    for index in range(count):
        ds = dcmread(io.BytesIO(_template(sides[index % len(sides)])))
        for number, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")):
            setattr(ds, keyword, _uid(f"{run}/{index}/{number}"))
        ds.PatientID = hashlib.sha256(f"{run}/{index}".encode()).hexdigest()[:16].upper()
        ds.PatientName = f"Phantom^{ds.PatientID}"
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, False
        write_dataset(stream, ds)
        yield Film(str(ds.SOPClassUID), str(ds.SOPInstanceUID), stream.getvalue())


def _uid(text: str) -> UID:
    """A UID in the UUID-derived root (PS3.5 annex B.2)."""
    return UID(f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:15], 'big')}")
