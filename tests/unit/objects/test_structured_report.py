"""What the report says, and what it must never say."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom import Dataset

from vidi.imaging.notes import Note
from vidi_gateway.objects import BuildOptions, BuiltObject, FilmPart, build_study
from vidi_gateway.outcome import Code, FilmOutcome

Pixels = npt.NDArray[np.float32]
Read = Callable[[BuiltObject], Dataset]


@pytest.fixture
def build(
    plain_header: Callable[..., Dataset], film: Pixels, make_outcome: Callable[..., FilmOutcome], options: BuildOptions
) -> Callable[..., tuple[Dataset, list[BuiltObject]]]:
    """Builds a report and the maps."""

    def run(*, kinds: tuple[str, ...] = ("sr", "pm"), **changes: object) -> tuple[Dataset, list[BuiltObject]]:
        built = build_study(
            [FilmPart("film", plain_header(), film, make_outcome(**changes))], replace(options, kinds=kinds)
        )
        return pydicom.dcmread(io.BytesIO(built[0].data)), built[1:]

    return run


def items(ds: Dataset) -> Iterator[Dataset]:
    """All content items."""
    for item in ds.get("ContentSequence", []):
        yield item
        yield from items(item)


def codes(ds: Dataset) -> Iterator[tuple[str, str, str]]:
    """All codes in a dataset, at any depth."""
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                if "CodeMeaning" in item:
                    value = item.get("CodeValue") or item.get("LongCodeValue")
                    yield item.CodingSchemeDesignator, value, item.CodeMeaning
                yield from codes(item)


def texts(ds: Dataset) -> list[str]:
    return [str(i.TextValue) for i in items(ds) if i.ValueType == "TEXT"]


def test_it_is_preliminary_and_unverified(build: Callable[..., tuple[Dataset, list[BuiltObject]]]) -> None:
    sr, _ = build()
    assert (sr.VerificationFlag, sr.PreliminaryFlag, sr.CompletionFlag) == ("UNVERIFIED", "PRELIMINARY", "COMPLETE")
    assert "VerifyingObserverSequence" not in sr
    assert sr.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert sr.Modality == "SR"


def test_the_numbers_are_the_outcomes(
    build: Callable[..., tuple[Dataset, list[BuiltObject]]], make_outcome: Callable[..., FilmOutcome]
) -> None:
    sr, _ = build()
    outcome = make_outcome()
    report = highdicom.sr.MeasurementReport.from_sequence([sr])
    groups = report.get_image_measurement_groups()[1:]
    for group, c in zip(groups, outcome.classes, strict=True):
        found = {str(m.name.value): m for m in group.get_measurements()}
        expected = {
            "122157": c.probability,
            "LOGIT": c.logit,
            "BASE_VALUE": c.base_value,
            "ATTR_SUM": c.total,
            "FAVORABLE_SUM": c.favorable_sum,
            "GLUM_SUM": c.glum_sum,
            "RESIDUAL": c.additivity_residual,
        }
        assert set(found) == set(expected)
        for code, value in expected.items():
            assert float(found[code].value) == pytest.approx(value, rel=1e-12)
        method = found["122157"].method
        assert method is not None and method.value == "UNCALIBRATED"
        assert found["LOGIT"].unit.value == "{logit}"
        assert found["GLUM_SUM"].value <= 0 <= found["FAVORABLE_SUM"].value


def test_a_probability_says_whether_it_is_calibrated(build: Callable[..., tuple[Dataset, list[BuiltObject]]]) -> None:
    calibrated, _ = build(model={"calibrated": True})
    plain, _ = build()
    assert "CALIBRATED" in {c[1] for c in codes(calibrated)} and "UNCALIBRATED" not in {c[1] for c in codes(calibrated)}
    assert any("not calibrated" in t for t in texts(plain))
    assert not any("not calibrated" in t for t in texts(calibrated))


def test_it_points_at_the_maps_that_are_built(build: Callable[..., tuple[Dataset, list[BuiltObject]]]) -> None:
    sr, maps = build()
    pointed = {
        (
            str(i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID),
            str(i.ReferencedSOPSequence[0].ReferencedSOPClassUID),
        )
        for i in items(sr)
        if i.ValueType == "IMAGE"
    }
    expected = {(m.sop_instance_uid, m.sop_class_uid) for m in maps}
    assert pointed == expected | {("1.2.3.4.5", "1.2.840.10008.5.1.4.1.1.1.1")}
    evidence = {
        str(s.ReferencedSOPInstanceUID)
        for study in sr.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for s in series.ReferencedSOPSequence
    }
    assert evidence == {uid for uid, _ in pointed}
    # the favorable sum of a class is inferred from the favorable map of that class
    groups = highdicom.sr.MeasurementReport.from_sequence([sr]).get_image_measurement_groups()[1:]
    by_map = {m.sop_instance_uid: (m.class_name, m.sign) for m in maps}
    for group, name in zip(groups, ("normal", "pneumonia"), strict=True):
        for m in group.get_measurements():
            referenced = [by_map[str(i.referenced_sop_instance_uid)] for i in m.referenced_images]
            wanted = {"FAVORABLE_SUM": [(name, "favorable")], "GLUM_SUM": [(name, "glum")]}
            assert referenced == wanted.get(str(m.name.value), [])


def test_without_maps_it_points_at_none(build: Callable[..., tuple[Dataset, list[BuiltObject]]]) -> None:
    sr, rest = build(kinds=("sr",))
    assert rest == []
    assert {str(i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for i in items(sr) if i.ValueType == "IMAGE"} == {
        "1.2.3.4.5"
    }


def test_it_says_what_made_it(build: Callable[..., tuple[Dataset, list[BuiltObject]]]) -> None:
    sr, _ = build(model={"weights_digest": "sha256:" + "e" * 64})
    said = texts(sr)
    for wanted in (
        "model digest: sha256:" + "a" * 64,
        "weights digest: sha256:" + "e" * 64,
        "reference set digest: sha256:" + "b" * 64,
        "references: 8",
        "explanation key: " + "c" * 64,
        "The model saw 224 x 224 pixels (columns x rows).",
    ):
        assert wanted in said
    assert any(t.startswith("Not for diagnosis") for t in said)
    assert any(t.startswith("Explained: the logit") for t in said)
    assert ("DCM", "123110", "Artificial Intelligence") in set(codes(sr))


@pytest.mark.parametrize(
    "code",
    [
        Code("17621005", "SCT", "Normal"),
        Code("x", "LN", "No finding"),
        Code("1", "SCT", "Absence of pneumonia"),
        Code("NORMAL", "99VIDI", "x"),
    ],
)
def test_a_normal_class_is_never_a_finding(
    code: Code, build: Callable[..., tuple[Dataset, list[BuiltObject]]], make_outcome: Callable[..., FilmOutcome]
) -> None:
    classes = make_outcome().classes
    sr, _ = build(classes=(replace(classes[0], code=code), classes[1]), top=0)
    favours = [i for i in items(sr) if i.ConceptNameCodeSequence[0].get("CodeValue") == "MODEL_FAVOURS"]
    assert [i.ConceptCodeSequence[0].CodingSchemeDesignator for i in favours] == ["99VIDI"]
    for scheme, value, meaning in codes(sr):
        assert (scheme, value) != ("SCT", "17621005")
        if re.search(r"normal|\bno\b|absence", meaning, re.IGNORECASE) and meaning != "no units":
            assert scheme == "99VIDI" and meaning == "Model class 'normal'"
    # a finding would be stated by (121071, DCM, "Finding")
    assert not any(value == "121071" for _, value, _ in codes(sr))


def test_diagnosis_stands_only_in_not_for_diagnosis(build: Callable[..., tuple[Dataset, list[BuiltObject]]]) -> None:
    sr, _ = build()
    for text in [*texts(sr), *(m for _, _, m in codes(sr)), sr.SeriesDescription]:
        assert not re.search(r"diagnos", re.sub(r"not for diagnosis", "", text, flags=re.IGNORECASE), re.IGNORECASE)


def test_warnings_are_coded_and_said(build: Callable[..., tuple[Dataset, list[BuiltObject]]]) -> None:
    note = Note("QUALITY_CONTROL_SUBJECT", "The film shows a phantom.")
    sr, _ = build(notes=(note,), out_of_population=True)
    coded = {c[1] for c in codes(sr) if c[0] == "99VIDI"}
    assert {"QUALITY_CONTROL_SUBJECT", "OUT_OF_POPULATION"} <= coded
    assert "QUALITY_CONTROL_SUBJECT: The film shows a phantom." in texts(sr)
    assert any("outside the model's intended use" in t for t in texts(sr))
