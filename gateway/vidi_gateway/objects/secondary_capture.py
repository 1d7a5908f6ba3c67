"""Secondary Capture (PS3.3 A.8): the film and its maps as one RGB picture, which every viewer shows."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from vidi.imaging import overlay
from vidi_gateway.objects import codes, common
from vidi_gateway.objects.common import Film

_SERIES = common.FIRST_SERIES_NUMBER + 1
RGB = npt.NDArray[np.uint8]


def picture(film: Film, pixels: npt.NDArray[np.float32]) -> RGB:
    """Compose the picture (rows, columns, 3), uint8: the film, favorable and glum overlay of every class, and a legend.

    No value of the header stands in it.
    """
    outcome, model = film.outcome, film.outcome.model
    return overlay.compose(
        pixels,
        [(codes.printable(c.name), c.probability, c.map) for c in outcome.classes],
        scale=model.map_scale,
        grid_to_film=outcome.map_to_film,
        title=_title(film),
        watermark=_watermark(film),
        side_labels=_sides(film.orientation),
        calibrated=model.calibrated,
    )


def build(film: Film, rgb: RGB) -> Dataset:
    """Wrap the picture in a Secondary Capture."""
    digest = hashlib.sha256(rgb.tobytes()).hexdigest()
    title = "ViDi overlay, not for diagnosis"
    ds = common.new_object(film, SecondaryCaptureImageStorage, "sc", (digest,), "OT", _SERIES, title)
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.BurnedInAnnotation = "NO"
    ds.update(film.lossy)
    ds.PatientOrientation = list(film.orientation) if film.orientation else ""
    ds.BodyPartExamined = "CHEST"
    ds.ImageComments = common.NOT_FOR_DIAGNOSIS
    ds.DerivationDescription = codes.short(
        f"Display layer: {overlay.RECIPE}. The exact maps are in the Parametric Maps.", 1024
    )
    ds.DerivationCodeSequence = [codes.DEEP_SHAP]
    if film.source.referable:
        item = film.source.reference()
        item.PurposeOfReferenceCodeSequence = [codes.SOURCE_IMAGE_FOR_PROCESSING]
        ds.SourceImageSequence = [item]
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = rgb.shape[:2]
    ds.BitsAllocated = 8
    ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    data = rgb.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    return ds


def _title(film: Film) -> list[str]:
    outcome, model = film.outcome, film.outcome.model
    top = outcome.favoured
    calibration = "calibrated" if model.calibrated else "not calibrated"
    lines = [
        f"ViDi {film.options.software_version}, model {model.name} {model.version}, {model.digest[:19]}",
        f"Model favours its class '{top.name}': {top.probability:.2f} ({calibration})",
    ]
    if model.content_qualification.upper() != "PRODUCT":
        lines.append("RESEARCH: not cleared for clinical use.")
    lines += [f"{n.code}: {n.message}" for n in outcome.notes]
    return [codes.printable(line) for line in lines]


def _watermark(film: Film) -> str:
    """Return what must be seen across the picture: that the film is outside the intended use."""
    return "OUTSIDE INTENDED USE" if film.outcome.out_of_population else ""


def _sides(orientation: tuple[str, str] | None) -> tuple[str, str]:
    """Return what the picture's left and right are: the patient's sides where the header says so, else the image's."""
    if orientation is not None and orientation[0][0] in "RL":
        towards = orientation[0][0]
        return ("R", "L") if towards == "L" else ("L", "R")
    return ("image-left", "image-right")


def png(rgb: RGB) -> bytes:
    """Return the picture as PNG, without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(rgb, mode="RGB").save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
