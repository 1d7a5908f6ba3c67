"""What a query at another node found: the same by C-FIND (PS3.4 annex C) and QIDO-RS (PS3.18 section 10.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from vidi.errors import InvalidInput


class Level(StrEnum):
    """What is looked for."""

    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


#: What we ask to be told about each match.
RETURN_KEYS: dict[Level, tuple[str, ...]] = {
    Level.STUDY: ("StudyInstanceUID", "StudyDate", "ModalitiesInStudy", "NumberOfStudyRelatedInstances"),
    Level.SERIES: ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDate", "NumberOfSeriesRelatedInstances"),
    Level.IMAGE: ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
}


@dataclass(frozen=True)
class Match:
    """One study, series or instance. What the peer did not say is "" or None.

    Attributes
    ----------
    study_uid, series_uid, sop_uid, sop_class_uid
        UIDs, down to the level of the query.
    modality
        Its modality, or those of the study joined by a backslash.
    date
        Date of the study or series, YYYYMMDD.
    instances
        How many instances it holds.
    dataset
        The whole answer: patient data, not for logs.
    """

    study_uid: str
    series_uid: str = ""
    sop_uid: str = ""
    sop_class_uid: str = ""
    modality: str = ""
    date: str = ""
    instances: int | None = None
    dataset: Dataset = field(default_factory=Dataset, repr=False, compare=False)

    @property
    def level(self) -> Level:
        """What was matched, by the UIDs that there are."""
        if self.sop_uid:
            return Level.IMAGE
        return Level.SERIES if self.series_uid else Level.STUDY

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, without the patient data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "dataset"}


def match_of(dataset: Dataset) -> Match:
    """Read one answer of a peer. Values that are not what they should be count as not said."""

    def text(keyword: str) -> str:
        value = dataset.get(keyword)
        if value is None:
            return ""
        return (
            "\\".join(map(str, value)) if isinstance(value, (list, tuple)) or hasattr(value, "append") else str(value)
        )

    counts = text("NumberOfStudyRelatedInstances") or text("NumberOfSeriesRelatedInstances")
    return Match(
        study_uid=text("StudyInstanceUID"),
        series_uid=text("SeriesInstanceUID"),
        sop_uid=text("SOPInstanceUID"),
        sop_class_uid=text("SOPClassUID"),
        modality=text("Modality") or text("ModalitiesInStudy"),
        date=text("SeriesDate") or text("StudyDate"),
        instances=int(counts) if counts.isdecimal() else None,
        dataset=dataset,
    )


def checked_keys(keys: Mapping[str, str]) -> Mapping[str, str]:
    """Return query keys.

    Raises
    ------
    InvalidInput
        NO_SUCH_KEYWORD: one is no keyword of the DICOM dictionary.
    """
    for keyword in keys:
        if tag_for_keyword(keyword) is None:
            raise InvalidInput(f"{keyword!r} is no DICOM keyword", field=keyword, reason="NO_SUCH_KEYWORD")
    return keys


def identifier(level: Level, keys: Mapping[str, str]) -> Dataset:
    """Return a C-FIND identifier: the keys, and empty return keys of the level.

    Raises
    ------
    InvalidInput
        NO_SUCH_KEYWORD.
    """
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.QueryRetrieveLevel = level.value
    for keyword in RETURN_KEYS[level]:
        setattr(ds, keyword, "")
    for keyword, value in checked_keys(keys).items():
        setattr(ds, keyword, value)
    return ds
