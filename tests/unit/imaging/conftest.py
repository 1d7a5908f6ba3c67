from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from vidi.phantoms import PhantomFilm, PhantomSpec, make, to_dicom


@pytest.fixture(scope="session")
def phantom() -> PhantomFilm:
    """A small phantom with opacities."""
    return make(PhantomSpec(5, "medium", 256, 224))


@pytest.fixture(scope="session")
def plain(phantom: PhantomFilm) -> bytes:
    """The phantom as a plain DX file."""
    return to_dicom(phantom)


@pytest.fixture
def header(plain: bytes) -> Dataset:
    """The plain file's header, to be spoiled."""
    return dcmread(io.BytesIO(plain), stop_before_pixels=True)


@pytest.fixture(scope="session")
def real_film() -> Callable[[str], bytes]:
    """Files of pydicom-data and pydicom, by name."""

    def read(name: str) -> bytes:
        path = get_testdata_file(name, download=False)
        assert path is not None, name
        return Path(str(path)).read_bytes()

    return read


@pytest.fixture(scope="session")
def edited(plain: bytes) -> Callable[..., bytes]:
    """The plain file with attributes set, or removed where the value is None."""

    def edit(**attributes: object) -> bytes:
        ds = dcmread(io.BytesIO(plain))
        for keyword, value in attributes.items():
            if value is None:
                del ds[keyword]
            else:
                setattr(ds, keyword, value)
        out = io.BytesIO()
        ds.save_as(out, enforce_file_format=False)
        return out.getvalue()

    return edit


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """An array as a PNG or JPEG file."""

    def encoded(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
        out = io.BytesIO()
        Image.fromarray(array).save(out, kind, **options)
        return out.getvalue()

    return encoded
