"""A real archive takes all objects, and gives them back as they were."""

from __future__ import annotations

import io
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pynetdicom import AE

from vidi_gateway.objects import BuiltObject, is_own, read_rejection
from vidi_gateway.outcome import FilmOutcome

if TYPE_CHECKING:
    from typing import Any

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def stored(orthanc: Any, objects: list[BuiltObject]) -> dict[str, bytes]:
    """Sends all objects by C-STORE, twice, and reads their files back by SOP Instance UID."""
    ae = AE("VIDI")
    for uid in {o.sop_class_uid for o in objects}:
        ae.add_requested_context(uid, "1.2.840.10008.1.2.1")
    association = ae.associate("127.0.0.1", orthanc.dicom_port, ae_title="ARCHIVE")
    assert association.is_established
    try:
        for o in objects * 2:
            assert association.send_c_store(pydicom.dcmread(io.BytesIO(o.data))).Status == 0
    finally:
        association.release()
    return {o.sop_instance_uid: orthanc.get(f"/instances/{orthanc.find(o.sop_instance_uid)}/file") for o in objects}


def test_it_comes_back_as_it_was(stored: dict[str, bytes], objects: list[BuiltObject]) -> None:
    # report, capture, 4 maps of each of 2 films, withdrawal, rejection note
    assert len(stored) == len(objects) == 12
    for o in objects:
        sent, back = (pydicom.dcmread(io.BytesIO(d)) for d in (o.data, stored[o.sop_instance_uid]))
        assert sent == back
        for keyword in ("FloatPixelData", "PixelData"):
            if keyword in sent:
                assert sent[keyword].value == back[keyword].value
        assert is_own(back)


def test_the_maps_come_back_exactly(stored: dict[str, bytes], objects: list[BuiltObject], outcome: FilmOutcome) -> None:
    for film_id, c in product(("f1", "f2"), outcome.classes):
        parts = {}
        for o in objects:
            if (o.film_id, o.class_name) == (film_id, c.name):
                ds = pydicom.dcmread(io.BytesIO(stored[o.sop_instance_uid]))
                parts[o.sign] = np.frombuffer(ds.FloatPixelData, "<f4").reshape(ds.Rows, ds.Columns)
        assert (parts["favorable"] - parts["glum"]).tobytes() == c.map.tobytes()


def test_one_study_of_one_patient_nothing_twice(stored: dict[str, bytes], orthanc: Any) -> None:
    assert stored
    counts = orthanc.json("/statistics")
    assert {k: counts[f"Count{k}"] for k in ("Patients", "Studies", "Series", "Instances")} == {
        "Patients": 1,
        "Studies": 1,
        "Series": 12,
        "Instances": 12,
    }


def test_names_survive_queries(stored: dict[str, bytes], orthanc: Any) -> None:
    assert stored
    patient = orthanc.json(orthanc.json("/patients") and f"/patients/{orthanc.json('/patients')[0]}")
    assert patient["MainDicomTags"]["PatientName"] == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_the_picture_is_rendered(stored: dict[str, bytes], orthanc: Any, objects: list[BuiltObject]) -> None:
    assert stored
    from PIL import Image

    capture = next(o for o in objects if o.kind == "sc")
    preview = Image.open(io.BytesIO(orthanc.get(f"/instances/{orthanc.find(capture.sop_instance_uid)}/preview")))
    assert np.array_equal(np.asarray(preview.convert("RGB")), pydicom.dcmread(io.BytesIO(capture.data)).pixel_array)


def test_the_note_comes_back_as_a_note_about_all_results(
    stored: dict[str, bytes], objects: list[BuiltObject], results: list[BuiltObject]
) -> None:
    (uid,) = [o.sop_instance_uid for o in objects if o.kind == "ko"]
    note = read_rejection(pydicom.dcmread(io.BytesIO(stored[uid])))
    assert note is not None and note.sop_instance_uid == uid
    assert {r.sop_instance_uid for r in note.references} == {o.sop_instance_uid for o in results}
