from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pydicom import Dataset, dcmread
from scipy.ndimage import gaussian_filter

from vidi.api.common.v1 import common_pb2
from vidi.imaging.dicom import Film, decode_dicom
from vidi.imaging.gate import GateRules, age_years, check_header, check_pixels, check_population
from vidi.imaging.headers import quiet_pydicom
from vidi.manifest import IntendedUse
from vidi.phantoms import PhantomFilm, PhantomSpec, make

CHILDREN = common_pb2.IntendedUse(
    age_min_years=1, age_max_years=5, modalities=["CR", "DX"], views=["AP", "PA"], subjects=["patient"]
)


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def film(pixels: np.ndarray) -> Film:
    return Film(np.asarray(pixels, np.float32), None, Dataset(), 8, (), "")


def test_a_plain_film_passes(header: Dataset) -> None:
    assert check_header(header) is None


def test_real_headers(real_film: Callable[[str], bytes]) -> None:
    wanted = {"RG1_UNCR.dcm": None, "RG3_UNCR.dcm": "NOT_CHEST", "CT_small.dcm": "MODALITY", "MR_small.dcm": "MODALITY"}
    for name, reason in wanted.items():
        refusal = check_header(dcmread(io.BytesIO(real_film(name)), stop_before_pixels=True))
        assert (refusal.code if refusal else None) == reason, name


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "CT"}, "MODALITY"),
        ({"Modality": ""}, "MODALITY"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR_PROCESSING"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"}, "FOR_PROCESSING"),
        ({"PhotometricInterpretation": "RGB"}, "PIXEL_FORMAT"),
        ({"NumberOfFrames": "12"}, "MULTI_FRAME"),
        ({"Rows": 100}, "DIMENSIONS"),
        ({"Columns": 9000}, "DIMENSIONS"),
        ({"BodyPartExamined": "ABDOMEN"}, "NOT_CHEST"),
        ({"BodyPartExamined": "CHESTABDOMEN"}, "NOT_CHEST"),
        ({"BodyPartExamined": "TSPINE"}, "NOT_CHEST"),
        ({"ViewPosition": "LL"}, "VIEW_LATERAL"),
        ({"ViewPosition": "LAT"}, "VIEW_LATERAL"),
        ({"ViewPosition": "LLD"}, "VIEW_NOT_FRONTAL"),
        ({"ViewPosition": "RAO"}, "VIEW_NOT_FRONTAL"),
        ({"ViewPosition": "", "PatientOrientation": ["A", "F"]}, "VIEW_LATERAL"),
        ({"BurnedInAnnotation": "YES"}, "BURNED_IN_ANNOTATION"),
    ],
)
def test_refusals(header: Dataset, attributes: dict[str, object], reason: str) -> None:
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    refusal = check_header(header)
    assert refusal is not None
    assert refusal.code == reason
    assert refusal.message


def _bare(header: Dataset) -> Dataset:
    for keyword in ("BodyPartExamined", "AnatomicRegionSequence", "StudyDescription", "SeriesDescription"):
        if keyword in header:
            del header[keyword]
    header.ViewPosition = ""
    if "ViewCodeSequence" in header:
        del header.ViewCodeSequence
    return header


@pytest.mark.parametrize(
    ("attributes", "passes"),
    [
        ({"AnatomicRegionSequence": [code("816094009", "Chest")]}, True),
        ({"AnatomicRegionSequence": [code("51185008", "")]}, True),
        ({"AnatomicRegionSequence": [code("818981001", "Abdomen")]}, False),
        ({"StudyDescription": "XR Chest 1 view"}, True),
        ({"ProtocolName": "Thorax p.a."}, True),
        ({"SeriesDescription": "LWS", "StudyDescription": "Röntgen Thorax"}, True),
        ({"SeriesDescription": "Abdomen AP", "StudyDescription": "Chest and abdomen"}, False),
        ({"StudyDescription": "Chest and abdomen"}, False),
        ({"StudyDescription": "Hand"}, False),
        ({}, False),
    ],
)
def test_the_chest_is_found_without_a_body_part(header: Dataset, attributes: dict[str, object], passes: bool) -> None:
    header = _bare(header)
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    refusal = check_header(header)
    assert (refusal is None) == passes
    assert refusal is None or refusal.code == "NOT_CHEST"


def test_site_rules(header: Dataset) -> None:
    bare = _bare(header)
    assert check_header(bare, GateRules(accept_unstated_region=True)) is None
    header.BodyPartExamined = "TORSO"
    assert check_header(header, GateRules(chest_words=("TORSO",))) is None
    header.BurnedInAnnotation = "YES"
    assert check_header(header, GateRules(chest_words=("TORSO",), accept_burned_in=True)) is None


