"""Which films of a study repeat one another, from headers as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from vidi_gateway.objects import repeats_of, view_key
from vidi_gateway.objects.repeats import acquired, exposure_order


def _put_raw(ds: Dataset, keyword: str, value: str) -> None:
    """Set an element as a file gives it, unchecked."""
    tag = Tag(keyword)
    ds._dict[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value.encode(), 0, False, True)


def test_the_latest_of_a_view_stands_for_it(plain_header: Callable[..., Dataset]) -> None:
    headers = {
        "b": plain_header(AcquisitionDate="20240102", AcquisitionTime="101500"),
        "a": plain_header(AcquisitionDate="20240102", AcquisitionTime="101400"),
        "c": plain_header(AcquisitionDate="20240101", AcquisitionTime="235959"),
        "ap": plain_header(ViewPosition="AP", AcquisitionDate="20240102", AcquisitionTime="101600"),
    }
    assert repeats_of(headers) == {"a": "b", "c": "b"}
    assert repeats_of(dict(reversed(headers.items()))) == {"a": "b", "c": "b"}


@pytest.mark.parametrize(
    "change",
    [
        {"Modality": "CR"},
        {"ViewPosition": "AP"},
        {"ImageLaterality": "L"},
        {"Laterality": "R"},
        {"BodyPartExamined": "ABDOMEN"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_another_view_repeats_nothing(change: dict[str, Any], plain_header: Callable[..., Dataset]) -> None:
    assert view_key(plain_header(**change)) != view_key(plain_header())
    assert repeats_of({"a": plain_header(), "b": plain_header(**change)}) == {}


@pytest.mark.parametrize("view", ["", " ", "\x07", "A" * 17])
def test_nothing_is_said_of_a_film_without_a_view(view: str, plain_header: Callable[..., Dataset]) -> None:
    headers = {name: plain_header() for name in ("a", "b")}
    for header in headers.values():
        _put_raw(header, "ViewPosition", view)
        assert view_key(header) == ""
    assert repeats_of(headers) == {}


def test_a_key_holds_no_patient_data(plain_header: Callable[..., Dataset]) -> None:
    header = plain_header(BodyPartExamined="CHEST", ImageLaterality="U")
    assert view_key(header) == "DX/PA/U/CHEST"
    assert view_key(plain_header(PatientName="Roe^R", PatientID="9", AccessionNumber="1")) == view_key(plain_header())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"AcquisitionDateTime": "20240102101112.5"}, "20240102101112.500000"),
        ({"AcquisitionDateTime": "202401021011+0100"}, "20240102101100.000000"),
        (
            {"AcquisitionDateTime": "20241399101112", "ContentDate": "20240101", "ContentTime": "07"},
            "20240101070000.000000",
        ),
        ({"AcquisitionDateTime": "20240102251112"}, ""),
        ({"AcquisitionDateTime": "20240102"}, ""),
        ({"AcquisitionDate": "2024.01.02", "AcquisitionTime": "10:11:12"}, "20240102101112.000000"),
        (
            {"AcquisitionDate": "20240102", "ContentDate": "20240103", "ContentTime": "0910"},
            "20240103091000.000000",
        ),
        ({}, ""),
    ],
    ids=str,
)
def test_times(header: dict[str, str], expected: str) -> None:
    ds = Dataset()
    for keyword, value in header.items():
        _put_raw(ds, keyword, value)
    assert acquired(ds) == expected


def test_without_times_the_instance_number_then_the_uid_decides(plain_header: Callable[..., Dataset]) -> None:
    nine, ten = plain_header(InstanceNumber=9), plain_header(InstanceNumber=10)
    assert exposure_order(nine) < exposure_order(ten)
    assert repeats_of({"a": ten, "b": nine}) == {"b": "a"}
    one, two = plain_header(SOPInstanceUID="1.2.1"), plain_header(SOPInstanceUID="1.2.2")
    assert repeats_of({"a": two, "b": one}) == {"b": "a"}
