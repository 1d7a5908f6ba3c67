"""Which films ViDi processes: frontal chest films for presentation, of the population that a model was made for.

Every film that is not processed gets a coded refusal, so that silence never looks like a negative result. Messages are
written for the people who sent the film and carry no patient data, not even an age.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydicom.dataset import Dataset

from vidi.imaging import headers
from vidi.imaging.encoded import MAX_SIDE, MIN_SIDE
from vidi.imaging.film_statistics import measure
from vidi.imaging.notes import Note, Refusal

if TYPE_CHECKING:
    from vidi.imaging.dicom import Film

_FOR_PROCESSING_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
    "1.2.840.10008.5.1.4.1.1.1.2.1",  # Digital Mammography X-Ray, for processing
    "1.2.840.10008.5.1.4.1.1.1.3.1",  # Digital Intra-Oral X-Ray, for processing
)
# SNOMED CT, and SNOMED RT as older devices write it.
_CHEST_CODES = ("816094009", "51185008", "43799004", "302551006", "T-D3000", "T-D3001", "39607008", "T-28000")
#: Free text that says what a film shows.
DESCRIPTIONS = (
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionDeviceProcessingDescription",
    "PerformedProcedureStepDescription",
    "RequestedProcedureDescription",
    "StudyDescription",
)
_LATERAL_CODES = ("399067008", "399173006", "399198007", "R-102CD", "R-10236", "R-10232", "R-40794")
_FRONTAL_CODES = ("399348003", "272479007", "R-10206", "R-10214")
_LATERAL_VIEWS = ("LL", "RL", "LAT", "LATERAL", "LT LAT", "RT LAT", "LLAT", "RLAT", "LEFT LATERAL", "RIGHT LATERAL")
_OTHER_VIEWS = ("LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBL", "OBLIQUE", "LORDOTIC", "DECUBITUS")
_FRONTAL_VIEWS = ("AP", "PA")
_LATERAL_WORDS = re.compile(r"(?<![A-Z])(LAT|LATERAL|LATERALE|SEITLICH|PROFIL|PERFIL)(?![A-Z])")
_FRONTAL_WORDS = re.compile(r"(?<![A-Z])(P\.?A|A\.?P|FRONTAL|PORTABLE|SUPINE|BEDSIDE|POSTERO\w*|ANTERO\w*)(?![A-Z])")


@dataclass(frozen=True)
class GateRules:
    """What a site lets through.

    Attributes
    ----------
    modalities
        Accepted values of Modality.
    chest_words
        A text with one of these speaks of the chest.
    other_words
        A text with one of these and of `chest_words` speaks of more than the chest ("chest and abdomen").
    accept_unstated_region
        Whether a film is taken whose header names no region at all; the pixel check then decides alone.
    accept_burned_in
        Whether films with Burned In Annotation YES are taken: their pictures would carry what is burned in.
    min_side, max_side
        Bounds of Rows and Columns in pixels.
    """

    modalities: tuple[str, ...] = ("CR", "DX")
    chest_words: tuple[str, ...] = ("CHEST", "THORAX", "THORA", "TORAX", "TÓRAX", "TORACE", "LUNG", "PULMO", "CXR")
    other_words: tuple[str, ...] = ("ABD", "PELV", "SPINE", "NECK", "BABYGRAM", "SHOULDER", "CLAVIC", "STERN", "RIB")
    accept_unstated_region: bool = False
    accept_burned_in: bool = False
    min_side: int = 128
    max_side: int = MAX_SIDE


class IntendedUse(Protocol):
    """What the gate reads of a bundle's intended use: the API's message and the manifest's model both have it."""

    @property
    def modalities(self) -> Any:
        """DICOM modalities."""

    @property
    def views(self) -> Any:
        """View positions."""

    @property
    def subjects(self) -> Any:
        """Which of "patient" and "phantom" the films show."""


def check_header(ds: Dataset, rules: GateRules | None = None) -> Refusal | None:
    """Whether the header is that of a frontal chest film for presentation.

    Missing and malformed attributes never raise; a blank View Position is accepted, since it is blank on many films.

    Returns
    -------
    None to go on, or a refusal: MODALITY, FOR_PROCESSING, PIXEL_FORMAT, MULTI_FRAME, DIMENSIONS, NOT_CHEST,
    VIEW_LATERAL, VIEW_NOT_FRONTAL or BURNED_IN_ANNOTATION.
    """
    rules = rules or GateRules()
    return _modality(ds, rules) or _pixel_format(ds, rules) or _region(ds, rules) or _view(ds) or _burned_in(ds, rules)


