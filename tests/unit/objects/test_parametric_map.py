"""The maps survive exactly, and say what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset

from vidi.imaging.geometry import Affine
from vidi_gateway.objects import BuildOptions, BuiltObject, FilmPart, build_study
from vidi_gateway.outcome import ClassOutcome, FilmOutcome

Pixels = npt.NDArray[np.float32]
Maps = dict[tuple[str, str], Dataset]


@pytest.fixture
def build(
    plain_header: Callable[..., Dataset],
    film: Pixels,
    make_outcome: Callable[..., FilmOutcome],
    options: BuildOptions,
    read: Callable[[BuiltObject], Dataset],
) -> Callable[..., Maps]:
    """Builds the maps by class and sign."""

    def run(header: Dataset | None = None, **changes: object) -> Maps:
        built = build_study(
            [FilmPart("film", header or plain_header(), film, make_outcome(**changes))], replace(options, kinds=("pm",))
        )
        return {(o.class_name, o.sign): read(o) for o in built if o.kind == "pm"}

    return run


def _values(ds: Dataset) -> Pixels:
    return np.frombuffer(ds.FloatPixelData, "<f4").reshape(ds.Rows, ds.Columns)


def test_one_frame_per_class_and_sign_with_exact_values(
    build: Callable[..., Maps], make_outcome: Callable[..., FilmOutcome]
) -> None:
    maps, outcome = build(), make_outcome()
    assert set(maps) == {(c, s) for c in ("normal", "pneumonia") for s in ("favorable", "glum")}
    for c in outcome.classes:
        favorable, glum = _values(maps[c.name, "favorable"]), _values(maps[c.name, "glum"])
        assert favorable.min() >= 0 and glum.min() >= 0 and not (favorable * glum).any()
        assert (favorable - glum).tobytes() == c.map.tobytes()
        assert np.array_equal(maps[c.name, "favorable"].pixel_array, favorable)
        for sign, values in (("favorable", favorable), ("glum", glum)):
            shared = maps[c.name, sign].SharedFunctionalGroupsSequence[0]
            m = shared.RealWorldValueMappingSequence[0]
            assert (m.RealWorldValueSlope, m.RealWorldValueIntercept) == (1, 0)
            assert m.DoubleFloatRealWorldValueLastValueMapped == values.max()
            assert m.MeasurementUnitsCodeSequence[0].CodeValue == "{logit}"
            quantity = {q.ConceptNameCodeSequence[0].CodeMeaning: q for q in m.QuantityDefinitionSequence}
            assert quantity["Quantity"].ConceptCodeSequence[0].CodeValue == "130404"
            assert quantity["Sign of attribution"].ConceptCodeSequence[0].CodeValue == sign.upper()


def test_each_says_class_and_sign_and_that_it_is_research(build: Callable[..., Maps]) -> None:
    maps = build()
    assert len({str(ds.SeriesInstanceUID) for ds in maps.values()}) == 4
    assert len({int(ds.SeriesNumber) for ds in maps.values()}) == 4
    assert maps["pneumonia", "glum"].ContentLabel == "PNEUMONIA_GLUM"
    for (name, sign), ds in maps.items():
        assert name in ds.SeriesDescription and sign in ds.SeriesDescription
        assert name in ds.ContentDescription and sign in ds.ContentDescription.lower()
        assert ds.ContentQualification == "RESEARCH"
        assert ds.NumberOfFrames == 1


def test_only_a_cleared_model_is_a_product(build: Callable[..., Maps]) -> None:
    for said, written in (("PRODUCT", "PRODUCT"), ("", "RESEARCH"), ("CLEARED", "RESEARCH")):
        maps = build(model={"content_qualification": said})
        assert {ds.ContentQualification for ds in maps.values()} == {written}


def test_geometry_is_the_films_with_the_exact_transform_beside_it(build: Callable[..., Maps]) -> None:
    affine = Affine(0.37, 0.0, -0.3147, 0.0, 0.43, -0.285)
    maps = build(map_to_film=affine)
    assert len({str(ds.FrameOfReferenceUID) for ds in maps.values()}) == 1
    for ds in maps.values():
        shared, frame = ds.SharedFunctionalGroupsSequence[0], ds.PerFrameFunctionalGroupsSequence[0]
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
        # between rows, between columns: ImagerPixelSpacing of the header is 0.143, 0.15
        assert shared.PixelMeasuresSequence[0].PixelSpacing == pytest.approx([0.43 * 0.143, 0.37 * 0.15])
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert position == pytest.approx([-0.3147 * 0.15, -0.285 * 0.143, 0])
        derivation = frame.DerivationImageSequence[0]
        assert derivation.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
        assert "The model saw 224 x 224" in derivation.DerivationDescription
        assert "0.37 x" in derivation.DerivationDescription
        block = ds.private_block(0x0099, "VIDI RESULT 1")
        assert list(block[0x06].value) == [0.37, 0.0, -0.3147, 0.0, 0.43, -0.285]


def test_unknown_spacing_is_one_millimetre_a_pixel(
    build: Callable[..., Maps], bare_header: Callable[[], Dataset]
) -> None:
    header = bare_header()
    header.PixelSpacing = ["0.000", "0.000"]
    ds = build(header, map_to_film=Affine(0.5, 0, 0, 0, 0.25, 0))["normal", "glum"]
    assert ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [0.25, 0.5]


def test_lossy_films_give_lossy_results(build: Callable[..., Maps], plain_header: Callable[..., Dataset]) -> None:
    header = plain_header(
        LossyImageCompression="01", LossyImageCompressionRatio="12.5", LossyImageCompressionMethod="ISO_10918_1"
    )
    ds = build(header)["normal", "glum"]
    assert (ds.LossyImageCompression, ds.LossyImageCompressionRatio) == ("01", 12.5)
    assert build()["normal", "glum"].LossyImageCompression == "00"


def test_a_class_without_attribution_is_a_map_of_zeros(
    build: Callable[..., Maps],
    make_outcome: Callable[..., FilmOutcome],
    dciodvfy: Callable[[bytes], list[str]],
    plain_header: Callable[..., Dataset],
    film: Pixels,
    options: BuildOptions,
) -> None:
    zero = np.zeros((224, 224), np.float32)
    first = make_outcome().classes[0]
    empty = ClassOutcome("none", 0, first.code, 1.0, 0.0, 0.0, zero, 0.0, 0.0, 0.0, 0.0)
    outcome = make_outcome(classes=(empty,), top=0, model={"map_scale": 0.0})
    for built in build_study([FilmPart("film", plain_header(), film, outcome)], replace(options, kinds=("pm",))):
        assert dciodvfy(built.data) == []
