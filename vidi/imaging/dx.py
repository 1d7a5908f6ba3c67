"""Writing films as DICOM: Digital X-Ray (DX, PS3.3 A.26) or Computed Radiography (CR, A.2), for presentation.

DX is strict about grey values: unsigned, rescale of slope 1 and intercept 0, a VOI transform, a Presentation LUT Shape
that repeats the photometric interpretation (C.8.11.3). CR allows the rest, and real CR devices use it.
Files are deterministic: the same arguments give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from vidi import __version__
from vidi.errors import InvalidInput
from vidi.imaging.encoded import decode_encoded

# 2.25 roots a UID in a UUID (PS3.5 B.2), without a registered root.
IMPLEMENTATION_CLASS_UID = UID("2.25.276390105671402107012380446125914823917")

# CID 4010, DX View.
_VIEW_CODES = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
}


@dataclass(frozen=True)
class Grey:
    """How stored values are meant: everything between a stored value and its display.

    Attributes
    ----------
    photometric
        "MONOCHROME2" (low is black) or "MONOCHROME1" (low is white).
    bits_stored
        1 to 16; 8 bits are allocated up to 8, else 16.
    signed
        Pixel Representation 1 (CR only).
    rescale
        Slope and intercept (CR only unless 1 and 0).
    windows
        Window Center and Window Width, the first is the default.
    voi_function
        "LINEAR", "LINEAR_EXACT" or "SIGMOID".
    voi_lut
        VOI lookup table: outputs of `voi_lut_bits` bits for modality values from `voi_lut_first` on.
    presentation_lut_shape
        None: as the standard pairs it with `photometric`; "": left out (CR only).
    padding
        Pixel Padding Value and, where it is a range, Pixel Padding Range Limit, in stored values.
    shutter
        Attributes of the Display Shutter Module by keyword.
    """

    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2"
    bits_stored: int = 12
    signed: bool = False
    rescale: tuple[float, float] = (1.0, 0.0)
    windows: tuple[tuple[float, float], ...] = ()
    voi_function: str = "LINEAR"
    voi_lut: npt.NDArray[np.uint16] | None = None
    voi_lut_first: int = 0
    voi_lut_bits: int = 16
    presentation_lut_shape: str | None = None
    padding: tuple[int, ...] = ()
    shutter: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """Who and what the film shows.

    Attributes
    ----------
    patient_id, patient_name
        Pseudonyms.
    sex, age, birth_date
        Patient's Sex ("M", "F", "O"), Patient's Age ("047Y"), birth date ("19790101"); "": unknown.
    study_date, study_time
        "20250101", "120000"; "": unknown.
    view
        "PA", "AP", "LL", ...; "": unknown.
    orientation
        Patient Orientation of rows and columns; (): unknown, which only CR can say.
    body_part
        Body Part Examined; "": left out.
    study_description, series_description
        Free text; "": left out.
    quality_control
        Quality Control Subject: a phantom, no patient.
    pixel_spacing
        Imager Pixel Spacing in mm; 0: unknown (DX then says 0.4).
    comments
        Image Comments; "": left out.
    """

    patient_id: str
    patient_name: str = ""
    sex: str = ""
    age: str = ""
    birth_date: str = ""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    accession: str = ""
    view: str = "PA"
    orientation: tuple[str, ...] = ("L", "F")
    body_part: str = "CHEST"
    study_description: str = ""
    series_description: str = ""
    quality_control: bool = False
    pixel_spacing: float = 0.0
    comments: str = ""


def uid_from(*parts: str | bytes) -> str:
    """Derive a UID (2.25 and 128 bits of SHA-256) from its parts; the same parts give the same UID."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"


def wrap_image(data: bytes, *, name_hint: str = "") -> bytes:
    """Wrap a PNG or JPEG film in a DICOM object, so that its results are valid DICOM too.

    The object is a CR: a picture does not say which side is the patient's left, and DX has no way to leave Patient
    Orientation empty. UIDs and the pseudonymous patient ID come from the content: the same picture gives the same
    bytes. The display values equal those of the picture.

    Parameters
    ----------
    data
        The file.
    name_hint
        Series description, for people who look for the film in a viewer. Stays in the object.

    Returns
    -------
    DICOM Part 10 file.

    Raises
    ------
    UnreadableImage
        When the file cannot be read (see `decode_encoded`).
    """
    film = decode_encoded(data)
    eight = np.rint(film * 255.0)
    bits = 8 if bool(np.abs(eight - film * 255.0).max() < 1e-3) else 16
    top = (1 << bits) - 1
    stored = np.rint(film.astype(np.float64) * top).astype(np.uint16)
    key = hashlib.sha256(data).hexdigest()
    labels = Labels(
        patient_id=f"VIDI-{key[:16].upper()}",
        view="",
        orientation=(),
        study_description="Chest film from a picture file",
        series_description=_short(name_hint),
    )
    grey = Grey(bits_stored=bits, windows=(((top + 1) / 2, top + 1),))
    return write_dx(stored, grey=grey, labels=labels, uid_seed=key, iod="CR")


