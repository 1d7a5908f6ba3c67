"""Sloppy and hostile headers: no crash, no invented identity, and not a word about the patient."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from vidi_gateway.objects import BuildOptions, FilmPart, build_study, identity_digest, is_own, source
from vidi_gateway.outcome import FilmOutcome

Pixels = npt.NDArray[np.float32]
KEYWORDS = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "Manufacturer",
    "SeriesNumber",
    "Laterality",
    "ImageLaterality",
    "ViewPosition",
    "PatientOrientation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)


def _raw(values: dict[str, bytes]) -> Dataset:
    """Return a header of raw elements, as a file gives them."""
    ds = Dataset()
    for keyword, value in values.items():
        tag = Tag(tag_for_keyword(keyword) or 0)
        ds._dict[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    return ds


_sloppy = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=80).map(lambda s: s.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"",
            b" ",
            b"\0",
            b"\\",
            b"\\\\",
            b"A\\B",
            b"^^^^^^",
            b"=====",
            b"../../etc",
            b"unknown",
            b"20241399",
            b"2024.01.02",
            b"25:61:99",
            b"101112",
            b"NaN\\inf",
            b"0\\0",
            b"0.1\\0.2",
            b"1e-300\\1",
            b"-1",
            b"YES",
            b"01",
            b"L\\L",
            b"L\\F",
            b"ISO_IR 192",
            b"ISO 2022 IR 87",
            b"\\ISO 2022 IR 87",
            b"GB18030",
            b"ISO_IR 192\\ISO 2022 IR 87",
            b"\x1b$B\xff",
            b"1.2.840.10008.5.1.4.1.1.1",
            b"1.2.3",
            b"1.02.3",
            b"1." * 60,
            b"+1500",
            b"-0900",
            b"x" * 300,
        ]
    ),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(values=st.dictionaries(st.sampled_from(KEYWORDS), _sloppy, max_size=len(KEYWORDS)))
def test_no_header_crashes_the_builder(
    values: dict[str, bytes], make_outcome: Callable[..., FilmOutcome], options: BuildOptions
) -> None:
    header = _raw(values)
    film = np.zeros((20, 16), np.float32)
    identity_digest(header)
    is_own(header)
    built = build_study(
        [FilmPart("film", header, film, make_outcome(grid=(16, 16)))], replace(options, kinds=("sr", "pm"))
    )
    assert (
        build_study(
            [FilmPart("film", _raw(values), film, make_outcome(grid=(16, 16)))], replace(options, kinds=("sr", "pm"))
        )
        == built
    )
    for o in built:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(io.BytesIO(o.data))
            for keyword in ("PatientID", "AccessionNumber"):
                # an identifier is the header's own, never a shortened or repaired one
                assert source.text(ds, keyword) == source.text(header, keyword)
            for keyword in ("PatientBirthDate", "StudyDate"):
                assert ds[keyword].value == source.day(header, keyword)
            assert ds.PatientSex in ("", "M", "F", "O")
            assert source.study_uid(ds)
            assert source.study_uid(header) in ("", source.study_uid(ds))
            # a film that cannot be named validly is not referred to
            wanted = source.uid(header, "SOPInstanceUID")
            assert (
                o.kind != "sr"
                or wanted
                or "1.2.840" not in str(ds.get("CurrentRequestedProcedureEvidenceSequence", ""))
            )


SECRET = b"Topsecret"


def test_nothing_of_the_header_is_logged_or_warned_about(
    make_outcome: Callable[..., FilmOutcome], options: BuildOptions, caplog: pytest.LogCaptureFixture
) -> None:
    film = np.zeros((20, 16), np.float32)
    values = dict.fromkeys(KEYWORDS, SECRET * 20 + b"^^^^^^^^\x07=\xff\\" + SECRET)
    values["SpecificCharacterSet"] = b"ISO_IR 192"
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        build_study(
            [FilmPart("film", _raw(values), film, make_outcome(grid=(16, 16)))], replace(options, kinds=("sr", "pm"))
        )
    said = " ".join([str(w.message) for w in warned] + [r.getMessage() for r in caplog.records])
    assert SECRET.decode() not in said


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20240102", "20240102"),
        ("2024.01.02", "20240102"),
        ("20241302", ""),
        ("2024", ""),
        ("20240102 ", "20240102"),
        ("", ""),
    ],
)
def test_dates(value: str, expected: str) -> None:
    assert source.day(_raw({"StudyDate": value.encode()}), "StudyDate") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("101112.5", "101112.5"), ("10:11:12", "101112"), ("10", "10"), ("241112", ""), ("1011123", ""), ("noon", "")],
)
def test_times(value: str, expected: str) -> None:
    assert source.time_of_day(_raw({"StudyTime": value.encode()}), "StudyTime") == expected


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("1.2.3", True),
        ("1.02.3", False),
        ("1", False),
        ("1." + "1" * 62, True),
        ("1." + "1" * 63, False),
        ("a.b", False),
    ],
)
def test_uids(value: str, valid: bool) -> None:
    assert source.uid(_raw({"StudyInstanceUID": value.encode() + b"\0"}), "StudyInstanceUID") == (
        value if valid else ""
    )


def test_a_study_uid_with_leading_zeros_stays_as_it_is(
    plain_header: Callable[..., Dataset], film: Pixels, make_outcome: Callable[..., FilmOutcome], options: BuildOptions
) -> None:
    header = _raw(
        {"StudyInstanceUID": b"1.2.0840.07", "SOPInstanceUID": b"1.2.3.4", "SOPClassUID": b"1.2.840.10008.5.1.4.1.1.1"}
    )
    header.SeriesInstanceUID = "1.2.3"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built = build_study([FilmPart("film", header, film, make_outcome())], replace(options, kinds=("sr",)))
    assert source.study_uid(pydicom.dcmread(io.BytesIO(built[0].data))) == "1.2.0840.07"


def test_orientation_needs_two_axes() -> None:
    assert source.patient_orientation(_raw({"PatientOrientation": b"L\\F"})) == ("L", "F")
    assert source.patient_orientation(_raw({"PatientOrientation": b"L\\R"})) is None
    assert source.patient_orientation(_raw({"PatientOrientation": b"L"})) is None
    assert source.patient_orientation(_raw({"PatientOrientation": b"X\\F"})) is None


def test_spacing_prefers_the_calibrated_one() -> None:
    both = {"PixelSpacing": b"0.2\\0.3", "ImagerPixelSpacing": b"0.1\\0.1"}
    assert source.spacing(_raw(both)) == (0.2, 0.3)
    assert source.spacing(_raw(both | {"PixelSpacing": b"0.000\\0.000"})) == (0.1, 0.1)
    assert source.spacing(_raw({"PixelSpacing": b"nan\\1"})) is None


def test_a_deidentified_film_gives_deidentified_results(
    plain_header: Callable[..., Dataset], film: Pixels, make_outcome: Callable[..., FilmOutcome], options: BuildOptions
) -> None:
    header = plain_header(PatientIdentityRemoved="YES", QualityControlSubject="YES")
    for o in build_study([FilmPart("film", header, film, make_outcome())], replace(options, kinds=("sr", "pm"))):
        ds = pydicom.dcmread(io.BytesIO(o.data))
        assert ds.PatientIdentityRemoved == "YES" and ds.DeidentificationMethod
        assert ds.QualityControlSubject == "YES"
