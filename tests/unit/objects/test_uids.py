"""The same inputs give the same bytes; anything else gives other UIDs."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom import Dataset

from vidi.errors import InvalidInput
from vidi_gateway.objects import BuildOptions, BuiltObject, FilmPart, build_study
from vidi_gateway.objects.uids import derive
from vidi_gateway.outcome import FilmOutcome

Pixels = npt.NDArray[np.float32]


def _uids(objects: list[BuiltObject]) -> set[str]:
    """All UIDs that the objects define themselves."""
    found: set[str] = set()
    for o in objects:
        if o.kind == "png":
            continue
        ds = pydicom.dcmread(io.BytesIO(o.data))
        found |= {str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID)}
        found |= {str(ds[k].value) for k in ("FrameOfReferenceUID",) if k in ds}
    return found


def test_same_inputs_same_bytes(
    plain_header: Callable[..., Dataset], film: Pixels, make_outcome: Callable[..., FilmOutcome], options: BuildOptions
) -> None:
    first = build_study([FilmPart("film", plain_header(), film, make_outcome())], options)
    again = build_study([FilmPart("film", plain_header(), film.astype(np.float64), make_outcome())], options)
    assert first == again
    restored = FilmOutcome.from_bytes(make_outcome().to_bytes())
    assert build_study([FilmPart("film", plain_header(), film, restored)], options) == first


def test_uids_are_valid_and_each_of_its_own(
    plain_header: Callable[..., Dataset], film: Pixels, make_outcome: Callable[..., FilmOutcome], options: BuildOptions
) -> None:
    built = build_study([FilmPart("film", plain_header(), film, make_outcome())], options)
    uids = _uids(built)
    # 6 instances, each in its own series, and one frame of reference
    assert len(uids) == 13
    assert all(len(u) <= 64 and re.fullmatch(r"2\.25\.[1-9][0-9]*", u) for u in uids)
    # the PNG is of the film, the capture of the study
    assert built[-1].kind == "png" and built[-1].sop_instance_uid not in uids


def _changes() -> list[tuple[str, str, object]]:
    return [
        ("outcome", "model digest", {"model": {"digest": "sha256:" + "9" * 64}}),
        ("outcome", "explanation", {"explanation_key": "8" * 64}),
        ("outcome", "maps", {"seed": 1}),
        ("outcome", "out of population", {"out_of_population": True}),
        ("header", "source", {"SOPInstanceUID": "1.2.3.4.6"}),
        ("header", "patient", {"PatientID": "P-2"}),
        ("header", "name", {"PatientName": "Doe^John"}),
        ("header", "accession", {"AccessionNumber": "A-78"}),
        ("header", "study", {"StudyInstanceUID": "1.2.4"}),
        ("header", "view", {"ViewPosition": "AP"}),
        ("header", "laterality", {"ImageLaterality": "L"}),
        ("header", "study time", {"StudyTime": "111111"}),
        ("header", "spacing", {"ImagerPixelSpacing": ["0.2", "0.2"]}),
        ("options", "version", {"software_version": "9.9"}),
        ("options", "device", {"device_serial": "B"}),
        ("film", "pixels", {}),
        ("created", "time", {}),
    ]


@pytest.mark.parametrize("change", _changes(), ids=lambda c: f"{c[0]}-{c[1]}")
def test_other_inputs_other_uids(
    change: tuple[str, str, dict[str, object]],
    plain_header: Callable[..., Dataset],
    film: Pixels,
    make_outcome: Callable[..., FilmOutcome],
    options: BuildOptions,
) -> None:
    where, _, fields = change
    options = replace(options, kinds=("sr", "pm"))
    before = build_study([FilmPart("film", plain_header(), film, make_outcome())], options)
    after = build_study(
        [
            FilmPart(
                "film",
                plain_header(**(fields if where == "header" else {})),
                film / 2 if where == "film" else film,
                make_outcome(**(fields if where == "outcome" else {})),
            )
        ],
        replace(
            options,
            **(fields if where == "options" else {}),  # type: ignore[arg-type]
            created=options.created + timedelta(seconds=1 if where == "created" else 0),
        ),
    )
    assert not _uids(before) & _uids(after)


def test_uids_are_the_same_in_another_process() -> None:
    code = "from vidi_gateway.objects.uids import derive; print(derive('sop', 'a', ['b', 'c']))"
    env = os.environ | {"PYTHONHASHSEED": "5"}
    other = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=120
    )
    expected = hashlib.sha256(b'["vidi","sop","a",["b","c"]]').digest()
    value = bytearray(expected[:16])
    value[6] = value[6] & 0x0F | 0x50
    value[8] = value[8] & 0x3F | 0x80
    assert other.stdout.strip() == derive("sop", "a", ["b", "c"]) == f"2.25.{int.from_bytes(value, 'big')}"


def test_parts_do_not_run_together() -> None:
    assert (
        len({derive("sop", "ab", "c"), derive("sop", "a", "bc"), derive("sop", "abc"), derive("sop", ["ab", "c"])}) == 4
    )


def test_the_time_needs_a_zone_and_kinds_are_known(
    plain_header: Callable[..., Dataset], film: Pixels, make_outcome: Callable[..., FilmOutcome], options: BuildOptions
) -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        build_study(
            [FilmPart("film", plain_header(), film, make_outcome())],
            replace(options, created=options.created.replace(tzinfo=None)),
        )
    with pytest.raises(InvalidInput, match="seg"):
        build_study([FilmPart("film", plain_header(), film, make_outcome())], replace(options, kinds=("sr", "seg")))
    with pytest.raises(InvalidInput, match="two axes"):
        build_study([FilmPart("film", plain_header(), film[None], make_outcome())], options)


def test_dates_follow_the_headers_time_zone(
    plain_header: Callable[..., Dataset],
    film: Pixels,
    make_outcome: Callable[..., FilmOutcome],
    options: BuildOptions,
    read: Callable[[BuiltObject], Dataset],
) -> None:
    options = replace(options, kinds=("sr",))
    for offset, expected in (
        ("-0900", ("20260303", "200607.000890", "-0900")),
        ("+0530", ("20260304", "103607.000890", "+0530")),
        ("+9900", ("20260304", "050607.000890", None)),
    ):
        ds = read(
            build_study([FilmPart("film", plain_header(TimezoneOffsetFromUTC=offset), film, make_outcome())], options)[
                0
            ]
        )
        assert (ds.ContentDate, ds.ContentTime, ds.get("TimezoneOffsetFromUTC")) == expected
