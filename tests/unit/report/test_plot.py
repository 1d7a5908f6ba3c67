"""The sweep's curves."""

from __future__ import annotations

import itertools

from vidi.api.clusterer.v1 import clusterer_pb2 as pb
from vidi.report.plot import Plot, sweep_plot


def coordinates(points: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in points.split())]


def drawn(sweep: pb.SweepKResponse) -> Plot:
    plot = sweep_plot(sweep)
    assert plot is not None
    return plot


def test_values_stand_where_they_belong(sweep: pb.SweepKResponse) -> None:
    plot = drawn(sweep)
    homogeneity = coordinates(plot.curves[0].line)
    assert [x for x, _ in homogeneity] == sorted(x for x, _ in homogeneity)
    assert homogeneity[0][0] == plot.left
    assert homogeneity[-1] == (plot.right, plot.top)  # k = 10, homogeneity 1
    zero = next(y for y, text in plot.y_ticks if text == "0.0")
    one = next(y for y, text in plot.y_ticks if text == "1.0")
    assert abs(homogeneity[0][1] - (zero + one) / 2) < 0.2  # k = 2, homogeneity 0.5
    baseline = coordinates(plot.curves[0].baseline)
    assert all(b[1] > h[1] for b, h in zip(baseline, homogeneity, strict=True))
    assert plot.chosen_x == homogeneity[1][0]


def test_everything_is_inside_the_drawing_even_below_zero(sweep: pb.SweepKResponse) -> None:
    for point in sweep.points:
        point.random_baseline.adjusted_mutual_information = -0.17
    plot = drawn(sweep)
    for curve in plot.curves:
        for _, y in coordinates(curve.line) + coordinates(curve.baseline):
            assert plot.top <= y <= plot.bottom
        assert plot.top <= curve.label_y <= plot.bottom


def test_names_of_curves_that_end_together_stand_apart(sweep: pb.SweepKResponse) -> None:
    for value in (0.0, 0.5, 1.0):
        for field in ("homogeneity", "completeness", "v_measure", "adjusted_mutual_information"):
            setattr(sweep.points[-1].agreement, field, value)
        places = sorted(curve.label_y for curve in drawn(sweep).curves)
        assert all(b - a >= 16 for a, b in itertools.pairwise(places))
        assert places[-1] <= drawn(sweep).bottom


def test_nothing_to_draw(sweep: pb.SweepKResponse) -> None:
    del sweep.points[1:]
    assert sweep_plot(sweep) is None
    for point in sweep.points:
        point.ClearField("agreement")
    assert sweep_plot(sweep) is None