@pytest.mark.parametrize(
    ("view_codes", "description", "reason"),
    [
        ([code("399173006", "left lateral")], "", "VIEW_LATERAL"),
        ([code("x", "lateral")], "", "VIEW_LATERAL"),
        ([code("399135007", "left anterior oblique")], "", "VIEW_NOT_FRONTAL"),
        ([code("272479007", "postero-anterior")], "Chest lateral", None),
        ([], "Chest lateral", "VIEW_LATERAL"),
        ([], "Thorax seitlich", "VIEW_LATERAL"),
        ([], "Chest PA and lateral", None),
        ([], "Chest", None),
    ],
)
def test_the_view_is_found_without_a_position(
    header: Dataset, view_codes: list[Dataset], description: str, reason: str | None
) -> None:
    header.ViewPosition = ""
    header.ViewCodeSequence = view_codes
    header.SeriesDescription = description
    header.StudyDescription = ""
    refusal = check_header(header)
    assert (refusal.code if refusal else None) == reason


def test_an_empty_header_is_refused_not_a_crash() -> None:
    assert check_header(Dataset()) is not None
    refusal, notes = check_population(Dataset(), CHILDREN, "mark")
    assert refusal is None
    assert {n.code for n in notes} == {"OUT_OF_POPULATION", "AGE_UNKNOWN", "VIEW_UNKNOWN"}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hostile_headers_never_crash(plain: bytes, data: st.DataObject) -> None:
    quiet_pydicom()
    end = len(plain) - 2 * 256 * 224
    spoiled = bytearray(plain)
    for _ in range(data.draw(st.integers(1, 12))):
        spoiled[data.draw(st.integers(340, end))] = data.draw(st.integers(0, 255))
    try:
        ds = dcmread(io.BytesIO(bytes(spoiled)), stop_before_pixels=True)
    except Exception:  # noqa: BLE001 - the parser's refusal is tested elsewhere
        return
    check_header(ds)
    check_population(ds, CHILDREN, "mark")


@pytest.mark.parametrize(
    ("attributes", "years"),
    [
        ({"PatientAge": "047Y"}, 47.0),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "026W"}, 0.498),
        ({"PatientAge": "003D"}, 0.008),
        ({"PatientAge": "old", "PatientBirthDate": "20200101"}, 5.0),
        ({"PatientAge": "", "PatientBirthDate": "20200701"}, 4.5),
        ({"PatientAge": "", "PatientBirthDate": "20990101"}, None),
        ({"PatientAge": "", "PatientBirthDate": ""}, None),
        ({"PatientAge": "", "PatientBirthDate": "20201399"}, None),
    ],
)
def test_age(header: Dataset, attributes: dict[str, str], years: float | None) -> None:
    quiet_pydicom()
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    assert age_years(header) == (None if years is None else pytest.approx(years, abs=0.01))


def _patient(header: Dataset, age: str) -> Dataset:
    header.QualityControlSubject = "NO"
    header.PatientAge = age
    return header


@pytest.mark.parametrize(
    ("age", "inside"), [("001Y", True), ("005Y", True), ("011M", False), ("006Y", False), ("064Y", False)]
)
def test_age_bounds_include_the_whole_last_year(header: Dataset, age: str, inside: bool) -> None:
    refusal, notes = check_population(_patient(header, age), CHILDREN)
    assert (refusal is None) == inside
    if refusal:
        assert refusal.code == "OUT_OF_POPULATION"
        assert age.strip("0Y") not in refusal.message.replace("1 to 5", "")
    marked, notes = check_population(header, CHILDREN, "mark")
    assert marked is None
    assert ("OUT_OF_POPULATION" in {n.code for n in notes}) != inside


def test_a_missing_age_is_flagged_where_it_matters(header: Dataset) -> None:
    refusal, notes = check_population(_patient(header, ""), CHILDREN)
    assert refusal is None
    assert {n.code for n in notes} == {"AGE_UNKNOWN"}
    assert check_population(header, common_pb2.IntendedUse(subjects=["patient"])) == (None, ())


def test_modality_and_view(header: Dataset) -> None:
    use = common_pb2.IntendedUse(modalities=["CR"], views=["AP"], subjects=["patient"])
    refusal, _ = check_population(_patient(header, "030Y"), use)
    assert refusal is not None
    assert "modality" in refusal.message
    assert "view" in refusal.message
    header.Modality, header.ViewPosition = "CR", ""
    refusal, notes = check_population(header, use)
    assert refusal is None
    assert {n.code for n in notes} == {"VIEW_UNKNOWN"}