def check_population(
    ds: Dataset, intended_use: IntendedUse, mode: Literal["refuse", "mark"] = "refuse"
) -> tuple[Refusal | None, tuple[Note, ...]]:
    """Whether a model was made for this film.

    Parameters
    ----------
    ds
        The film's header.
    intended_use
        `vidi.api.common.v1.IntendedUse` or `vidi.manifest.IntendedUse`; empty lists and unset bounds allow everything.
    mode
        "refuse", or the site's override "mark": process, with a note for the watermark. A patient's film is never
        given to a model that knows phantoms only.

    Returns
    -------
    refusal
        OUT_OF_POPULATION or QUALITY_CONTROL_SUBJECT, or None.
    notes
        OUT_OF_POPULATION (marked), QUALITY_CONTROL_SUBJECT (the film shows a phantom), AGE_UNKNOWN, VIEW_UNKNOWN.
    """
    notes: list[Note] = []
    phantom = headers.code(ds, "QualityControlSubject") == "YES"
    subjects = tuple(intended_use.subjects) or ("patient",)
    if not phantom and "patient" not in subjects:
        return Refusal("OUT_OF_POPULATION", "the model is made for phantoms, and the film shows a patient"), ()
    if phantom:
        notes.append(Note("QUALITY_CONTROL_SUBJECT", "the film shows a phantom, not a patient"))
        if "phantom" not in subjects:
            message = "the film shows a phantom, and the model is made for patients"
            if mode == "refuse":
                return Refusal("QUALITY_CONTROL_SUBJECT", message), tuple(notes)
            notes.append(Note("OUT_OF_POPULATION", message))
    outside = _outside(ds, intended_use, notes)
    if not outside:
        return None, tuple(notes)
    message = f"outside the model's intended use: {'; '.join(outside)}"
    if mode == "refuse":
        return Refusal("OUT_OF_POPULATION", message), tuple(notes)
    return None, (Note("OUT_OF_POPULATION", message), *notes)


def check_pixels(film: Film) -> Refusal | None:
    """Whether the picture is a frontal chest film, the right way round, whatever the header says.

    The limits were set so that 99 % of three public collections of frontal films pass, very ill and badly exposed ones
    among them; they are wide, and a picture that passes is not thereby a chest film. See `film_statistics`.

    Returns
    -------
    None to go on, or the refusal NOT_A_FRONTAL_CHEST_FILM.
    """
    seen = measure(film.pixels)
    if seen.contrast < 0.03 or seen.levels < 32:
        reason = "it is blank or nearly so"
    elif seen.detail < 0.02:
        reason = "it has no detail"
    elif seen.detail > 0.45:
        reason = "it is noise, text or graphics"
    elif seen.resemblance < 0.30 or seen.lead < 0.80:
        reason = "it does not resemble a frontal chest"
    elif seen.upright < -0.05:
        reason = "it resembles a chest that is turned, upside down or inverted"
    else:
        return None
    return Refusal("NOT_A_FRONTAL_CHEST_FILM", f"the picture is not an upright frontal chest film: {reason}")


def age_years(ds: Dataset) -> float | None:
    """Age of the patient when the film was taken, in years, or None when the header does not tell.

    From Patient's Age (PS3.5 6.2, AS), else from the birth date and the date of the acquisition, content or study.
    """
    match = re.fullmatch(r"(\d{1,3})([DWMY])", headers.code(ds, "PatientAge"))
    if match:
        return int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[match[2]]
    born = _date(ds, "PatientBirthDate")
    for keyword in ("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate"):
        taken = _date(ds, keyword)
        if born and taken and 0 <= (taken - born).days <= 130 * 366:
            return (taken - born).days / 365.25
    return None


def _modality(ds: Dataset, rules: GateRules) -> Refusal | None:
    if headers.code(ds, "Modality") not in rules.modalities:
        return Refusal("MODALITY", f"not a film: the modality is none of {', '.join(rules.modalities)}")
    processing = headers.code(ds, "PresentationIntentType") == "FOR PROCESSING"
    if processing or headers.text(ds, "SOPClassUID") in _FOR_PROCESSING_CLASSES:
        return Refusal("FOR_PROCESSING", "raw data of the detector; send the film for presentation")
    return None


