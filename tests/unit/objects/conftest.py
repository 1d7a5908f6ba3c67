"""Headers as they come, an outcome, and the tools that judge the objects."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from vidi.imaging.geometry import Affine
from vidi.imaging.notes import Note
from vidi_gateway.objects import BuildOptions, BuiltObject
from vidi_gateway.outcome import ClassOutcome, Code, FilmOutcome, ModelInfo

CREATED = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=UTC)
SHAPE = (97, 83)
IODS = ("Comprehensive3DSR", "ParametricMap", "SCImage", "KeyObjectSelectionDocument")
CODES = {"normal": Code("NORMAL", "99VIDI", "Model class 'normal'"), "pneumonia": Code("233604007", "SCT", "Pneumonia")}


def _reread(ds: Dataset) -> Dataset:
    """Return the dataset as a file gives it: raw, undecoded elements."""
    buffer = io.BytesIO()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


def _plain(**changes: Any) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = "1.2.3.4.5"
    ds.SeriesInstanceUID = "1.2.3.4"
    ds.StudyInstanceUID = "1.2.3"
    ds.PatientName = "Doe^Jane^^Dr"
    ds.PatientID = "P-1"
    ds.PatientBirthDate = "19600229"
    ds.PatientSex = "F"
    ds.PatientAge = "064Y"
    ds.StudyDate = "20240102"
    ds.StudyTime = "101112.5"
    ds.StudyID = "S1"
    ds.AccessionNumber = "A-77"
    ds.StudyDescription = "CHEST PA"
    ds.ReferringPhysicianName = "Who^Doctor"
    ds.Modality = "DX"
    ds.ViewPosition = "PA"
    ds.PatientOrientation = ["L", "F"]
    ds.ImagerPixelSpacing = ["0.143", "0.15"]
    ds.SeriesNumber = 1
    ds.InstanceNumber = 1
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def _bare() -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.SOPInstanceUID = "1.2.840.99.1"
    ds.SeriesInstanceUID = "1.2.840.99.2"
    ds.StudyInstanceUID = "1.2.840.99.3"
    return ds


HEADERS: dict[str, Callable[[], Dataset]] = {
    "plain": _plain,
    "philips": lambda: pydicom.dcmread(get_testdata_file("RG1_UNCR.dcm"), stop_before_pixels=True),  # type: ignore[arg-type]
    "bare": _bare,
    "japanese": lambda: _reread(
        _plain(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう")
    ),
    "cyrillic": lambda: _reread(_plain(SpecificCharacterSet="ISO_IR 144", PatientName="Люкceмбypг")),
    "umlaut": lambda: _reread(_plain(SpecificCharacterSet="ISO_IR 100", PatientName="Äneas^Rüdiger")),
    "utf8": lambda: _reread(
        _plain(SpecificCharacterSet="ISO_IR 192", PatientName="Wang^XiaoDong=王^小东", StudyDescription="胸部")
    ),
}
NAMES = {
    "plain": "Doe^Jane^^Dr",
    "philips": "CompressedSamples^RG1",
    "bare": "",
    "japanese": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "cyrillic": "Люкceмбypг",
    "umlaut": "Äneas^Rüdiger",
    "utf8": "Wang^XiaoDong=王^小东",
}


@pytest.fixture(scope="module", params=list(HEADERS))
def named_header(request: pytest.FixtureRequest) -> tuple[Dataset, str]:
    """A header as it comes from a file, and the patient's name in it."""
    return HEADERS[request.param](), NAMES[request.param]


@pytest.fixture
def plain_header() -> Callable[..., Dataset]:
    """Makes a well-filled DX header, with changes."""
    return _plain


@pytest.fixture
def bare_header() -> Callable[[], Dataset]:
    """Makes a header with UIDs only."""
    return _bare


@pytest.fixture
def reread() -> Callable[[Dataset], Dataset]:
    """Writes and reads a dataset."""
    return _reread


@pytest.fixture(scope="session")
def make_outcome() -> Callable[..., FilmOutcome]:
    """Makes an outcome of two classes; keyword arguments replace fields, `model` a dict of the model's."""

    def make(*, grid: tuple[int, int] = (224, 224), seed: int = 0, **changes: Any) -> FilmOutcome:
        rng = np.random.default_rng(seed)
        model: dict[str, Any] = {"name": "pneumonia-slim", "version": "1.0.0", "digest": "sha256:" + "a" * 64}
        model["map_scale"] = 0.01
        model |= changes.pop("model", {})

        def one(i: int, name: str, probability: float) -> ClassOutcome:
            attribution = rng.normal(0, 0.01, grid).astype(np.float32)
            attribution[0, 0] = np.float32(1e-42) * (1 - 2 * i)
            total = float(attribution.sum(dtype=np.float64))
            favorable = float(attribution[attribution > 0].sum(dtype=np.float64))
            glum = float(attribution[attribution < 0].sum(dtype=np.float64))
            return ClassOutcome(
                name, i, CODES[name], probability, total - 0.5, -0.5, attribution, total, favorable, glum, 1e-6
            )

        fields: dict[str, Any] = {
            "model": ModelInfo(**model),
            "classes": (one(0, "normal", 0.3), one(1, "pneumonia", 0.7)),
            "top": 1,
            "target": "logit",
            "engine": "shap",
            "engine_version": "0.51.0",
            "precision": "float32",
            "references": 8,
            "background_digest": "sha256:" + "b" * 64,
            "explanation_key": "c" * 64,
            "map_to_film": Affine.between_grids(grid, SHAPE),
            "notes": (Note("AGE_UNKNOWN", "The header gives no age."),),
        }
        return FilmOutcome(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def film() -> npt.NDArray[np.float32]:
    """A small picture."""
    rows, columns = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    return np.asarray((rows + columns) / (sum(SHAPE) - 2), np.float32)


@pytest.fixture(scope="session")
def options() -> BuildOptions:
    """Options with a fixed time."""
    return BuildOptions(created=CREATED)


@pytest.fixture
def read() -> Callable[[BuiltObject], Dataset]:
    """Reads an object back."""
    return lambda built: pydicom.dcmread(io.BytesIO(built.data))


@pytest.fixture
def dciodvfy(tmp_path: Path) -> Callable[[bytes], list[str]]:
    """Returns the errors that dciodvfy finds in a file."""
    tool = Path(sys.executable).parent / "dciodvfy"

    def check(data: bytes) -> list[str]:
        path = tmp_path / "object.dcm"
        path.write_bytes(data)
        done = subprocess.run(
            [tool, "-new", path], capture_output=True, text=True, timeout=60, check=False, errors="replace"
        )
        lines = (done.stdout + done.stderr).splitlines()
        assert any(line.strip() in IODS for line in lines), lines
        return [line for line in lines if line.startswith("Error")] + (
            [f"exit {done.returncode}"] if done.returncode else []
        )

    return check
