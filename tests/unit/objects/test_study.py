"""One report and one capture for all films of a study; what has no result is said; nothing of two patients together."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom import Dataset

from vidi.errors import InvalidInput
from vidi_gateway.objects import (
    BuildOptions,
    BuiltObject,
    FilmPart,
    NotAnalysed,
    Predecessor,
    RejectionReason,
    Withdrawn,
    build_study,
    is_own,
)
from vidi_gateway.outcome import FilmOutcome

Parts = Callable[..., FilmPart]
Check = Callable[[bytes], list[str]]
SR = "1.2.840.10008.5.1.4.1.1.88.34"
LACKING = NotAnalysed("x", "NOT_FRONTAL", "The view is lateral.", "1.2.840.10008.5.1.4.1.1.1", "1.2.3.99")
EARLIER = Predecessor(SR, "2.25.11", "2.25.12", "1.2.3")
GONE = Withdrawn("w", RejectionReason.PATIENT_SAFETY, "1.2.840.10008.5.1.4.1.1.1", "1.2.3.98")


@pytest.fixture
def part(
    plain_header: Callable[..., Dataset], film: npt.NDArray[np.float32], make_outcome: Callable[..., FilmOutcome]
) -> Parts:
    """Makes a film of the study: its number, changes of its header, of the part (`fields`) and of its outcome."""

    def make(
        number: int, *, fields: dict[str, Any] | None = None, outcome: dict[str, Any] | None = None, **header: Any
    ) -> FilmPart:
        header = {
            "SOPInstanceUID": f"1.2.3.4.{number}",
            "AcquisitionDate": "20240102",
            "AcquisitionTime": f"10{number:02d}00",
            "ViewPosition": ("PA", "AP")[number % 2],
        } | header
        said = make_outcome(grid=(32, 32), seed=number, **(outcome or {}))
        return FilmPart(f"f{number}", plain_header(**header), film, said, **(fields or {}))

    return make


def _items(ds: Dataset) -> Iterator[Dataset]:
    for item in ds.get("ContentSequence", []):
        yield item
        yield from _items(item)


def _texts(ds: Dataset) -> list[str]:
    return [str(i.TextValue) for i in _items(ds) if i.ValueType == "TEXT"]


def _coded(ds: Dataset, name: str) -> list[str]:
    """Values of the code items with this concept name."""
    return [
        str(i.ConceptCodeSequence[0].get("CodeValue") or i.ConceptCodeSequence[0].LongCodeValue)
        for i in _items(ds)
        if i.ValueType == "CODE" and i.ConceptNameCodeSequence[0].get("CodeValue") == name
    ]


def _groups(ds: Dataset) -> dict[str, Any]:
    report = highdicom.sr.MeasurementReport.from_sequence([ds])
    return {str(g.tracking_identifier): g for g in report.get_image_measurement_groups()}


def _read(built: BuiltObject) -> Dataset:
    return pydicom.dcmread(io.BytesIO(built.data))


def _report(parts: list[FilmPart], options: BuildOptions, **more: Any) -> Dataset:
    return _read(build_study(parts, replace(options, kinds=("sr",)), **more)[0])


def test_one_report_and_one_capture_for_two_films(part: Parts, options: BuildOptions, dciodvfy: Check) -> None:
    built = build_study([part(1), part(2)], options)
    assert [(o.kind, o.film_id) for o in built] == [
        ("sr", ""),
        *[("pm", "f1")] * 4,
        *[("pm", "f2")] * 4,
        ("sc", ""),
        ("png", "f1"),
        ("png", "f2"),
    ]
    for o in built[:-2]:
        assert dciodvfy(o.data) == []
    assert len({o.sop_instance_uid for o in built}) == len(built)

    sr = _read(built[0])
    groups = _groups(sr)
    assert list(groups) == [
        f"ViDi film {n} {what}" for n in (2, 1) for what in ("result", "class normal", "class pneumonia")
    ]
    for name, group in groups.items():
        (image,) = group.source_images
        assert str(image.referenced_sop_instance_uid) == f"1.2.3.4.{name.split()[2]}"
    # every class's sums are inferred from the maps of its own film
    film_of = {o.sop_instance_uid: o.film_id for o in built}
    for name, group in groups.items():
        inferred = [str(i.referenced_sop_instance_uid) for m in group.get_measurements() for i in m.referenced_images]
        assert len(inferred) == (0 if "result" in name else 2)
        assert {film_of[uid] for uid in inferred} <= {f"f{name.split()[2]}"}

    evidence = {
        str(item.ReferencedSOPInstanceUID)
        for study in sr.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert evidence == {"1.2.3.4.1", "1.2.3.4.2"} | {o.sop_instance_uid for o in built if o.kind == "pm"}
    sc = _read(built[-3])
    assert [i.ReferencedSOPInstanceUID for i in sc.SourceImageSequence] == ["1.2.3.4.2", "1.2.3.4.1"]
    assert {t for t in _texts(sr) if t.startswith("Film ")} == {
        "Film 1 of 2, AP, by time of exposure.",
        "Film 2 of 2, PA, by time of exposure.",
    }


def test_every_object_is_marked_as_ours(part: Parts, options: BuildOptions) -> None:
    built = build_study([part(1), part(2)], options, not_analysed=[LACKING], predecessors=[EARLIER])
    withdrawal = build_study([], options, predecessors=[EARLIER], base=built[0].data)
    for o in [*built, *withdrawal]:
        if o.kind == "png":
            continue
        ds = _read(o)
        assert ds.SeriesNumber >= 9001 and ds.SeriesDescription.startswith("AI ") and is_own(ds)
        assert ds.Modality == ("SR" if o.kind == "sr" else "OT")
        assert (ds.PatientID, str(ds.PatientName), ds.StudyInstanceUID) == ("P-1", "Doe^Jane^^Dr", "1.2.3")
        assert ds.get("ContentQualification", "RESEARCH") == "RESEARCH"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"not_analysed": [LACKING]},
        {"predecessors": [EARLIER], "withdrawn": [GONE], "revision": 3},
        {"parts": (), "predecessors": [EARLIER], "base": Dataset},
        {"parts": (), "not_analysed": [LACKING], "base": Dataset},
    ],
    ids=["films", "lacking", "revised", "withdrawn", "refused"],
)
def test_no_report_is_ever_final_or_says_that_a_disease_is_absent(
    more: dict[str, Any], part: Parts, options: BuildOptions, dciodvfy: Check
) -> None:
    more = dict(more)
    parts = list(more.pop("parts", [part(1), part(2)]))
    if more.get("base"):
        more["base"] = part(1).header
    (built,) = build_study(parts, replace(options, kinds=("sr",)), **more)
    assert dciodvfy(built.data) == []
    sr = _read(built)
    assert (sr.VerificationFlag, sr.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert "VerifyingObserverSequence" not in sr
    assert any(t.startswith("Not for diagnosis") for t in _texts(sr))
    for element in sr.iterall():
        if element.VR == "SQ":
            continue
        said = str(element.value)
        assert not re.search("diagnos", re.sub("not for diagnosis", "", said, flags=re.IGNORECASE), re.IGNORECASE)
        if element.keyword == "CodeMeaning" and said not in ("no units", "Model class 'normal'"):
            assert not re.search(r"\b(normal|no|absent|absence|negative|without)\b", said, re.IGNORECASE)


def test_the_order_of_what_is_given_does_not_count(part: Parts, options: BuildOptions) -> None:
    more = [NotAnalysed("y", "PENDING"), LACKING]
    one = build_study([part(1), part(2), part(3)], options, not_analysed=more)
    other = build_study([part(3), part(1), part(2)], options, not_analysed=more[::-1])
    assert one == other


def test_a_late_film_leaves_the_others_maps_as_they_are(part: Parts, options: BuildOptions) -> None:
    analysed = {"created": options.created}
    first = build_study([part(1, fields=analysed)], options)
    later = replace(options, created=options.created + timedelta(hours=1))
    both = build_study([part(1, fields=analysed), part(2)], later, predecessors=[Predecessor.of(first[0].data)])
    of_film = [o for o in first if o.kind in ("pm", "png")]
    assert of_film and all(o in both for o in of_film)
    assert not {o.sop_instance_uid for o in first if o.kind in ("sr", "sc")} & {o.sop_instance_uid for o in both}
    # whether others are built does not change them either
    assert build_study([part(1, fields=analysed)], replace(later, kinds=("pm",))) == of_film[:4]


@pytest.mark.parametrize(
    "change",
    [
        {"not_analysed": [LACKING]},
        {"not_analysed": [NotAnalysed("x", "PENDING")]},
        {"predecessors": [EARLIER]},
        {"withdrawn": [GONE]},
        {"revision": 2},
        {"fields": {"urgency": 0.5}},
        {"fields": {"urgency": 0.5, "urgency_reasons": ("SEVERE",)}},
        {"fields": {"repeated_by": "elsewhere"}},
        {"fields": {"repeated_by": "f2"}},
        {"outcome": {"explanation_key": "8" * 64}},
        {"SOPInstanceUID": "1.2.3.4.9"},
        {"options": {"kinds": ("sr", "pm")}},
        {"options": {"device_serial": "B"}},
    ],
    ids=str,
)
def test_other_inputs_another_report(change: dict[str, Any], part: Parts, options: BuildOptions) -> None:
    options = replace(options, kinds=("sr",))
    before = build_study([part(1), part(2)], options)[0]
    of_study = {k: v for k, v in change.items() if k in ("not_analysed", "predecessors", "withdrawn", "revision")}
    of_part = {k: v for k, v in change.items() if k not in of_study and k != "options"}
    after = build_study([part(1, **of_part), part(2)], replace(options, **change.get("options", {})), **of_study)[0]
    assert before.sop_instance_uid != after.sop_instance_uid
    assert before.data != after.data


@pytest.mark.parametrize(
    "header",
    [
        {"PatientID": "P-2"},
        {"PatientName": "Roe^Richard"},
        {"PatientBirthDate": "19700101"},
        {"StudyInstanceUID": "1.2.9"},
    ],
    ids=lambda h: next(iter(h)),
)
def test_two_patients_or_studies_have_no_report_in_common(
    header: dict[str, str], part: Parts, options: BuildOptions
) -> None:
    with pytest.raises(InvalidInput) as raised:
        build_study([part(1), part(2, **header)], options)
    assert not any(value in str(raised.value) for value in (*header.values(), "P-1", "Doe"))


def test_patients_are_compared_each_with_each(part: Parts, options: BuildOptions) -> None:
    parts = [part(1), part(2, PatientName=""), part(3, PatientName="Roe^Richard")]
    for pair in (parts[:2], parts[1:]):
        build_study(pair, replace(options, kinds=("sr",)))
    with pytest.raises(InvalidInput):
        build_study(parts, options)


def test_issuers_count_and_spelling_does_not(part: Parts, options: BuildOptions) -> None:
    options = replace(options, kinds=("sr",))
    build_study([part(1), part(2, PatientName="DOE^JANE^^DR^", PatientSex="O", IssuerOfPatientID="H1")], options)
    with pytest.raises(InvalidInput):
        build_study([part(1, IssuerOfPatientID="H1"), part(2, IssuerOfPatientID="H2")], options)


def test_a_film_without_a_study_has_a_report_of_its_own(part: Parts, options: BuildOptions) -> None:
    films = [part(n, StudyInstanceUID="") for n in (1, 2)]
    one, other = (build_study([f], replace(options, kinds=("sr", "pm"))) for f in films)
    assert len({_read(o).StudyInstanceUID for o in one}) == 1
    assert _read(one[0]).StudyInstanceUID != _read(other[0]).StudyInstanceUID
    with pytest.raises(InvalidInput):
        build_study(films, options)


def test_patient_and_study_come_from_the_latest_film(part: Parts, options: BuildOptions) -> None:
    parts = [part(2, StudyDescription="LATE"), part(1, StudyDescription="EARLY")]
    built = {(o.kind, o.film_id): _read(o) for o in build_study(parts, replace(options, kinds=("sr", "pm")))}
    assert built["sr", ""].StudyDescription == "LATE"
    assert built["pm", "f1"].StudyDescription == "EARLY"


def test_a_film_without_a_result_never_looks_like_a_negative_one(part: Parts, options: BuildOptions) -> None:
    lacking = [LACKING, replace(LACKING, film_id="y", sop_instance_uid="1.2.3.97"), NotAnalysed("z", "PENDING")]
    built = {o.kind: o for o in build_study([part(1)], options, not_analysed=lacking)}
    sr = _read(built["sr"])
    assert {"NOT_ANALYSED", "NOT_FRONTAL", "PENDING"} <= set(_coded(sr, "WARNING"))
    said = [t for t in _texts(sr) if t.startswith("NOT_ANALYSED")]
    assert [t.split(".")[0] for t in said] == ["NOT_ANALYSED: 2 films, NOT_FRONTAL", "NOT_ANALYSED: 1 film, PENDING"]
    assert "The view is lateral." in said[0] and "1.2.3.97, 1.2.3.99" in said[0]
    assert all("A film without a result is not a negative film." in t for t in said)
    assert next(iter(_groups(sr))) == "ViDi study"
    # the picture says so too, in a head above the film's own picture
    plain = {o.kind: o for o in build_study([part(1)], options)}
    with_head, without = _read(built["sc"]).pixel_array, _read(plain["sc"]).pixel_array
    extra = with_head.shape[0] - without.shape[0]
    assert extra > 0 and np.array_equal(with_head[extra:], without) and with_head[:extra].max() > 128
    assert built["png"] == plain["png"]


def test_a_repeated_view_is_marked_and_not_pictured(part: Parts, options: BuildOptions) -> None:
    parts = [part(1, ViewPosition="PA"), part(2, ViewPosition="PA"), part(3, ViewPosition="AP")]
    built = {(o.kind, o.film_id): o for o in build_study(parts, options)}
    sr, sc = _read(built["sr", ""]), _read(built["sc", ""])
    groups = _groups(sr)
    assert [n for n in groups if "result" in n] == [f"ViDi film {n} result" for n in (3, 2, 1)]
    marked = [n for n, g in groups.items() if "REPEATED_EXPOSURE" in _coded(g[0], "WARNING")]
    assert marked == ["ViDi film 1 result"]
    assert "REPEATED_EXPOSURE: this is an earlier exposure of a view that was repeated as film 2." in _texts(sr)
    assert [i.ReferencedSOPInstanceUID for i in sc.SourceImageSequence] == ["1.2.3.4.3", "1.2.3.4.2"]
    assert ("pm", "f1") in built and ("png", "f1") in built


def test_a_film_repeated_by_one_without_a_result_is_pictured_and_marked(part: Parts, options: BuildOptions) -> None:
    built = build_study([part(1, fields={"repeated_by": "x"})], options, not_analysed=[LACKING])
    assert "REPEATED_EXPOSURE" in _coded(_read(built[0]), "WARNING")
    assert any("a film that has no result here" in t for t in _texts(_read(built[0])))
    assert any(o.kind == "sc" for o in built)
    with pytest.raises(InvalidInput):
        build_study([part(1), part(2, fields={"repeated_by": "f1"})], options)


def test_at_most_four_films_are_pictured_in_a_bounded_picture(part: Parts, options: BuildOptions) -> None:
    parts = [part(n, ViewPosition="") for n in range(1, 7)]
    (sc,) = build_study(parts, replace(options, kinds=("sc",)))
    ds = _read(sc)
    assert [i.ReferencedSOPInstanceUID for i in ds.SourceImageSequence] == [f"1.2.3.4.{n}" for n in (6, 5, 4, 3)]
    assert max(ds.Rows, ds.Columns) <= 4096


def test_urgency_is_coded_and_is_no_finding(part: Parts, options: BuildOptions) -> None:
    fields = {"urgency": 0.75, "urgency_reasons": ("SEVERE", "UNCERTAIN")}
    sr = _report([part(1, fields=fields), part(2)], options)
    groups = _groups(sr)
    (urgency,) = groups["ViDi film 1 result"].get_measurements()
    assert (urgency.name.value, urgency.name.scheme_designator, urgency.value) == ("URGENCY", "99VIDI", 0.75)
    assert _coded(groups["ViDi film 1 result"][0], "URGENCY_REASON") == ["SEVERE", "UNCERTAIN"]
    assert not groups["ViDi film 2 result"].get_measurements()
    (said,) = [t for t in _texts(sr) if t.startswith("Reading order")]
    assert "urgency 0.75 of 1 (SEVERE, UNCERTAIN)" in said
    assert "only ever pulls a film forward" in said and "is no finding" in said


@pytest.mark.parametrize("urgency", [-0.1, 1.1, float("nan")])
def test_an_urgency_out_of_range_is_refused(urgency: float, part: Parts, options: BuildOptions) -> None:
    with pytest.raises(InvalidInput, match="urgency"):
        build_study([part(1, fields={"urgency": urgency})], options)


def test_a_revised_report_names_its_predecessor(part: Parts, options: BuildOptions) -> None:
    first = build_study([part(1)], options)[0]
    sr = _report([part(1)], options, predecessors=[Predecessor.of(first.data)], revision=2, withdrawn=[GONE])
    (study,) = sr.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (item,) = series.ReferencedSOPSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == ("1.2.3", _read(first).SeriesInstanceUID)
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (SR, first.sop_instance_uid)
    assert any(t.startswith("Revision 2.") and first.sop_instance_uid in t for t in _texts(sr))
    assert "RESULT_WITHDRAWN" in _coded(sr, "WARNING") and _coded(sr, "WITHDRAWN_FOR") == ["113037"]
    assert "RESULTS_WITHDRAWN" not in _coded(sr, "WARNING")
    with pytest.raises(InvalidInput):
        Predecessor.of(Dataset())


def test_a_withdrawal_says_so_and_holds_no_number(part: Parts, options: BuildOptions) -> None:
    first = build_study([part(1)], options)[0]
    more: dict[str, Any] = {"predecessors": [Predecessor.of(first.data)], "withdrawn": [GONE], "revision": 2}
    (built,) = build_study([], options, base=first.data, **more)
    sr = _read(built)
    assert (sr.PatientID, str(sr.PatientName), sr.StudyInstanceUID, sr.AccessionNumber) == (
        "P-1",
        "Doe^Jane^^Dr",
        "1.2.3",
        "A-77",
    )
    assert any("The results of ViDi for this study have been withdrawn." in t for t in _texts(sr))
    assert any(first.sop_instance_uid in t for t in _texts(sr))
    assert not [i for i in _items(sr) if i.ValueType in ("NUM", "IMAGE")]
    assert not _coded(sr, "MODEL_FAVOURS") and not _coded(sr, "MODEL_CLASS")
    assert _coded(sr, "WITHDRAWN_FOR") == ["113037"]
    assert "CurrentRequestedProcedureEvidenceSequence" not in sr
    assert list(_groups(sr)) == ["ViDi study"]
    assert build_study([], options, base=_read(first), **more) == [built]


def test_a_report_without_films_needs_something_to_say_and_a_patient(part: Parts, options: BuildOptions) -> None:
    for more in (
        {},
        {"base": part(1).header},
        {"predecessors": [EARLIER]},
        {"predecessors": [EARLIER], "base": Dataset()},
        {"predecessors": [EARLIER], "base": b"\0" * 200},
    ):
        with pytest.raises(InvalidInput):
            build_study([], options, **more)


def test_films_of_two_models_are_not_to_be_compared(part: Parts, options: BuildOptions) -> None:
    other = {"model": {"digest": "sha256:" + "9" * 64}}
    sr = _report([part(1), part(2, outcome=other)], options)
    assert "MIXED_MODELS" in _coded(sr, "WARNING")
    assert "MIXED_MODELS" not in _coded(_report([part(1), part(2)], options), "WARNING")
    assert list(sr.private_block(0x0099, "VIDI RESULT 1")[0x05].value) == ["sha256:" + c * 64 for c in "a9"]


def test_films_have_ids_of_their_own(part: Parts, options: BuildOptions) -> None:
    for parts in ([part(1), part(1)], [replace(part(1), film_id="")]):
        with pytest.raises(InvalidInput, match="film"):
            build_study(parts, options)


def test_no_free_text_of_a_header_reaches_the_picture(part: Parts, options: BuildOptions) -> None:
    options = replace(options, kinds=("sc",))

    def picture(view: str) -> npt.NDArray[np.uint8]:
        # two views, so that neither film repeats the other
        films = [part(n, ViewPosition=view, ImageLaterality=side) for n, side in ((1, "L"), (2, "R"))]
        (sc,) = build_study(films, options)
        return np.asarray(_read(sc).pixel_array)

    unnamed = picture("")
    assert np.array_equal(picture("DOE JANE"), unnamed)
    assert not np.array_equal(picture("PA"), unnamed)
