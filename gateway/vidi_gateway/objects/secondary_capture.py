"""Secondary Capture (PS3.3 A.8): a study's films and their maps as one RGB picture, which every viewer shows.

Every analysed film that no other one repeats is pictured, the latest first, up to `montage.MOST_FILMS`; the others are
named, and so are films without a result. For one film it is that film's picture.
"""

from __future__ import annotations

import hashlib

from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from vidi.imaging import overlay
from vidi.imaging.canvas import RGB
from vidi_gateway.objects import codes, common, statements
from vidi_gateway.objects.film import Film
from vidi_gateway.objects.montage import MOST_FILMS, montage
from vidi_gateway.objects.study import Study

_SERIES = common.FIRST_SERIES_NUMBER + 1


def compose(study: Study, pictures: dict[int, RGB]) -> RGB:
    """Compose the study's picture (rows, columns, 3), uint8. No value of a header stands in it but the view.

    Parameters
    ----------
    pictures
        Pictures of the films that `pictured` names, by the film's number.
    """
    shown = pictured(study)
    head = _head(study)
    remarks: list[str] = []
    for s in statements.of_study(study):
        if s.caption:
            (remarks if s.warnings else head).append(s.caption)
    for exposure in study.exposures:
        captions = [s.caption for s in statements.of_exposure(study, exposure) if s.caption]
        if exposure.repeated_by:
            remarks += [f"Not pictured: {caption}." for caption in captions]
        else:
            subject = study.name(exposure) if len(study.exposures) > 1 else "The film"
            remarks += [f"{subject}: {caption}." for caption in captions]
    omitted = sorted(e.number for e in study.current[MOST_FILMS:])
    if omitted:
        numbers = ", ".join(map(str, omitted))
        remarks.append(f"Not pictured for want of room, see the report: film {numbers}.")
    named = [(study.name(study.exposures[i]), pictures[number]) for i, number in enumerate(shown)]
    return montage(named, [codes.printable(t) for t in head], [codes.printable(t) for t in remarks])


def pictured(study: Study) -> list[int]:
    """Return the numbers of the films that are pictured, in their order."""
    return [e.number for e in study.current[:MOST_FILMS]]


def build(study: Study, rgb: RGB) -> Dataset:
    """Wrap the picture in a Secondary Capture."""
    films = [e.film for e in study.current[:MOST_FILMS]]
    digest = hashlib.sha256(rgb.tobytes()).hexdigest()
    title = "ViDi overlay, not for diagnosis"
    ds = common.new_object(study, SecondaryCaptureImageStorage, "sc", (digest,), "OT", _SERIES, title)
    outcomes = [film.outcome for film in films]
    common.put_provenance(ds, [o.explanation_key for o in outcomes], [o.model.digest for o in outcomes])
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.BurnedInAnnotation = "NO"
    ds.update(_lossy(films))
    orientations = {film.orientation for film in films}
    common_orientation = films[0].orientation if len(orientations) == 1 else None
    ds.PatientOrientation = list(common_orientation) if common_orientation else ""
    ds.BodyPartExamined = "CHEST"
    ds.ImageComments = common.NOT_FOR_DIAGNOSIS
    ds.DerivationDescription = codes.short(
        f"Display layer: {overlay.RECIPE}. The exact maps are in the Parametric Maps.", 1024
    )
    ds.DerivationCodeSequence = [codes.DEEP_SHAP]
    sources = []
    for film in films:
        if film.source.referable:
            item = film.source.reference()
            item.PurposeOfReferenceCodeSequence = [codes.SOURCE_IMAGE_FOR_PROCESSING]
            sources.append(item)
    if sources:
        ds.SourceImageSequence = sources
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


def _head(study: Study) -> list[str]:
    if len(study.exposures) == 1:
        return []
    return [
        f"ViDi {study.options.software_version}: {len(study.exposures)} films of one study, the latest first. "
        "Not for diagnosis. A radiologist decides."
    ]


def _lossy(films: list[Film]) -> Dataset:
    """Return what is said of lossy compression: of the film that lost most."""

    def lost(film: Film) -> tuple[bool, float]:
        ratio = film.lossy.get("LossyImageCompressionRatio", 1.0)
        return film.lossy.LossyImageCompression == "01", float(ratio if isinstance(ratio, str | float) else max(ratio))

    return max(films, key=lost).lossy
