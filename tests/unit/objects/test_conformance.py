"""Every object, from every kind of header, judged by tools that are not ViDi's."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset

from vidi_gateway.objects import (
    BuildOptions,
    BuiltObject,
    FilmPart,
    RejectionReason,
    build_rejection,
    build_study,
    codes,
    is_own,
)
from vidi_gateway.outcome import FilmOutcome

Pixels = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def built(
    named_header: tuple[Dataset, str], film: Pixels, make_outcome: Callable[..., FilmOutcome], options: BuildOptions
) -> list[BuiltObject]:
    """All objects of one header."""
    return build_study([FilmPart("film", named_header[0], film, make_outcome())], options)


def test_every_object_is_valid_dicom(
    named_header: tuple[Dataset, str], built: list[BuiltObject], dciodvfy: Callable[[bytes], list[str]]
) -> None:
    header, name = named_header
    assert [o.kind for o in built] == ["sr", "pm", "pm", "pm", "pm", "sc", "png"]
    for o in built[:-1]:
        assert dciodvfy(o.data) == []
        ds = pydicom.dcmread(io.BytesIO(o.data))
        assert (str(ds.SOPInstanceUID), str(ds.SOPClassUID)) == (o.sop_instance_uid, o.sop_class_uid)
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.StudyInstanceUID == header.StudyInstanceUID
        assert str(ds.PatientName) == name
        assert ds.PatientID == header.get("PatientID", "")
        assert ds.AccessionNumber == header.get("AccessionNumber", "")
        assert ds.SeriesDescription.startswith("AI ") and ds.SeriesNumber >= 9000
        assert is_own(ds)
        assert ds.Manufacturer == "ViDi" and ds.SoftwareVersions and ds.DeviceSerialNumber


def test_other_readers_read_them(
    built: list[BuiltObject], make_outcome: Callable[..., FilmOutcome], tmp_path: Path
) -> None:
    paths = [tmp_path / f"{i}.dcm" for i in range(len(built))]
    for path, o in zip(paths, built, strict=True):
        path.write_bytes(o.data)

    report = highdicom.sr.srread(paths[0])
    assert isinstance(report.content, highdicom.sr.MeasurementReport)
    groups = report.content.get_image_measurement_groups()
    assert [g.tracking_identifier for g in groups] == ["ViDi result", "ViDi class normal", "ViDi class pneumonia"]
    dump = subprocess.run(["dsrdump", "-Er", paths[0]], capture_output=True, timeout=60, check=True)
    assert b"Verification Flag   : UNVERIFIED" in dump.stdout

    # another reader's real world values are the explainer's attributions
    parts = []
    for path in paths[1:3]:
        image = highdicom.imread(path)
        assert (
            image.pixel_array.dtype == np.float32
        )  # decodes: highdicom's lazy path asks float images for integer attributes
        parts.append(image.get_frame(1, apply_real_world_transform=True))
    assert np.array_equal(parts[0] - parts[1], make_outcome().classes[0].map)

    capture = built[-2]
    assert capture.kind == "sc"
    out = tmp_path / "capture.ppm"
    subprocess.run(["dcm2pnm", "+op", paths[-2], out], capture_output=True, timeout=60, check=True)
    seen = np.asarray(Image.open(out))
    assert np.array_equal(seen, np.asarray(Image.open(io.BytesIO(built[-1].data))))
    assert np.array_equal(seen, pydicom.dcmread(paths[-2]).pixel_array)


def test_the_statement_lists_every_private_code_and_series(
    named_header: tuple[Dataset, str], built: list[BuiltObject], options: BuildOptions
) -> None:
    """docs/dicom-conformance.md says what the code does."""
    statement = (Path(__file__).parents[3] / "docs" / "dicom-conformance.md").read_text("utf-8")
    concepts = [c for c in vars(codes).values() if isinstance(c, highdicom.sr.CodedConcept)]
    private = [str(c.value) for c in concepts if c.scheme_designator == codes.SCHEME]
    assert len(private) > 15
    listed = statement.partition("## Private codes")[2]
    assert [value for value in private if not re.search(rf"\b{value}\b", listed)] == []
    note = build_rejection([o.data for o in built if o.kind != "png"], RejectionReason.QUALITY, options)
    for o in [*built, note]:
        if o.kind in ("sr", "sc", "ko"):
            ds = pydicom.dcmread(io.BytesIO(o.data))
            (row,) = [line for line in statement.splitlines() if o.sop_class_uid in line and line.startswith("|")]
            assert f"| {ds.Modality} | {ds.SeriesNumber} | {ds.SeriesDescription}" in row
