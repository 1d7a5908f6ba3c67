"""Parametric Map (PS3.3 A.75): the exact attributions of one class and sign, one frame of float32.

highdicom's writer needs a source image with a frame of reference, which CR and DX do not have; hence this one. The
frame of reference is synthetic: its origin is the centre of the film's first pixel, x runs along the film's rows
and y along its columns, in mm of the film's pixel spacing (1 mm per pixel where the header has none). It lets a
viewer lay the map out in the film's proportions; it is not a position in the patient.

Stored values are magnitudes in logits, so that viewers show strong as bright: max(map, 0) for favorable, max(-map,
0) for glum; a code says which. Favorable less glum is the explainer's float32 map, bit for bit. The real world
value mapping is the identity: a slope of -1 for glum would say the same, but readers exist (highdicom 0.28) that
cannot apply one to floats.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from highdicom.sr import CodeContentItem, CodedConcept
from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import ParametricMapStorage

from vidi_gateway.objects import codes, common
from vidi_gateway.objects.film import Film
from vidi_gateway.outcome import ClassOutcome

Sign = Literal["favorable", "glum"]
SIGNS: tuple[Sign, Sign] = ("favorable", "glum")
_FIRST_SERIES = common.FIRST_SERIES_NUMBER + 9


def stored_values(attribution: npt.NDArray[np.float32], sign: Sign) -> npt.NDArray[np.float32]:
    """Return what is stored for a sign: magnitudes in logits (height, width), 0 where the sign is the other."""
    part = attribution if sign == "favorable" else -attribution
    return np.where(part > 0, part, np.float32(0)).astype("<f4")


def build(film: Film, outcome: ClassOutcome, sign: Sign) -> Dataset:
    """Build the map of one class and sign."""
    name = codes.printable(outcome.name)
    values = stored_values(outcome.map, sign)
    number = _FIRST_SERIES + 2 * film.outcome.classes.index(outcome) + SIGNS.index(sign)
    title = f"ViDi {codes.short(name, 28)}: {sign} map{_which(film)}"
    ds = common.new_object(
        film, ParametricMapStorage, "pm", (str(outcome.index), outcome.name, sign), "OT", number, title
    )
    common.put_provenance(ds, [film.outcome.explanation_key], [film.outcome.model.digest])
    block = ds.private_block(common.PRIVATE_GROUP, common.PRIVATE_CREATOR)
    block.add_new(common.P_CLASS, "UC", name)
    block.add_new(common.P_SIGN, "CS", sign.upper())
    affine = film.outcome.map_to_film
    block.add_new(common.P_AFFINE, "FD", [affine.a, affine.b, affine.c, affine.d, affine.e, affine.f])
    block.add_new(common.P_GRID, "US", list(film.outcome.grid))

    ds.ImageType = ["DERIVED", "PRIMARY", "OTHER", "NONE"]
    ds.ContentQualification = _qualification(film)
    ds.ContentLabel = content_label(outcome, sign)
    ds.ContentDescription = codes.short(f"{sign.capitalize()} attribution, model class '{name}'")
    ds.ContentCreatorName = "ViDi^^^^"
    ds.update(film.lossy)
    ds.BurnedInAnnotation = "NO"
    ds.RecognizableVisualFeatures = "NO"
    ds.PixelPresentation = "MONOCHROME"
    ds.PresentationLUTShape = "IDENTITY"
    ds.BodyPartExamined = "CHEST"
    ds.AcquisitionContextSequence = []
    ds.FrameOfReferenceUID = film.uid("frame-of-reference")
    ds.PositionReferenceIndicator = ""

    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.NumberOfFrames = 1
    ds.Rows, ds.Columns = values.shape
    ds.BitsAllocated = 32
    ds.FloatPixelData = values.tobytes()

    organization = Dataset()
    organization.DimensionOrganizationUID = film.uid("dimension-organization")
    ds.DimensionOrganizationSequence = [organization]
    index = Dataset()
    index.DimensionOrganizationUID = organization.DimensionOrganizationUID
    index.DimensionIndexPointer = Tag("ImagePositionPatient")
    index.FunctionalGroupPointer = Tag("PlanePositionSequence")
    index.DimensionDescriptionLabel = "Image Position"
    ds.DimensionIndexSequence = [index]
    ds.SharedFunctionalGroupsSequence = [_shared_groups(film, outcome, sign, list(ds.ImageType))]
    ds.PerFrameFunctionalGroupsSequence = [_frame_groups(film)]
    if film.source.referable:
        item = film.source.reference()
        ds.ReferencedSeriesSequence = common.referenced_series(
            [(film.source.series_instance_uid, item)], "ReferencedInstanceSequence"
        )
    return ds


def content_label(outcome: ClassOutcome, sign: Sign) -> str:
    """Return a label of at most 16 characters that names class and sign, such as "PNEUMONIA_FAV"."""
    value = codes.of_class(outcome).value.upper().removeprefix("CLASS_")
    slug = "".join(c if c.isalnum() and c.isascii() else "_" for c in value)
    return slug[:11] + ("_FAV" if sign == "favorable" else "_GLUM")


def _which(film: Film) -> str:
    """Return what tells the film apart from others of its study in a list of series: view and time of exposure."""
    clock = f"{film.acquired[8:10]}:{film.acquired[10:12]}" if film.acquired else ""
    said = " ".join(word for word in (film.view, clock) if word)
    return f", {said}" if said else ""


def _qualification(film: Film) -> str:
    allowed = ("PRODUCT", "RESEARCH", "SERVICE")
    wanted = film.outcome.model.content_qualification.upper()
    return wanted if wanted in allowed else "RESEARCH"


def _shared_groups(film: Film, outcome: ClassOutcome, sign: Sign, image_type: list[str]) -> Dataset:
    row_spacing, column_spacing = film.spacing or (1.0, 1.0)
    affine = film.outcome.map_to_film
    groups = Dataset()

    measures = Dataset()
    measures.PixelSpacing = [
        common.decimal(abs(affine.e) * row_spacing),
        common.decimal(abs(affine.a) * column_spacing),
    ]
    measures.SliceThickness = "1.0"
    groups.PixelMeasuresSequence = [measures]

    orientation = Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    groups.PlaneOrientationSequence = [orientation]

    identity = Dataset()
    identity.RescaleIntercept = "0"
    identity.RescaleSlope = "1"
    identity.RescaleType = "US"
    groups.PixelValueTransformationSequence = [identity]

    window = Dataset()
    top = _display_scale(film)
    window.WindowCenter = common.decimal(top / 2)
    window.WindowWidth = common.decimal(top)
    window.VOILUTFunction = "LINEAR_EXACT"
    window.WindowCenterWidthExplanation = "0 to the scale that all maps of the film share"
    groups.FrameVOILUTSequence = [window]

    frame_type = Dataset()
    frame_type.FrameType = image_type
    groups.ParametricMapFrameTypeSequence = [frame_type]
    groups.RealWorldValueMappingSequence = [_real_world_values(outcome, sign)]
    return groups


def _frame_groups(film: Film) -> Dataset:
    row_spacing, column_spacing = film.spacing or (1.0, 1.0)
    groups = Dataset()
    content = Dataset()
    content.DimensionIndexValues = [1]
    groups.FrameContentSequence = [content]
    position = Dataset()
    affine = film.outcome.map_to_film
    position.ImagePositionPatient = [
        common.decimal(affine.c * column_spacing),
        common.decimal(affine.f * row_spacing),
        "0.0",
    ]
    groups.PlanePositionSequence = [position]
    derivation = Dataset()
    derivation.DerivationDescription = _derivation(film)
    derivation.DerivationCodeSequence = [codes.DEEP_SHAP]
    derivation.SourceImageSequence = []
    if film.source.referable:
        item = film.source.reference()
        item.PurposeOfReferenceCodeSequence = [codes.SOURCE_IMAGE_FOR_PROCESSING]
        derivation.SourceImageSequence = [item]
    groups.DerivationImageSequence = [derivation]
    return groups


def _real_world_values(outcome: ClassOutcome, sign: Sign) -> Dataset:
    mapping = Dataset()
    mapping.LUTLabel = sign.upper()
    mapping.LUTExplanation = f"Magnitude of {sign} attribution per pixel, in logits"
    mapping.RealWorldValueIntercept = 0.0
    mapping.RealWorldValueSlope = 1.0
    mapping.DoubleFloatRealWorldValueFirstValueMapped = 0.0
    mapping.DoubleFloatRealWorldValueLastValueMapped = float(max(stored_values(outcome.map, sign).max(), 0.0))
    mapping.MeasurementUnitsCodeSequence = [codes.LOGIT_UNIT]
    definitions: tuple[tuple[CodedConcept, CodedConcept], ...] = (
        (codes.QUANTITY, codes.SALIENCY),
        (codes.SIGN, codes.FAVORABLE if sign == "favorable" else codes.GLUM),
        (codes.MODEL_CLASS, codes.of_class(outcome)),
    )
    mapping.QuantityDefinitionSequence = [CodeContentItem(name=name, value=value) for name, value in definitions]
    return mapping


def _display_scale(film: Film) -> float:
    """Return the upper end of the display window: fixed by the model, else shared by all maps of the film."""
    if film.outcome.model.map_scale > 0:
        return film.outcome.model.map_scale
    return max(float(max(np.abs(c.map).max() for c in film.outcome.classes)), 1e-6)


def _derivation(film: Film) -> str:
    """Return how the map was made and where its pixels lie on the film (VR ST, at most 1024 characters)."""
    outcome, affine = film.outcome, film.outcome.map_to_film
    height, width = outcome.grid
    text = (
        f"DeepSHAP ({outcome.engine} {outcome.engine_version}, {outcome.precision}) of {outcome.model.name} "
        f"{outcome.model.version}, target {outcome.target}, {outcome.references} references. "
        f"The model saw {width} x {height} pixels (columns x rows); values are exact magnitudes, unsmoothed. "
        f"Map pixel (x = column, y = row, from 0, pixel centres) to film pixel: "
        f"x' = {affine.a:.9g} x + {affine.b:.9g} y + {affine.c:.9g}, "
        f"y' = {affine.d:.9g} x + {affine.e:.9g} y + {affine.f:.9g}. "
        "The frame of reference is a display aid, not a position in the patient. " + common.NOT_FOR_DIAGNOSIS
    )
    return codes.short(codes.printable(text), 1024)
