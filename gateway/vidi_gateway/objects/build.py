"""All objects of one film, from its header, its picture and its outcome."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from vidi.errors import InvalidInput
from vidi_gateway.objects import common, parametric_map, secondary_capture, structured_report
from vidi_gateway.objects.common import BuildOptions
from vidi_gateway.outcome import FilmOutcome

KINDS = ("sr", "pm", "sc", "png")


@dataclass(frozen=True)
class BuiltObject:
    """One result object, ready to be stored and sent.

    Attributes
    ----------
    kind
        "sr", "pm", "sc" or "png".
    sop_instance_uid
        Its UID; the PNG has that of its Secondary Capture.
    sop_class_uid
        Empty for the PNG.
    data
        A Part 10 file (Explicit VR Little Endian), or a PNG.
    media_type
        "application/dicom" or "image/png".
    class_name, sign
        Of a Parametric Map: its class, and "favorable" or "glum"; empty otherwise.
    """

    kind: str
    sop_instance_uid: str
    sop_class_uid: str
    data: bytes
    media_type: str
    class_name: str = ""
    sign: str = ""


def build_all(
    header: Dataset, film: npt.NDArray[np.floating], outcome: FilmOutcome, options: BuildOptions
) -> list[BuiltObject]:
    """Build a film's result objects. The same arguments always give the same UIDs and bytes.

    Parameters
    ----------
    header
        The film's header. Missing and invalid values are left out or left empty; nothing of it reaches a message.
    film
        Picture of the film (rows, columns) in 0..1 in display sense, 0 black.
    outcome
        What the services said of it.
    options
        What the site decides.

    Returns
    -------
    The objects of `options.kinds`, in the order report, maps by class and sign, Secondary Capture, PNG.

    Raises
    ------
    InvalidInput
        When the picture does not have two axes, or an option is wrong.
    """
    if film.ndim != 2 or 0 in film.shape:
        raise InvalidInput("the picture of a film must have two axes", field="film")
    unknown = sorted(set(options.kinds) - set(KINDS))
    if unknown:
        raise InvalidInput(f"unknown kinds of objects: {', '.join(unknown)}", field="kinds")
    picture = np.ascontiguousarray(film, dtype=np.float32)
    digest = "sha256:" + hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).hexdigest()
    shared = common.film_of(header, digest, (picture.shape[0], picture.shape[1]), outcome, options)

    maps: list[Dataset] = []
    map_objects: list[BuiltObject] = []
    if "pm" in options.kinds:
        for c in outcome.classes:
            for sign in parametric_map.SIGNS:
                maps.append(parametric_map.build(shared, c, sign))
                map_objects.append(_dicom("pm", maps[-1], c.name, sign))
    objects = [_dicom("sr", structured_report.build(shared, maps))] if "sr" in options.kinds else []
    objects += map_objects
    if "sc" in options.kinds or "png" in options.kinds:
        rgb = secondary_capture.picture(shared, picture)
        capture = secondary_capture.build(shared, rgb)
        if "sc" in options.kinds:
            objects.append(_dicom("sc", capture))
        if "png" in options.kinds:
            uid = str(capture.SOPInstanceUID)
            objects.append(BuiltObject("png", uid, "", secondary_capture.png(rgb), "image/png"))
    return objects


def _dicom(kind: str, ds: Dataset, class_name: str = "", sign: str = "") -> BuiltObject:
    data = common.encode(ds)
    return BuiltObject(kind, str(ds.SOPInstanceUID), str(ds.SOPClassUID), data, "application/dicom", class_name, sign)