def test_phantoms_and_patients_are_kept_apart(header: Dataset) -> None:
    phantoms = common_pb2.IntendedUse(subjects=["phantom"])
    adults = common_pb2.IntendedUse(subjects=["patient"])
    assert check_population(header, phantoms)[0] is None
    refusal, _ = check_population(header, adults)
    assert refusal is not None
    assert refusal.code == "QUALITY_CONTROL_SUBJECT"
    refusal, notes = check_population(header, adults, "mark")
    assert refusal is None
    assert {n.code for n in notes} == {"OUT_OF_POPULATION", "QUALITY_CONTROL_SUBJECT"}
    header.QualityControlSubject = "NO"
    for mode in ("refuse", "mark"):
        refusal, _ = check_population(header, phantoms, mode)
        assert refusal is not None
        assert refusal.code == "OUT_OF_POPULATION"


def test_the_manifest_has_what_the_gate_reads(header: Dataset) -> None:
    use = IntendedUse(statement="For children.", age_max_years=5, subjects=("patient",))
    refusal, _ = check_population(_patient(header, "030Y"), use)
    assert refusal is not None
    assert check_population(_patient(header, "003Y"), use)[0] is None


def test_films_pass_the_pixel_check(real_film: Callable[[str], bytes], phantom: PhantomFilm) -> None:
    assert check_pixels(decode_dicom(real_film("RG1_UNCR.dcm"))) is None
    assert check_pixels(decode_dicom(real_film("RG1_J2KI.dcm"))) is None
    for severity in ("normal", "mild", "medium", "severe"):
        assert check_pixels(film(make(PhantomSpec(77, severity, 256, 300)).grey())) is None


def test_films_the_wrong_way_round_are_refused(real_film: Callable[[str], bytes]) -> None:
    pixels = decode_dicom(real_film("RG1_UNCR.dcm")).pixels
    for wrong in (pixels[::-1], np.rot90(pixels), np.rot90(pixels, 3), 1.0 - pixels):
        refusal = check_pixels(film(wrong))
        assert refusal is not None
        assert refusal.code == "NOT_A_FRONTAL_CHEST_FILM"
    assert check_pixels(film(pixels[:, ::-1])) is None  # a mirrored chest cannot be told from situs inversus


def _pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:256, 0:256] / 255.0
    page = Image.new("L", (400, 500), 255)
    for i in range(25):
        ImageDraw.Draw(page).text((20, 18 * i + 10), "Chest film of a patient, both lungs, no change", fill=0)
    smooth = gaussian_filter(rng.standard_normal((256, 256)), 20)
    return {
        "black": np.zeros((256, 256)),
        "white": np.ones((256, 256)),
        "nearly grey": np.full((256, 256), 0.5) + 0.005 * rng.standard_normal((256, 256)),
        "noise": rng.random((256, 256)),
        "fine noise": rng.random((1500, 1200)),
        "gradient across": x,
        "gradient down": y,
        "vignette": 1.0 - np.hypot(x - 0.5, y - 0.5),
        "halves": (x > 0.5) * 1.0,
        "stripes": np.cos(4 * np.pi * x) / 2 + 0.5,
        "disc": (np.hypot(x - 0.5, y - 0.5) < 0.35) * 1.0,
        "clouds": (smooth - smooth.min()) / np.ptp(smooth),
        "text": np.asarray(page) / 255.0,
        "inverted text": 1.0 - np.asarray(page) / 255.0,
    }


@pytest.mark.parametrize("name", sorted(_pictures()))
def test_other_pictures_are_refused(name: str) -> None:
    refusal = check_pixels(film(_pictures()[name]))
    assert refusal is not None
    assert refusal.code == "NOT_A_FRONTAL_CHEST_FILM"


def test_other_images_are_refused(real_film: Callable[[str], bytes]) -> None:
    """A CT slice, heads, a knee, shoulders, an abdomen: whatever the header would say."""
    for name in ("CT_small.dcm", "MR_small.dcm", "693_UNCR.dcm", "RG3_UNCR.dcm", "JPEG-LL.dcm", "MR2_UNCR.dcm"):
        refusal = check_pixels(decode_dicom(real_film(name)))
        assert refusal is not None, name


def test_photographs_are_refused() -> None:
    from sklearn.datasets import load_sample_images

    for photo in load_sample_images().images:
        assert check_pixels(film(photo.mean(axis=2) / 255.0)) is not None
