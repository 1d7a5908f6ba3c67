from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from vidi.errors import InvalidInput
from vidi.imaging.gate import check_header
from vidi.phantoms import QUIRKS, PhantomFilm, PhantomSpec, make, to_dicom


@pytest.fixture(scope="module")
def phantom() -> PhantomFilm:
    return make(PhantomSpec(11, "mild", 192, 160))


@pytest.mark.parametrize("quirk", QUIRKS)
def test_every_quirk_is_a_valid_object_that_the_gate_lets_through(
    phantom: PhantomFilm, quirk: str, tmp_path: Path
) -> None:
    path = tmp_path / "phantom.dcm"
    path.write_bytes(to_dicom(phantom, quirk))
    tool = Path(sys.executable).with_name("dciodvfy")
    done = subprocess.run([tool, "-new", path], capture_output=True, text=True, check=False)
    said = (done.stderr + done.stdout).splitlines()
    assert any(line.startswith(("DXImage", "CRImage")) for line in said), said
    assert not [line for line in said if line.startswith("Error")]
    ds = dcmread(path)
    assert ds.QualityControlSubject == "YES"
    assert ds.PatientID.startswith("PHANTOM-")
    assert check_header(ds) is None


def test_quirks_cover_what_devices_do(phantom: PhantomFilm) -> None:
    written = {quirk: dcmread(io.BytesIO(to_dicom(phantom, quirk))) for quirk in QUIRKS}
    assert {ds.PhotometricInterpretation for ds in written.values()} == {"MONOCHROME1", "MONOCHROME2"}
    assert {ds.get("VOILUTFunction", "LINEAR") for ds in written.values()} == {"LINEAR", "LINEAR_EXACT", "SIGMOID"}
    assert {ds.get("ShutterShape") for ds in written.values()} == {None, "RECTANGULAR", "CIRCULAR", "POLYGONAL"}
    assert {ds.PixelRepresentation for ds in written.values()} == {0, 1}
    assert {ds.BitsStored for ds in written.values()} >= {8, 12, 16}
    assert "WindowCenter" not in written["no_window"]
    assert "PresentationLUTShape" not in written["monochrome1_bare"]
    assert float(written["rescale"].RescaleSlope) != 1.0
    assert "PixelPaddingRangeLimit" in written["padding_range"]
    assert len({ds.file_meta.TransferSyntaxUID for ds in written.values()}) == 6


def test_bytes_and_uids_follow_the_content(phantom: PhantomFilm) -> None:
    assert to_dicom(phantom) == to_dicom(phantom)
    other = make(PhantomSpec(12, "mild", 192, 160))
    uids = {dcmread(io.BytesIO(to_dicom(p, q))).SOPInstanceUID for p in (phantom, other) for q in ("plain", "rle")}
    assert len(uids) == 4


def test_an_unknown_quirk_is_refused(phantom: PhantomFilm) -> None:
    with pytest.raises(InvalidInput):
        to_dicom(phantom, "upside_down")
