"""Image library of a report (PS3.16 TID 1600): the films that it is about."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.sr.codedict import codes as standard
from pydicom.uid import ComputedRadiographyImageStorage

from vidi_gateway.objects import codes
from vidi_gateway.objects.film import Film


def build(films: Sequence[Film]) -> ContainerContentItem | None:
    """Return the library with the films that can be referred to, None when there is none."""
    images = [_image(film) for film in films if film.source.referable]
    if not images:
        return None
    group = ContainerContentItem(name=standard.DCM.ImageLibraryGroup, relationship_type=RelationshipTypeValues.CONTAINS)
    group.ContentSequence = ContentSequence(images)
    library = ContainerContentItem(name=standard.DCM.ImageLibrary, relationship_type=RelationshipTypeValues.CONTAINS)
    library.ContentSequence = ContentSequence([group])
    return library


def _image(film: Film) -> ImageContentItem:
    """Return the entry of a film; what its header does not say is left out."""
    context = RelationshipTypeValues.HAS_ACQ_CONTEXT
    is_cr = film.source.sop_class_uid == ComputedRadiographyImageStorage
    modality = ("CR", "Computed Radiography") if is_cr else ("DX", "Digital Radiography")
    entries: list[ContentItem] = [
        CodeContentItem(
            name=standard.DCM.Modality, value=CodedConcept(modality[0], "DCM", modality[1]), relationship_type=context
        )
    ]
    for name, count in ((standard.DCM.PixelDataRows, film.shape[0]), (standard.DCM.PixelDataColumns, film.shape[1])):
        entries.append(NumContentItem(name=name, value=count, unit=codes.PIXELS, relationship_type=context))
    if film.orientation:
        names = (standard.DCM.PatientOrientationRow, standard.DCM.PatientOrientationColumn)
        for name, direction in zip(names, film.orientation, strict=True):
            entries.append(TextContentItem(name=name, value=direction, relationship_type=context))
    if film.spacing:
        names = (standard.DCM.VerticalPixelSpacing, standard.DCM.HorizontalPixelSpacing)
        for name, spacing in zip(names, film.spacing, strict=True):
            entries.append(
                NumContentItem(name=name, value=spacing, unit=standard.UCUM.Millimeter, relationship_type=context)
            )
    image = ImageContentItem(
        name=codes.SOURCE,
        referenced_sop_class_uid=film.source.sop_class_uid,
        referenced_sop_instance_uid=film.source.sop_instance_uid,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    image.ContentSequence = ContentSequence(entries)
    return image
