"""A real Orthanc on ephemeral ports, and objects to store in it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from tests.integration.conftest import running
from vidi.imaging.geometry import Affine
from vidi.imaging.notes import Note
from vidi_gateway.objects import (
    BuildOptions,
    BuiltObject,
    FilmPart,
    Predecessor,
    RejectionReason,
    Withdrawn,
    build_rejection,
    build_study,
)
from vidi_gateway.outcome import ClassOutcome, Code, FilmOutcome, ModelInfo

NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc."""

    http: str
    dicom_port: int

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.http + path, timeout=30) as answer:
            return bytes(answer.read())

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def find(self, sop_instance_uid: str) -> str:
        """Orthanc's id of an instance."""
        request = urllib.request.Request(self.http + "/tools/lookup", sop_instance_uid.encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = [item["ID"] for item in json.load(answer) if item["Type"] == "Instance"]
        assert len(found) == 1, found
        return str(found[0])


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One that takes objects from anybody, and asks for no password."""
    open_to_all = {"AuthenticationEnabled": False, "DicomAlwaysAllowStore": True, "RemoteAccessAllowed": False}
    with running(tmp_path_factory.mktemp("orthanc") / "open", {}, **open_to_all) as started:
        yield Orthanc(started.http, started.dicom_port)


@pytest.fixture(scope="module")
def outcome() -> FilmOutcome:
    """Two classes."""
    rng = np.random.default_rng(3)

    def one(i: int, name: str, code: Code) -> ClassOutcome:
        m = rng.normal(0, 0.01, (224, 224)).astype(np.float32)
        favorable, glum = float(m[m > 0].sum(dtype=np.float64)), float(m[m < 0].sum(dtype=np.float64))
        return ClassOutcome(name, i, code, 0.4 + 0.2 * i, 0.1, 0.0, m, favorable + glum, favorable, glum, 1e-7)

    return FilmOutcome(
        model=ModelInfo("m", "1", "sha256:" + "1" * 64, map_scale=0.01),
        classes=(
            one(0, "normal", Code("NORMAL", "99VIDI", "Model class")),
            one(1, "pneumonia", Code("233604007", "SCT", "Pneumonia")),
        ),
        top=1,
        target="logit",
        engine="shap",
        engine_version="0.51.0",
        precision="float32",
        references=8,
        background_digest="sha256:" + "2" * 64,
        explanation_key="3" * 64,
        map_to_film=Affine.between_grids((224, 224), (260, 240)),
        notes=(Note("AGE_UNKNOWN", "The header gives no age."),),
    )


def _part(number: int, outcome: FilmOutcome) -> FilmPart:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{number}"
    header.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    header.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.3"
    header.PatientName = NAME
    header.PatientID = "J-1"
    header.StudyDate = "20240102"
    header.ViewPosition = ("AP", "PA")[number % 2]
    header.AcquisitionDate, header.AcquisitionTime = "20240102", f"10{number:02d}00"
    header.PatientOrientation = ["L", "F"]
    film = np.linspace(0, 1, 260 * 240, dtype=np.float32).reshape(260, 240)
    return FilmPart(f"f{number}", header, film, outcome)


@pytest.fixture(scope="module")
def results(outcome: FilmOutcome) -> list[BuiltObject]:
    """The DICOM objects of a study of two films, whose patient has a Japanese name."""
    options = BuildOptions(created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), kinds=("sr", "pm", "sc"))
    return build_study([_part(1, outcome), _part(2, outcome)], options)


@pytest.fixture(scope="module")
def objects(results: list[BuiltObject]) -> list[BuiltObject]:
    """The study's results, the report that withdraws them, and the note that rejects them."""
    options = BuildOptions(created=datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC))
    report = results[0].data
    withdrawn = [Withdrawn("f1", RejectionReason.QUALITY)]
    withdrawal = build_study(
        [], options, predecessors=[Predecessor.of(report)], withdrawn=withdrawn, base=report, revision=2
    )
    note = build_rejection([o.data for o in results], RejectionReason.QUALITY, options)
    return [*results, *withdrawal, note]
