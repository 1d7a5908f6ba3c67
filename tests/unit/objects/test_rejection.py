"""Notes that reject our own objects, and reading those of others, however hostile."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from vidi.errors import InvalidInput
from vidi_gateway.objects import (
    BuildOptions,
    BuiltObject,
    FilmPart,
    RejectedObject,
    RejectionReason,
    build_rejection,
    build_study,
    is_own,
    read_rejection,
)
from vidi_gateway.objects.rejection import MOST_REFERENCES
from vidi_gateway.outcome import FilmOutcome

KOS = "1.2.840.10008.5.1.4.1.1.88.59"
CR = "1.2.840.10008.5.1.4.1.1.1"
Build = Callable[..., list[BuiltObject]]


@pytest.fixture
def build(
    plain_header: Callable[..., Dataset],
    film: npt.NDArray[np.float32],
    make_outcome: Callable[..., FilmOutcome],
    options: BuildOptions,
) -> Build:
    """Builds the DICOM objects of a film, with changes of its header."""

    def run(**header: str) -> list[BuiltObject]:
        part = FilmPart("film", plain_header(**header), film, make_outcome(grid=(32, 32)))
        return [o for o in build_study([part], options) if o.kind != "png"]

    return run


def _note(*, title: str = "113001", scheme: str = "DCM", uids: tuple[str, ...] = ("1.2.5",)) -> Dataset:
    """A rejection note of somebody else's."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = KOS, "1.2.77"
    concept = Dataset()
    concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = title, scheme, "Some title"
    ds.ConceptNameCodeSequence = [concept]
    references, content = [], []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CR, uid
        references.append(item)
        image = Dataset()
        image.ValueType, image.ReferencedSOPSequence = "IMAGE", [Dataset(item)]
        content.append(image)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "1.2.6", references
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "1.2.8", [series]
    ds.CurrentRequestedProcedureEvidenceSequence = [study]
    ds.ContentSequence = content
    return ds


@pytest.mark.parametrize("reason", RejectionReason)
def test_a_note_names_every_object_by_series(
    reason: RejectionReason, build: Build, options: BuildOptions, dciodvfy: Callable[[bytes], list[str]]
) -> None:
    retired = build()
    note = build_rejection([o.data for o in retired], reason, options)
    assert (note.kind, note.film_id, note.sop_class_uid, note.media_type) == ("ko", "", KOS, "application/dicom")
    assert dciodvfy(note.data) == []
    ds = pydicom.dcmread(io.BytesIO(note.data))
    assert (ds.ConceptNameCodeSequence[0].CodeValue, ds.ConceptNameCodeSequence[0].CodeMeaning) == (
        reason.value,
        reason.code.meaning,
    )
    assert (ds.Modality, ds.ContentTemplateSequence[0].TemplateIdentifier) == ("KO", "2010")
    assert ds.SeriesNumber >= 9001 and ds.SeriesDescription.startswith("AI ")
    assert (ds.PatientID, str(ds.PatientName), ds.StudyInstanceUID, ds.AccessionNumber) == (
        "P-1",
        "Doe^Jane^^Dr",
        "1.2.3",
        "A-77",
    )
    assert is_own(ds)
    ds.remove_private_tags()
    assert is_own(ds)
    read = read_rejection(ds)
    assert read is not None and (read.reason, read.sop_instance_uid) == (reason, note.sop_instance_uid)
    assert set(read.references) == {
        RejectedObject(
            "1.2.3",
            str(pydicom.dcmread(io.BytesIO(o.data)).SeriesInstanceUID),
            o.sop_class_uid,
            o.sop_instance_uid,
        )
        for o in retired
    }
    assert len(read.references) == 6
    value_types = [i.ValueType for i in ds.ContentSequence if "ReferencedSOPSequence" in i]
    assert sorted(value_types) == ["COMPOSITE"] + ["IMAGE"] * 5


def test_the_same_note_has_the_same_bytes(build: Build, options: BuildOptions) -> None:
    retired = [o.data for o in build()]
    note = build_rejection(retired, RejectionReason.QUALITY, options)
    assert build_rejection(retired[::-1], RejectionReason.QUALITY, options) == note
    others = [
        build_rejection(retired[1:], RejectionReason.QUALITY, options),
        build_rejection(retired, RejectionReason.EXPIRED, options),
        build_rejection(retired, RejectionReason.QUALITY, replace(options, device_serial="B")),
    ]
    assert len({o.sop_instance_uid for o in [note, *others]}) == 4


