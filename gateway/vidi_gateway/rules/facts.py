"""What rules look at: where a film came from, and a few attributes of its header."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset

from vidi.imaging.gate import DESCRIPTIONS, age_years
from vidi_gateway.objects import source as source_of


@dataclass(frozen=True)
class Facts:
    """A film as the rules see it; "" and None stand for what is not known. Holds patient data: an age, free text.

    Attributes
    ----------
    source, calling_ae, host
        How it came: "dimse:AET@host" and its parts, or "http", "api", ...
    called_ae, line
        The AE title that was called, and the model line that the film arrived on.
    modality, sop_class, view, body_part, station, institution, manufacturer, device
        From the header.
    descriptions
        Of series, protocol, procedure step and study.
    age_years
        Of the patient when the film was taken.
    phantom
        Whether the film shows a phantom (Quality Control Subject).
    """

    source: str = ""
    calling_ae: str = ""
    host: str = ""
    called_ae: str = ""
    line: str = ""
    modality: str = ""
    sop_class: str = ""
    view: str = ""
    body_part: str = ""
    station: str = ""
    institution: str = ""
    manufacturer: str = ""
    device: str = ""
    descriptions: tuple[str, ...] = ()
    age_years: float | None = None
    phantom: bool = False

    @classmethod
    def of(cls, header: Dataset, *, source: str, line: str, called: str) -> Facts:
        """Read a header, which may be sloppy or hostile; nothing raises."""
        calling_ae, host = "", ""
        if source.startswith("dimse:"):
            calling_ae, _, host = source.removeprefix("dimse:").rpartition("@")
        return cls(
            source=source,
            calling_ae=calling_ae,
            host=host,
            called_ae=called,
            line=line,
            modality=_code(header, "Modality"),
            sop_class=source_of.uid(header, "SOPClassUID"),
            view=_code(header, "ViewPosition"),
            body_part=_code(header, "BodyPartExamined"),
            station=source_of.text(header, "StationName"),
            institution=source_of.text(header, "InstitutionName"),
            manufacturer=source_of.text(header, "Manufacturer"),
            device=source_of.text(header, "ManufacturerModelName"),
            descriptions=tuple(t for t in (source_of.text(header, k) for k in DESCRIPTIONS) if t),
            age_years=age_years(header),
            phantom=_code(header, "QualityControlSubject") == "YES",
        )


def _code(header: Dataset, keyword: str) -> str:
    return source_of.text(header, keyword).upper()
