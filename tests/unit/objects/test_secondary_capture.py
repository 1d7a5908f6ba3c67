"""The capture shows the composed picture, on the right side, without the patient's data."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset

from vidi_gateway.objects import BuildOptions, FilmPart, build_study
from vidi_gateway.outcome import FilmOutcome

Pixels = npt.NDArray[np.float32]


@pytest.fixture
def capture(
    plain_header: Callable[..., Dataset], film: Pixels, make_outcome: Callable[..., FilmOutcome], options: BuildOptions
) -> Callable[..., tuple[Dataset, Pixels]]:
    """Builds a capture; returns it with the PNG's pixels."""

    def run(header: Dataset | None = None, **changes: object) -> tuple[Dataset, Pixels]:
        wanted = replace(options, kinds=("sc", "png"))
        sc, png = build_study([FilmPart("film", header or plain_header(), film, make_outcome(**changes))], wanted)
        assert png.media_type == "image/png" and png.sop_class_uid == ""
        return pydicom.dcmread(io.BytesIO(sc.data)), np.asarray(Image.open(io.BytesIO(png.data)))

    return run


def test_it_is_marked_as_what_it_is(capture: Callable[..., tuple[Dataset, Pixels]]) -> None:
    ds, png = capture()
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (ds.Modality, ds.BurnedInAnnotation, ds.ConversionType) == ("OT", "NO", "WSD")
    assert "not for diagnosis" in ds.SeriesDescription
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert ds.PatientOrientation == ["L", "F"]
    assert np.array_equal(ds.pixel_array, png)
    assert len(ds.PixelData) % 2 == 0


def test_the_pixels_know_nothing_of_the_patient(
    capture: Callable[..., tuple[Dataset, Pixels]], plain_header: Callable[..., Dataset]
) -> None:
    _, one = capture()
    _, other = capture(plain_header(PatientName="Other^Name", PatientID="Q", AccessionNumber="7", StudyDate="20200101"))
    assert np.array_equal(one, other)


def test_the_picture_shows_maps_class_warning_and_side(
    capture: Callable[..., tuple[Dataset, Pixels]], plain_header: Callable[..., Dataset]
) -> None:
    _, base = capture()
    header = plain_header()
    del header.PatientOrientation
    pictures = [
        base,
        capture(seed=1)[1],
        capture(top=0)[1],
        capture(out_of_population=True)[1],
        capture(plain_header(PatientOrientation=["R", "F"]))[1],
        capture(header)[1],
        capture(model={"map_scale": 0.02})[1],
    ]
    assert len({p.tobytes() for p in pictures}) == len(pictures)


def test_unknown_orientation_stays_unknown(
    capture: Callable[..., tuple[Dataset, Pixels]], bare_header: Callable[[], Dataset]
) -> None:
    ds, _ = capture(bare_header())
    assert "PatientOrientation" in ds and not ds.PatientOrientation
