"""What goes into the objects of a study, and what comes out."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset

import vidi
from vidi.errors import InvalidInput
from vidi_gateway.objects import source
from vidi_gateway.objects.reasons import RejectionReason
from vidi_gateway.outcome import FilmOutcome

KINDS = ("sr", "pm", "sc", "png")


@dataclass(frozen=True)
class BuildOptions:
    """What the site decides about result objects.

    Attributes
    ----------
    created
        When the objects are made, with a time zone. Journal it once per revision of a study: it stands in the objects
        and goes into their UIDs, so that a retry gives the same bytes.
    kinds
        Which objects are built: "sr", "pm", "sc", "png".
    software_version
        Version that the objects name.
    device_serial
        Serial number of this installation.
    """

    created: datetime
    kinds: tuple[str, ...] = KINDS
    software_version: str = vidi.__version__
    device_serial: str = "VIDI"


@dataclass(frozen=True, eq=False)
class FilmPart:
    """One analysed film of a study.

    Attributes
    ----------
    film_id
        What the gateway calls it; stands in no object.
    header
        Its header. Missing and invalid values are left out or left empty; nothing of it reaches a message.
    film
        Its picture (rows, columns) in 0..1 in display sense, 0 black.
    outcome
        What the services said of it.
    created
        When it was analysed, with a time zone; its maps and its PNG bear this time, whatever happens to the study later
        on. None: `BuildOptions.created`.
    urgency
        0..1, where in the reading order it belongs; None: nothing is said of it.
    urgency_reasons
        Codes, upper case.
    repeated_by
        The film (its `film_id`) whose later exposure of the same view replaces this one; "": none does; None: found out
        from the headers of the parts.
    """

    film_id: str
    header: Dataset
    film: npt.NDArray[np.floating]
    outcome: FilmOutcome
    created: datetime | None = None
    urgency: float | None = None
    urgency_reasons: tuple[str, ...] = ()
    repeated_by: str | None = None


@dataclass(frozen=True)
class NotAnalysed:
    """A film of the study without a result: refused, failed, quarantined or still pending.

    Attributes
    ----------
    film_id
        What the gateway calls it; stands in no object.
    code, message
        Why: a stable code in upper case, and words without patient data.
    sop_class_uid, sop_instance_uid
        Which film; empty where it has no valid ones.
    """

    film_id: str
    code: str
    message: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True)
class Withdrawn:
    """A film of the study whose result was taken back.

    Attributes
    ----------
    film_id
        What the gateway calls it; stands in no object.
    reason
        Why.
    sop_class_uid, sop_instance_uid
        Which film; empty where it has no valid ones.
    """

    film_id: str
    reason: RejectionReason
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True)
class Predecessor:
    """A report that a new one takes the place of (PS3.3 C.17.2, Predecessor Documents Sequence).

    A report that is filed under another patient is not named in this patient's: leave it out.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str

    @classmethod
    def of(cls, report: bytes | Dataset) -> Predecessor:
        """Take the UIDs from a report.

        Raises
        ------
        InvalidInput
            When it cannot be read, or one of its UIDs is missing or invalid.
        """
        ds = dataset_of(report)
        found = cls(
            source.uid(ds, "SOPClassUID"),
            source.uid(ds, "SOPInstanceUID"),
            source.uid(ds, "SeriesInstanceUID"),
            source.study_uid(ds),
        )
        if not all((found.sop_class_uid, found.sop_instance_uid, found.series_instance_uid, found.study_instance_uid)):
            raise InvalidInput("a report without valid UIDs has no successor", field="predecessors")
        return found


@dataclass(frozen=True)
class BuiltObject:
    """One result object, ready to be stored and sent.

    Attributes
    ----------
    kind
        "sr", "pm", "sc", "png" or "ko".
    sop_instance_uid
        Its UID; a PNG has one of its own, though it is no DICOM object.
    sop_class_uid
        Empty for the PNG.
    data
        A Part 10 file (Explicit VR Little Endian), or a PNG.
    media_type
        "application/dicom" or "image/png".
    class_name, sign
        Of a Parametric Map: its class, and "favorable" or "glum"; empty otherwise.
    film_id
        The film that it is about; empty: the study.
    """

    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    data: bytes
    media_type: str
    class_name: str = ""
    sign: str = ""
    film_id: str = ""


def dataset_of(data: bytes | Dataset) -> Dataset:
    """Read a Part 10 file without its pixels.

    Raises
    ------
    InvalidInput
        When it is none.
    """
    if isinstance(data, Dataset):
        return data
    try:
        return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    except Exception:  # noqa: BLE001 - whatever pydicom raises on a damaged file; it may quote patient data
        raise InvalidInput("not a DICOM file") from None