def _pixel_format(ds: Dataset, rules: GateRules) -> Refusal | None:
    if headers.code(ds, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        return Refusal("PIXEL_FORMAT", "not a grey image")
    if headers.values(ds, "NumberOfFrames") and headers.integer(ds, "NumberOfFrames") != 1:
        return Refusal("MULTI_FRAME", "more than one frame")
    least = max(rules.min_side, MIN_SIDE)
    for keyword in ("Rows", "Columns"):
        side = headers.integer(ds, keyword)
        if side is None or not least <= side <= rules.max_side:
            return Refusal("DIMENSIONS", f"sides of {least} to {rules.max_side} pixels are accepted")
    return None


def _region(ds: Dataset, rules: GateRules) -> Refusal | None:
    """The most specific statement decides: body part, then coded region, then descriptions from series to study."""
    refusal = Refusal("NOT_CHEST", "the film is not of the chest alone, by its body part, region or description")
    part = headers.code(ds, "BodyPartExamined")
    if part:
        return None if _speaks_of_chest(part, rules) else refusal
    regions = headers.items(ds, "AnatomicRegionSequence")
    if regions:
        chest = any(
            headers.text(item, "CodeValue") in _CHEST_CODES
            or _speaks_of_chest(headers.code(item, "CodeMeaning"), rules)
            for item in regions
        )
        return None if chest else refusal
    texts = [text for text in _descriptions(ds) if text]
    for text in texts:
        if _speaks_of_chest(text, rules):
            return None
        if _has(text, rules.chest_words) or _has(text, rules.other_words):
            return refusal
    if rules.accept_unstated_region:
        return None
    return Refusal("NOT_CHEST", "nothing in the header says that the film is of the chest")


def _speaks_of_chest(text: str, rules: GateRules) -> bool:
    return _has(text, rules.chest_words) and not _has(text, rules.other_words)


def _has(text: str, words: Iterable[str]) -> bool:
    return any(word in text for word in words)


def _descriptions(ds: Dataset) -> list[str]:
    return [headers.code(ds, keyword) for keyword in DESCRIPTIONS]


def _view(ds: Dataset) -> Refusal | None:
    lateral = Refusal("VIEW_LATERAL", "a lateral film; frontal films (PA, AP) are processed")
    other = Refusal("VIEW_NOT_FRONTAL", "an oblique, decubitus or other special view; frontal films are processed")
    position = headers.code(ds, "ViewPosition")
    codes = [
        (headers.text(item, "CodeValue"), headers.code(item, "CodeMeaning"))
        for item in headers.items(ds, "ViewCodeSequence")
    ]
    if position in _LATERAL_VIEWS or any(value in _LATERAL_CODES for value, _ in codes):
        return lateral
    if position in _OTHER_VIEWS or any("OBLIQUE" in meaning or "AXIAL" in meaning for _, meaning in codes):
        return other
    # Rows of a frontal film run from one side of the patient to the other (PS3.3 C.7.6.1.1.1).
    if headers.code(ds, "PatientOrientation")[:1] in ("A", "P"):
        return lateral
    if position in _FRONTAL_VIEWS or any(value in _FRONTAL_CODES for value, _ in codes):
        return None
    if any("LATERAL" in meaning for _, meaning in codes):
        return lateral
    for text in (position, *_descriptions(ds)):
        # "Chest PA and lateral" names the examination, not this film.
        if _LATERAL_WORDS.search(text) and not _FRONTAL_WORDS.search(text):
            return lateral
        if _FRONTAL_WORDS.search(text) and not _LATERAL_WORDS.search(text):
            return None
    return None


def _burned_in(ds: Dataset, rules: GateRules) -> Refusal | None:
    if headers.code(ds, "BurnedInAnnotation") == "YES" and not rules.accept_burned_in:
        return Refusal("BURNED_IN_ANNOTATION", "annotations are burned into the pixels, which may identify the patient")
    return None


def _outside(ds: Dataset, use: IntendedUse, notes: list[Note]) -> list[str]:
    """In which respects the film lies outside a model's use; adds notes on what cannot be told."""
    outside = []
    modalities, views = tuple(use.modalities), tuple(use.views)
    if modalities and headers.code(ds, "Modality") not in modalities:
        outside.append(f"the modality is none of {', '.join(modalities)}")
    position = headers.code(ds, "ViewPosition")
    if views and not position:
        notes.append(Note("VIEW_UNKNOWN", f"the view is not stated; the model is made for {', '.join(views)}"))
    elif views and position not in views:
        outside.append(f"the view is none of {', '.join(views)}")
    low, high = _bound(use, "age_min_years"), _bound(use, "age_max_years")
    if low is None and high is None:
        return outside
    wanted = _age_range(low, high)
    age = age_years(ds)
    if age is None:
        notes.append(Note("AGE_UNKNOWN", f"the patient's age is not known; the model is made for {wanted}"))
    elif (low is not None and age < low) or (high is not None and age >= high + 1.0):
        outside.append(f"the model is made for {wanted}")
    return outside


def _bound(use: Any, name: str) -> float | None:
    """An optional bound; the API's message says by HasField whether it is set."""
    if hasattr(use, "HasField") and not use.HasField(name):
        return None
    bound = getattr(use, name)
    return None if bound is None else float(bound)


def _age_range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"patients of up to {high:g} years"
    return f"patients of {low:g} years and older" if high is None else f"patients of {low:g} to {high:g} years"


def _date(ds: Dataset, keyword: str) -> date | None:
    digits = headers.text(ds, keyword).replace("-", "").replace(".", "")[:8]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None
