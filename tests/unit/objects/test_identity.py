"""Which changes of a header make another identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom import Dataset

from vidi_gateway.objects import identity_digest


@pytest.mark.parametrize(
    "change",
    [
        {"PatientID": "P-2"},
        {"PatientName": "Doe^Janet"},
        {"PatientBirthDate": "19600301"},
        {"PatientSex": "M"},
        {"IssuerOfPatientID": "H2"},
        {"StudyInstanceUID": "1.2.4"},
        {"AccessionNumber": "A-78"},
        {"Laterality": "L"},
        {"ImageLaterality": "R"},
        {"ViewPosition": "AP"},
        {"PatientOrientation": ["R", "F"]},
    ],
    ids=lambda c: next(iter(c)),
)
def test_patient_study_accession_side_and_view_count(
    change: dict[str, Any], plain_header: Callable[..., Dataset]
) -> None:
    assert identity_digest(plain_header(**change)) != identity_digest(plain_header())


def test_encoding_padding_and_the_rest_do_not_count(
    plain_header: Callable[..., Dataset], reread: Callable[[Dataset], Dataset]
) -> None:
    latin = reread(plain_header(SpecificCharacterSet="ISO_IR 100", PatientName="Äneas^Rüdiger", StudyDescription="x"))
    utf = reread(plain_header(SpecificCharacterSet="ISO_IR 192", PatientName="Äneas^Rüdiger^^", SeriesNumber=9))
    assert identity_digest(latin) == identity_digest(utf)
    assert identity_digest(latin).startswith("sha256:") and len(identity_digest(latin)) == 71


def test_values_do_not_run_together(plain_header: Callable[..., Dataset]) -> None:
    a = plain_header(StudyID="1", AccessionNumber="23")
    b = plain_header(StudyID="12", AccessionNumber="3")
    assert identity_digest(a) != identity_digest(b)


def test_a_header_without_anything_has_one() -> None:
    assert identity_digest(Dataset()) == identity_digest(Dataset())