def test_only_our_own_objects_of_one_study_and_patient_are_rejected(
    build: Build, options: BuildOptions, plain_header: Callable[..., Dataset], reread: Callable[[Dataset], Dataset]
) -> None:
    own = build()[0].data
    film = io.BytesIO()
    reread(plain_header()).save_as(film)
    for retired in (
        [],
        [own, film.getvalue()],
        [own, build(StudyInstanceUID="1.2.9")[0].data],
        [own, build(PatientID="P-2")[0].data],
        [b"\x89PNG\r\n\x1a\n"],
    ):
        with pytest.raises(InvalidInput) as raised:
            build_rejection(retired, RejectionReason.QUALITY, options)
        assert "P-2" not in str(raised.value) and "Doe" not in str(raised.value)
    naive = replace(options, created=options.created.replace(tzinfo=None))
    with pytest.raises(InvalidInput, match="time zone"):
        build_rejection([own], RejectionReason.QUALITY, naive)


@pytest.mark.parametrize("title", ["113001", "113037", "113038", "113039"])
def test_rejection_titles_are_read(title: str, reread: Callable[[Dataset], Dataset]) -> None:
    note = read_rejection(reread(_note(title=title, uids=("1.2.5", "1.2.7"))))
    assert note is not None and (note.reason.value, note.sop_instance_uid) == (title, "1.2.77")
    assert note.references == tuple(RejectedObject("1.2.8", "1.2.6", CR, u) for u in ("1.2.5", "1.2.7"))


def test_other_selections_and_objects_reject_nothing(plain_header: Callable[..., Dataset], build: Build) -> None:
    for ds in (_note(title="113000"), _note(title="113013"), _note(scheme="99X"), plain_header(), Dataset()):
        assert read_rejection(ds) is None
    untitled = _note()
    del untitled.ConceptNameCodeSequence
    assert read_rejection(untitled) is None
    assert all(read_rejection(pydicom.dcmread(io.BytesIO(o.data))) is None for o in build())


def test_the_content_tree_says_what_is_rejected() -> None:
    ds = _note(uids=("1.2.5", "1.2.7"))
    ds.ContentSequence = ds.ContentSequence[:1]
    note = read_rejection(ds)
    assert note is not None and [r.sop_instance_uid for r in note.references] == ["1.2.5"]
    del ds.CurrentRequestedProcedureEvidenceSequence
    note = read_rejection(ds)
    assert note is not None and note.references == (RejectedObject("", "", CR, "1.2.5"),)
    ds = _note(uids=("1.2.5", "1.2.7"))
    del ds.ContentSequence
    note = read_rejection(ds)
    assert note is not None and len(note.references) == 2


def test_a_note_that_cannot_be_followed_is_refused_and_not_dropped() -> None:
    empty = _note()
    del empty.ContentSequence, empty.CurrentRequestedProcedureEvidenceSequence
    damaged = _note()
    tag = Tag("ContentSequence")
    damaged._dict[tag] = RawDataElement(tag, "SQ", 5, b"\x01\x02\x03\x04\x05", 0, False, True)
    invalid = _note(uids=("1.2.5",))
    item = invalid.ContentSequence[0].ReferencedSOPSequence[0]
    tag = Tag("ReferencedSOPInstanceUID")
    item._dict[tag] = RawDataElement(tag, "UI", 9, b"../../etc", 0, False, True)
    many = _note()
    many.ContentSequence[0].ReferencedSOPSequence = [
        Dataset(many.ContentSequence[0].ReferencedSOPSequence[0]) for _ in range(MOST_REFERENCES + 1)
    ]
    for ds in (empty, damaged, invalid, many):
        with pytest.raises(InvalidInput):
            read_rejection(ds)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_a_note_crashes_the_reader(data: st.DataObject, reread: Callable[[Dataset], Dataset]) -> None:
    ds = _note(uids=("1.2.5", "1.2.7"))
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    raw = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(300, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        damaged = pydicom.dcmread(io.BytesIO(bytes(raw)), force=True)
    except Exception:  # noqa: BLE001 - damage that pydicom finds is refused before the reader is asked
        return
    try:
        note = read_rejection(damaged)
    except InvalidInput:
        return
    assert note is None or note.references
