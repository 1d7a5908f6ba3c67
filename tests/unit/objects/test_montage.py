"""Pictures of several films as one: nothing lost, nothing too large."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from vidi_gateway.objects.montage import LONGEST_SIDE, montage


def _picture(height: int, width: int, value: int) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def test_a_single_picture_stays_as_it_is() -> None:
    picture = _picture(40, 60, 7)
    assert np.array_equal(montage([("Film 1", picture)], [], []), picture)


def test_every_picture_and_line_is_there() -> None:
    pictures = [(f"Film {v}", _picture(200, 300 + v, v)) for v in (201, 203, 205)]
    plain = montage(pictures, [], [])
    for _, picture in pictures:
        value = picture[0, 0, 0]
        assert (plain == value).all(axis=2).sum() >= picture.shape[0] * picture.shape[1]
    assert not np.array_equal(montage([("Film 9", pictures[0][1]), *pictures[1:]], [], []), plain)
    # lines stand above, in a head of their own, and remarks stand out
    head, remark = montage(pictures, ["A line."], []), montage(pictures, [], ["A line."])
    extra = head.shape[0] - plain.shape[0]
    assert extra > 0 and head.shape == remark.shape and not np.array_equal(head, remark)
    assert np.array_equal(head[extra + 40 :], plain[40:])
    longer = montage(pictures, ["word " * 200], [])
    assert longer.shape[0] > head.shape[0] and longer.shape[1] == head.shape[1]


@pytest.mark.parametrize(("count", "shape"), [(1, (9000, 500)), (2, (500, 5000)), (2, (5000, 500)), (4, (2500, 2500))])
def test_the_whole_is_bounded(count: int, shape: tuple[int, int]) -> None:
    whole = montage([(str(i), _picture(*shape, 90)) for i in range(count)], [], [])
    assert max(whole.shape[:2]) == LONGEST_SIDE
    assert (whole == 90).all(axis=2).mean() > 0.4


@pytest.mark.parametrize(("count", "shape", "columns"), [(2, (300, 400), 1), (2, (700, 300), 2), (4, (300, 400), 2)])
def test_the_whole_is_about_square(count: int, shape: tuple[int, int], columns: int) -> None:
    whole = montage([(str(i), _picture(*shape, 90)) for i in range(count)], [], [])
    assert round(whole.shape[1] / shape[1]) == columns