def write_dx(
    pixels: npt.NDArray[np.integer],
    *,
    grey: Grey,
    labels: Labels,
    uid_seed: str,
    iod: Literal["DX", "CR"] = "DX",
    transfer_syntax: str = str(ExplicitVRLittleEndian),
) -> bytes:
    """Write a film as a DICOM Part 10 file.

    Parameters
    ----------
    pixels
        Stored values (rows, columns), within `grey.bits_stored`.
    grey, labels
        See there.
    uid_seed
        What the study, series and instance UIDs are derived from.
    iod
        "DX" or "CR".
    transfer_syntax
        Explicit or Implicit VR Little Endian, RLE Lossless, JPEG-LS Lossless, JPEG 2000 Lossless, or JPEG Baseline
        (8 bit, lossy, quality 95).

    Raises
    ------
    InvalidInput
        When the values do not fit, or DX forbids what is asked for.
    """
    _check(pixels, grey, labels, iod)
    ds = Dataset()
    _patient_and_study(ds, labels, uid_seed)
    _series_and_equipment(ds, labels, uid_seed, iod)
    _image(ds, pixels, grey, labels, uid_seed, iod)
    return _file(ds, pixels, grey, transfer_syntax)


def _check(pixels: npt.NDArray[np.integer], grey: Grey, labels: Labels, iod: str) -> None:
    low, high = (
        (-(1 << (grey.bits_stored - 1)), (1 << (grey.bits_stored - 1)) - 1)
        if grey.signed
        else (0, (1 << grey.bits_stored) - 1)
    )
    if pixels.ndim != 2 or int(pixels.min()) < low or int(pixels.max()) > high:
        raise InvalidInput(f"stored values must be (rows, columns) within {low} to {high}", field="pixels")
    if iod == "CR":
        return
    if labels.view not in _VIEW_CODES:
        raise InvalidInput("DX needs a view position (PA, AP, LL, RL); use CR", field="labels")
    if grey.signed or grey.rescale != (1.0, 0.0) or grey.presentation_lut_shape == "":
        raise InvalidInput(
            "DX stores unsigned values with rescale 1, 0 and a presentation LUT shape; use CR", field="grey"
        )
    if not grey.windows and grey.voi_lut is None:
        raise InvalidInput("DX for presentation needs a window or a VOI LUT; use CR", field="grey")
    if not labels.orientation:
        raise InvalidInput("DX needs Patient Orientation; use CR", field="labels")


def _patient_and_study(ds: Dataset, labels: Labels, seed: str) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = labels.patient_name or f"{labels.patient_id}^"
    ds.PatientID = labels.patient_id
    ds.PatientBirthDate = labels.birth_date
    ds.PatientSex = labels.sex
    if labels.age:
        ds.PatientAge = labels.age
    if labels.quality_control:
        ds.QualityControlSubject = "YES"
    ds.StudyInstanceUID = uid_from("study", seed)
    ds.StudyDate, ds.StudyTime = labels.study_date, labels.study_time
    ds.ReferringPhysicianName = ""
    ds.StudyID, ds.AccessionNumber = labels.study_id, labels.accession
    if labels.study_description:
        ds.StudyDescription = labels.study_description


def _series_and_equipment(ds: Dataset, labels: Labels, seed: str, iod: str) -> None:
    ds.Modality = iod
    ds.SeriesInstanceUID = uid_from("series", seed)
    ds.SeriesNumber = "1"
    if labels.series_description:
        ds.SeriesDescription = labels.series_description
    ds.Manufacturer = "ViDi"
    ds.ManufacturerModelName = "vidi"
    ds.SoftwareVersions = __version__
    if iod == "DX":
        ds.PresentationIntentType = "FOR PRESENTATION"
    ds.BodyPartExamined = labels.body_part
    if iod == "CR":
        ds.ViewPosition = labels.view


def _image(ds: Dataset, pixels: npt.NDArray[np.integer], grey: Grey, labels: Labels, seed: str, iod: str) -> None:
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation if iod == "DX" else ComputedRadiographyImageStorage
    ds.SOPInstanceUID = uid_from("instance", seed)
    ds.InstanceNumber = "1"
    ds.ImageType = ["ORIGINAL" if labels.quality_control or iod == "DX" else "DERIVED", "PRIMARY"]
    ds.ContentDate, ds.ContentTime = labels.study_date, labels.study_time
    ds.PatientOrientation = list(labels.orientation) or ""
    if labels.pixel_spacing:
        ds.ImagerPixelSpacing = [labels.pixel_spacing, labels.pixel_spacing]
    if labels.comments:
        ds.ImageComments = labels.comments
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = grey.photometric
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = 8 if grey.bits_stored <= 8 else 16
    ds.BitsStored, ds.HighBit = grey.bits_stored, grey.bits_stored - 1
    ds.PixelRepresentation = int(grey.signed)
    if iod == "DX":
        _dx_only(ds, grey, labels)
    _grey(ds, grey, iod)


