"""An exported film says nothing of its patient, wherever that stood, and still is the film."""

from __future__ import annotations

import datetime as dt
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_fragments
from pydicom.uid import UID, JPEGBaseline8Bit

from vidi.errors import PreconditionFailed, UnreadableImage
from vidi.imaging.dicom import decode_dicom, decode_stored
from vidi.phantoms import QUIRKS, PhantomSpec, make, to_dicom
from vidi_gateway.export import allowed, profile
from vidi_gateway.export.profile import Options, Subject, deidentify
from vidi_gateway.export.sandbox import ExportSandbox
from vidi_gateway.export.secret import Names

CANARY = "ZQXCANARY"
SUBJECT = Subject("f1", "s1", "p1")
NAMES = Names(b"n" * 32)


def code(meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = "399348003", "SCT", meaning
    return ds


@pytest.fixture
def film() -> Dataset:
    """A film with the patient's name in every place that a device or a careless person might put it."""
    ds = dcmread(io.BytesIO(to_dicom(make(PhantomSpec(seed=3, severity="mild", height=256, width=192)))))
    for element in list(ds):
        if element.VR in ("LO", "SH", "LT", "ST", "UT", "PN", "UC") and element.keyword:
            setattr(ds, element.keyword, CANARY)
    ds.PatientName, ds.PatientID, ds.AccessionNumber = f"{CANARY}^ANNA", f"{CANARY}1", f"{CANARY}2"
    ds.PatientComments = ds.ImageComments = ds.AcquisitionDeviceProcessingDescription = CANARY
    ds.WindowCenterWidthExplanation = ds.ProtocolName = ds.SeriesDescription = ds.StationName = CANARY
    ds.BodyPartExamined = ds.AcquisitionDeviceProcessingCode = ds.FilterType = CANARY
    ds.ImageType = ["ORIGINAL", "PRIMARY", CANARY]
    ds.RescaleType = CANARY
    ds.PatientAge, ds.PatientSex = "093Y", "F"
    ds.private_block(0x0019, CANARY, create=True).add_new(1, "LO", CANARY)
    inner, outer = Dataset(), Dataset()
    inner.PatientName, inner.ReferencedSOPInstanceUID = CANARY, ds.SOPInstanceUID
    inner.private_block(0x0021, CANARY, create=True).add_new(1, "UN", CANARY.encode())
    outer.RequestAttributesSequence = [inner]
    outer.CodeMeaning = CANARY
    ds.RequestAttributesSequence, ds.AnatomicRegionSequence = [inner], [outer, code(CANARY)]
    ds.ViewCodeSequence = [code(CANARY)]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = [code(CANARY)]
    ds.add_new(0x60000010, "US", 8)
    ds.add_new(0x60000011, "US", 8)
    ds.add_new(0x60001500, "LO", CANARY)
    ds.add_new(0x60003000, "OB", b"\1" * 8)
    ds.add_new(0x50000005, "US", 1)
    ds.add_new(0x00091001, "LO", CANARY)
    ds.add_new(0xFFFCFFFC, "OB", CANARY.encode() + b"\0")
    ds.file_meta.PrivateInformation, ds.file_meta.PrivateInformationCreatorUID = CANARY.encode() + b"\0", UID("1.2.3")
    ds.preamble = (CANARY.encode() * 20)[:128]
    return ds


def written(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("options", [Options(), Options(keep_age_and_sex=True, shift_dates=True)])
def test_nothing_of_the_patient_is_left(film: Dataset, options: Options) -> None:
    data = written(film)
    assert data.count(CANARY.encode()) > 30, "the test's own film"
    out = deidentify(data, NAMES, SUBJECT, options)
    assert CANARY.encode() not in out
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyDate"):
        assert str(film[keyword].value).encode() not in out
    ds = dcmread(io.BytesIO(out))
    assert ds.PatientIdentityRemoved == "YES" and ds.DeidentificationMethod and ds.preamble == b"\0" * 128
    assert "113100" in [c.CodeValue for c in ds.DeidentificationMethodCodeSequence]
    assert not any(e.tag.is_private for e in ds.iterall())


def test_the_scan_above_can_fail(film: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {**allowed.WORDS, "FilterType": frozenset({CANARY})}
    monkeypatch.setattr(allowed, "WORDS", words)
    assert CANARY.encode() in deidentify(written(film), NAMES, SUBJECT, Options())


def test_what_slips_through_is_refused(film: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    build = profile._build

    def careless(*arguments: object) -> Dataset:
        ds = build(*arguments)  # type: ignore[arg-type]
        ds.SeriesDescription = f"chest of {CANARY.lower()}"
        return ds

    monkeypatch.setattr(profile, "_build", careless)
    with pytest.raises(PreconditionFailed) as caught:
        deidentify(written(film), NAMES, SUBJECT, Options())
    assert caught.value.reason == "NOT_DEIDENTIFIED" and CANARY not in str(caught.value)


@pytest.mark.parametrize("quirk", QUIRKS)
def test_it_still_is_the_film(quirk: str) -> None:
    data = to_dicom(make(PhantomSpec(seed=5, severity="severe", height=256, width=256)), quirk)
    out = deidentify(data, NAMES, SUBJECT, Options())
    before, after = decode_stored(data), decode_stored(out)
    assert np.array_equal(before[1], after[1])
    assert np.array_equal(decode_dicom(data).pixels, decode_dicom(out).pixels), "shown as before"


@pytest.mark.parametrize("quirk", ["plain", "monochrome1_bare"])
def test_it_is_valid_dicom(quirk: str, tmp_path: Path) -> None:
    def errors(data: bytes) -> set[str]:
        path = tmp_path / "film.dcm"
        path.write_bytes(data)
        done = subprocess.run(
            [Path(sys.executable).with_name("dciodvfy"), "-new", path], capture_output=True, text=True, check=False
        )
        lines = (done.stdout + done.stderr).splitlines()
        return {line for line in lines if line.startswith("Error")}

    data = to_dicom(make(PhantomSpec(seed=5, severity="severe", height=256, width=256)), quirk)
    for options in (Options(), Options(keep_age_and_sex=True, shift_dates=True)):
        assert errors(deidentify(data, NAMES, SUBJECT, options)) <= errors(data)


def test_real_films_of_a_real_device() -> None:
    path = get_testdata_file("RG1_UNCR.dcm")
    assert isinstance(path, str)
    data = Path(path).read_bytes()
    out = deidentify(data, NAMES, SUBJECT, Options())
    assert np.array_equal(decode_stored(data)[1], decode_stored(out)[1])
    header = dcmread(path, stop_before_pixels=True)
    for keyword in ("PatientID", "StudyInstanceUID", "AccessionNumber", "StudyDate", "DeviceSerialNumber"):
        if value := str(header.get(keyword, "")):
            assert value.encode() not in out.split(b"\xe0\x7f\x10\x00")[0]


def test_a_codecs_comments_do_not_travel() -> None:
    ds = dcmread(
        io.BytesIO(to_dicom(make(PhantomSpec(seed=5, severity="mild", height=256, width=256)), "jpeg_baseline"))
    )
    assert ds.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    frame = b"".join(generate_fragments(ds.PixelData))
    start = frame.index(b"\xff\xd8")
    comment = b"\xff\xfe" + (len(CANARY) + 2).to_bytes(2, "big") + CANARY.encode()
    ds.PixelData = encapsulate([frame[start : start + 2] + comment + frame[start + 2 :]])
    data = written(ds)
    assert CANARY.encode() in data
    out = deidentify(data, NAMES, SUBJECT, Options())
    assert CANARY.encode() not in out
    assert dcmread(io.BytesIO(out)).LossyImageCompression == "01", "it was lossy once"


def test_words_in_unused_bits_do_not_travel(film: Dataset) -> None:
    cells = np.frombuffer(film.PixelData, "<u2").copy()
    film.BitsStored = 12
    film.HighBit = 11
    cells |= np.uint16(0x8000)
    film.PixelData = cells.tobytes()
    out = dcmread(io.BytesIO(deidentify(written(film), NAMES, SUBJECT, Options())))
    assert int(np.frombuffer(out.PixelData, "<u2").max()) < 1 << 12


def test_burned_in_annotations_are_refused(film: Dataset) -> None:
    film.BurnedInAnnotation = "YES"
    with pytest.raises(PreconditionFailed) as caught:
        deidentify(written(film), NAMES, SUBJECT, Options())
    assert caught.value.reason == "BURNED_IN_ANNOTATION"


def test_dates_age_and_sex(film: Dataset) -> None:
    film.StudyDate = film.AcquisitionDate = "20240229"
    plain = dcmread(io.BytesIO(deidentify(written(film), NAMES, SUBJECT, Options())))
    assert plain.StudyDate == "" and "AcquisitionDate" not in plain and plain.PatientSex == ""
    assert "PatientAge" not in plain and plain.LongitudinalTemporalInformationModified == "REMOVED"
    options = Options(keep_age_and_sex=True, shift_dates=True)
    one = dcmread(io.BytesIO(deidentify(written(film), NAMES, SUBJECT, options)))
    assert (one.PatientAge, one.PatientSex) == ("090Y", "F")
    assert one.StudyDate == one.AcquisitionDate != "20240229" and one.StudyTime == ""
    film.StudyDate = "20240302"
    two = dcmread(io.BytesIO(deidentify(written(film), NAMES, Subject("f2", "s2", "p1"), options)))
    days = dt.date.fromisoformat(two.StudyDate) - dt.date.fromisoformat(one.StudyDate)
    assert days.days == 2, "the same patient's days keep their distance"


def test_names_hold_together_within_an_export_and_not_between() -> None:
    other = Names(b"o" * 32)
    assert NAMES.patient("p1") == NAMES.patient("p1") != NAMES.patient("p2")
    assert NAMES.uid("study", "s1") != NAMES.uid("film", "s1")
    assert NAMES.patient("p1") != other.patient("p1")
    assert NAMES.film("f1") != other.film("f1")
    assert NAMES.uid("study", "s1") != other.uid("study", "s1")
    assert len({Names.new().export_id for _ in range(20)}) == 20
    assert len(NAMES.uid("study", "s1")) <= 64


def test_a_header_that_breaks_the_profile_is_refused_without_a_word_of_it(
    film: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_arguments: object, **_options: object) -> None:
        raise ValueError(CANARY)

    monkeypatch.setattr(profile, "anonymize_dataset", breaks)
    with pytest.raises(PreconditionFailed) as caught:
        deidentify(written(film), NAMES, SUBJECT, Options())
    assert CANARY not in str(caught.value) and caught.value.__cause__ is None


def test_in_a_process_of_its_own(film: Dataset) -> None:
    sandbox = ExportSandbox()
    try:
        assert sandbox.deidentify(written(film), NAMES, SUBJECT, Options()) == deidentify(
            written(film), NAMES, SUBJECT, Options()
        )
        with pytest.raises(UnreadableImage):
            sandbox.deidentify(written(film)[:-1000], NAMES, SUBJECT, Options())
        film.BurnedInAnnotation = "YES"
        with pytest.raises(PreconditionFailed) as caught:
            sandbox.deidentify(written(film), NAMES, SUBJECT, Options())
        assert caught.value.reason == "BURNED_IN_ANNOTATION"
        assert sandbox._pool is not None
        for process in sandbox._pool._processes.values():
            process.kill()
        film.BurnedInAnnotation = "NO"
        with pytest.raises(UnreadableImage) as crashed:
            sandbox.deidentify(written(film), NAMES, SUBJECT, Options())
        assert crashed.value.reason == "DECODER_CRASHED"
        assert sandbox.deidentify(written(film), NAMES, SUBJECT, Options())
    finally:
        sandbox.close()
