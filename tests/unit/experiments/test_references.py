"""The experiment on the number of references: its measures, and a small run from end to end."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.references.__main__ import main
from experiments.references.agreement import Agreement, Spread, explained, overlap, rank_correlation
from experiments.references.run import STRATEGIES, Curve, Row, sizes
from vidi.models.tiny import SEVERITIES, write_tiny_bundle
from vidi_explainer.attribution import assemble
from vidi_explainer.targets import Target


def curve(*medians: float) -> Curve:
    flat = Spread(1.0, 1.0)
    rows = (Row(1 << i, 1, Agreement(Spread(m, m), flat, flat), flat) for i, m in enumerate(medians))
    return Curve("kmeans", tuple(rows))


def test_sizes_are_powers_of_two_or_the_nearest_multiples() -> None:
    assert sizes(64) == (1, 2, 4, 8, 16, 32, 64)
    assert sizes(64, 2) == (2, 4, 8, 16, 32, 64)
    assert sizes(64, 3) == (3, 9, 15, 33, 63)


def test_enough_is_where_the_curve_stays_near_its_end() -> None:
    assert curve(0.5, 0.7, 0.895, 0.9).enough == 4
    assert curve(0.9, 0.7, 0.8, 0.9).enough == 8, "a lucky small set is not enough"
    assert curve(0.9, 0.9, 0.9).enough == 1


def test_rank_correlation_sees_order_alone() -> None:
    a = np.random.default_rng(0).random((8, 8))
    assert rank_correlation(a, np.exp(3 * a)) == pytest.approx(1.0)
    assert rank_correlation(a, -a) == pytest.approx(-1.0)
    assert rank_correlation(a, np.ones_like(a)) == 0.0


def test_overlap_is_dice() -> None:
    a = np.array([True, True, False, False])
    assert overlap(a, a) == 1.0
    assert overlap(a, ~a) == 0.0
    assert overlap(a, np.array([True, False, False, False])) == pytest.approx(2 / 3)
    assert overlap(a & False, a & False) == 1.0


def test_the_area_is_that_of_the_class_with_the_highest_logit() -> None:
    maps = np.zeros((2, 3, 64, 64))
    maps[0, :, 8:16, 8:16] = 1.0
    maps[1, :, 48:56, 48:56] = 1.0
    for top in (0, 1):
        logits = np.eye(2)[top]
        area = explained(assemble(Target().plan(("a", "b")), maps, logits, np.zeros(2), channels=False)).area
        row, column = np.argwhere(area).mean(0)
        assert abs(row - (11.5, 51.5)[top]) < 1
        assert abs(column - (11.5, 51.5)[top]) < 1
    nothing = explained(assemble(Target().plan(("a", "b")), -maps, logits, np.zeros(2), channels=False))
    assert not nothing.area.any()


def test_a_small_run_writes_figures_a_table_and_a_chart(tmp_path: Path) -> None:
    import typer

    write_tiny_bundle(tmp_path / "models" / "tiny", "tiny", SEVERITIES, subject="phantom", references=1, size=64)
    app = typer.Typer()
    app.command()(main)
    sources = ["--model", "tiny", "--model-dir", str(tmp_path / "models"), "--engine", "shap"]
    small = ["--films", "2", "--pool", "12", "--largest", "4", "--minimum", "1"]
    done = CliRunner().invoke(app, [*sources, *small, "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "references.json").read_text())
    assert [s["strategy"] for s in found["strategies"]] == list(STRATEGIES)
    for strategy in found["strategies"]:
        counts = [row["references"] for row in strategy["sets"]]
        assert counts == ([3] if strategy["strategy"] == "kmeans-by-class" else [1, 2, 4])
        assert strategy["enough"] in counts
        for row in strategy["sets"]:
            assert -1 <= row["agreement"]["maps"]["worst"] <= row["agreement"]["maps"]["median"] <= 1
            assert 0 <= row["agreement"]["area"]["worst"] <= 1
            assert row["residual"]["median"] <= row["residual"]["worst"] < 1e-2
    assert len(found["between"]) == 3
    table = (tmp_path / "out" / "references.md").read_text()
    assert "## kmeans-by-class" in table
    chart = ET.fromstring((tmp_path / "out" / "references.svg").read_text())
    assert len(chart.findall("{http://www.w3.org/2000/svg}polyline")) == 6


def test_a_largest_set_that_is_no_power_of_two_is_refused() -> None:
    import typer

    app = typer.Typer()
    app.command()(main)
    assert CliRunner().invoke(app, ["--output", "x", "--largest", "48"]).exit_code == 2
