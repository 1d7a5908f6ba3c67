"""Our own objects are recognised, whatever a PACS did to them; films are not taken for ours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset

from vidi_gateway.objects import BuildOptions, BuiltObject, FilmPart, build_study, is_own
from vidi_gateway.outcome import FilmOutcome


@pytest.fixture
def own(
    plain_header: Callable[..., Dataset],
    film: npt.NDArray[np.float32],
    make_outcome: Callable[..., FilmOutcome],
    options: BuildOptions,
    read: Callable[[BuiltObject], Dataset],
) -> list[Dataset]:
    """All kinds of our objects."""
    return [
        read(o)
        for o in build_study([FilmPart("film", plain_header(), film, make_outcome())], options)
        if o.kind != "png"
    ]


def test_all_kinds(own: list[Dataset]) -> None:
    assert len(own) == 6 and all(is_own(ds) for ds in own)


def test_without_private_attributes(own: list[Dataset], reread: Callable[[Dataset], Dataset]) -> None:
    for ds in own:
        ds.remove_private_tags()
        assert is_own(reread(ds))


def test_with_coerced_attributes(own: list[Dataset], reread: Callable[[Dataset], Dataset]) -> None:
    for ds in own:
        ds.Manufacturer = "Archive"
        ds.SeriesNumber = 3
        ds.SOPInstanceUID = "1.2.3"
        assert is_own(reread(ds))


def test_with_a_moved_private_block(own: list[Dataset]) -> None:
    ds = own[0]
    kind = ds.private_block(0x0099, "VIDI RESULT 1")[0x01].value
    ds.remove_private_tags()
    ds.Manufacturer = ""
    ds.private_block(0x0099, "SOMEBODY ELSE", create=True).add_new(0x01, "CS", "X")
    assert not is_own(ds)
    ds.private_block(0x0099, "VIDI RESULT 1", create=True).add_new(0x01, "CS", kind)
    assert is_own(ds)


def test_films_are_not_ours(named_header: tuple[Dataset, str], plain_header: Callable[..., Dataset]) -> None:
    assert not is_own(named_header[0])
    assert not is_own(Dataset())
    # a film that ViDi itself wrote: its manufacturer and UIDs, but not its result series
    assert not is_own(plain_header(Manufacturer="ViDi", SOPInstanceUID="2.25.7", SeriesNumber=1))
    assert not is_own(plain_header(Manufacturer="ViDi", SeriesNumber=9001))
    assert not is_own(plain_header(SOPInstanceUID="2.25.7", SeriesNumber=9001))