def _dx_only(ds: Dataset, grey: Grey, labels: Labels) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.AcquisitionDate, ds.AcquisitionTime = labels.study_date, labels.study_time
    ds.PixelIntensityRelationship = "LOG"
    # High stored values of MONOCHROME2 stand for dense tissue, few X-rays.
    ds.PixelIntensityRelationshipSign = -1 if grey.photometric == "MONOCHROME2" else 1
    ds.ImageLaterality = "U"
    ds.AnatomicRegionSequence = [_code("816094009", "SCT", "Chest")]
    ds.DetectorType = "DIRECT"
    ds.DetectorConfiguration = "AREA"
    if not labels.pixel_spacing:
        ds.ImagerPixelSpacing = [0.4, 0.4]
    ds.AcquisitionContextSequence = []
    ds.PositionerType = ""
    if labels.view in _VIEW_CODES:
        ds.ViewPosition = labels.view
        ds.ViewCodeSequence = [_code(_VIEW_CODES[labels.view][0], "SCT", _VIEW_CODES[labels.view][1])]


def _grey(ds: Dataset, grey: Grey, iod: str) -> None:
    if iod == "DX" or grey.rescale != (1.0, 0.0):
        ds.RescaleIntercept, ds.RescaleSlope = grey.rescale[1], grey.rescale[0]
        ds.RescaleType = "US"
    if grey.windows:
        ds.WindowCenter = [c for c, _ in grey.windows]
        ds.WindowWidth = [w for _, w in grey.windows]
        if grey.voi_function != "LINEAR":
            ds.VOILUTFunction = grey.voi_function
    if grey.voi_lut is not None:
        lut = Dataset()
        count = 0 if len(grey.voi_lut) == 65536 else len(grey.voi_lut)
        lut.add_new(
            "LUTDescriptor", "SS" if grey.voi_lut_first < 0 else "US", [count, grey.voi_lut_first, grey.voi_lut_bits]
        )
        lut.add_new("LUTData", "OW", grey.voi_lut.astype("<u2").tobytes())
        ds.VOILUTSequence = [lut]
    shape = grey.presentation_lut_shape
    if shape is None:
        shape = "INVERSE" if grey.photometric == "MONOCHROME1" else "IDENTITY"
    if shape:
        ds.PresentationLUTShape = shape
    vr = "SS" if grey.signed else "US"
    if grey.padding:
        ds.add_new("PixelPaddingValue", vr, grey.padding[0])
    if len(grey.padding) > 1:
        ds.add_new("PixelPaddingRangeLimit", vr, grey.padding[1])
    for keyword, value in grey.shutter.items():
        setattr(ds, keyword, value)


def _file(ds: Dataset, pixels: npt.NDArray[np.integer], grey: Grey, syntax: str) -> bytes:
    dtype = ("<i" if grey.signed else "<u") + str(ds.BitsAllocated // 8)
    cells = np.ascontiguousarray(pixels.astype(dtype))
    if grey.signed and grey.bits_stored < 16:
        cells = (cells.view("<u2") & np.uint16((1 << grey.bits_stored) - 1)).astype("<u2")
    raw = cells.tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    ds.file_meta.ImplementationVersionName = "VIDI"
    if syntax == str(JPEGBaseline8Bit):
        _jpeg(ds, cells)
    elif syntax in ("1.2.840.10008.1.2", str(ExplicitVRLittleEndian)):
        ds.file_meta.TransferSyntaxUID = UID(syntax)
    else:
        ds.compress(syntax, generate_instance_uid=False)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _jpeg(ds: Dataset, cells: npt.NDArray[np.integer]) -> None:
    if ds.BitsAllocated != 8:
        raise InvalidInput("JPEG Baseline stores 8 bits", field="transfer_syntax")
    stream = io.BytesIO()
    Image.fromarray(cells).save(stream, "JPEG", quality=95)
    frame = stream.getvalue()
    ds.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    ds["PixelData"].VR = "OB"
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = round(cells.size / len(frame), 2)
    ds.LossyImageCompressionMethod = "ISO_10918_1"
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _short(name: str) -> str:
    """A name that fits a Long String: at most 64 characters, no backslash, no control characters."""
    return "".join(c for c in name if c.isprintable() and c != "\\")[:64].strip()
