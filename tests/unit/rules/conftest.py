"""Films and rule files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from vidi.phantoms import PhantomSpec, make, to_dicom
from vidi_gateway.nodes import Destination
from vidi_gateway.rules import Rules
from vidi_gateway.settings import GatewaySettings


@pytest.fixture(scope="session")
def settings() -> GatewaySettings:
    """Two destinations: a PACS for reports and captures, and one for research that takes maps too."""
    pacs = Destination(name="pacs", ae_title="PACS", host="10.0.0.9", port=104)
    research = Destination(name="research", ae_title="LAB", host="10.0.0.8", port=104, kinds=("sr", "pm"))
    return GatewaySettings(destinations=(pacs, research))


@pytest.fixture(scope="session")
def film() -> bytes:
    """A phantom's film."""
    return to_dicom(make(PhantomSpec(seed=11, severity="mild", height=256, width=256)))


@pytest.fixture
def header(film: bytes) -> Callable[..., Dataset]:
    """Makes headers: a patient's PA film of the chest with some attributes changed; None removes one."""

    def made(**changes: Any) -> Dataset:
        ds = dcmread(io.BytesIO(film), stop_before_pixels=True)
        usual: dict[str, Any] = {
            "Modality": "DX",
            "ViewPosition": "PA",
            "PatientAge": "054Y",
        }
        usual |= {"BodyPartExamined": "CHEST", "StationName": "ROOM1"}
        usual |= {"InstitutionName": "Hôpital du Lac", "Manufacturer": "ACME Imaging"}
        usual |= {"SeriesDescription": "Thorax p.a.", "StudyDescription": "", "QualityControlSubject": None}
        for keyword, value in (usual | changes).items():
            if value is None:
                if keyword in ds:
                    del ds[keyword]
            else:
                setattr(ds, keyword, value)
        return ds

    return made


@pytest.fixture
def rules(tmp_path: Path, settings: GatewaySettings) -> Callable[[str], Rules]:
    """Loads rules from text; [default] is added where the text has none."""

    def loaded(text: str) -> Rules:
        path = tmp_path / "site.toml"
        path.write_text(text if "[default]" in text else f'{text}\n[default]\nmode = "shadow"\n', "utf-8")
        return Rules.load(path, settings)

    return loaded
