"""The experiment on phantoms' masks: its figures, its rivals, and a small run from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from experiments.phantom_truth.__main__ import main
from experiments.phantom_truth.rivals import Gradients
from experiments.phantom_truth.run import METHODS, RANDOM, Judged, Score, scored
from experiments.phantom_truth.sheet import outlined
from experiments.phantom_truth.summary import CHANCE, median, share, summarise
from vidi.models import load_network
from vidi.models.tiny import CLASSES, SEVERITIES, write_tiny_bundle
from vidi_explainer.quality.repeatability import cosine
from vidi_explainer.quality.truth import TruthChance
from vidi_explainer.targets import TargetKind

KIND = TargetKind.LOGIT


def judged(shares: float, rival: float, *, hit: bool, rival_hit: bool) -> Judged:
    rivals = {name: Score(rival, rival, rival_hit) for name in METHODS[1:]}
    scores = {METHODS[0]: Score(shares, shares + 0.1, hit), **rivals}
    return Judged(1, 0.5, "severe", TruthChance(0.2, 0.3, 7.0), {KIND: scores})


def test_differences_are_of_pairs() -> None:
    """Films differ much, the map and its rival by the same on each: the difference is certain, the medians are not."""
    films = [judged(x + 0.05, x, hit=True, rival_hit=x > 0.4) for x in np.linspace(0.1, 0.8, 21)]
    found = summarise(films, KIND, seed=0)
    assert [row.method for row in found.rows] == [*METHODS, CHANCE]
    assert found.rows[0].exact.value == pytest.approx(0.5)
    assert found.rows[0].exact.high - found.rows[0].exact.low > 0.1
    first, *_, last = found.differences
    assert (first.exact.value, first.exact.low, first.exact.high) == pytest.approx((0.05, 0.05, 0.05))
    assert first.smoothed.value == pytest.approx(0.15)
    assert (first.exact_higher, first.smoothed_higher) == (21, 21)
    assert (first.hit_alone, first.rival_alone) == (9, 0)
    assert (last.rival, last.hit_alone, last.rival_alone) == (CHANCE, None, None)
    assert last.exact.value == pytest.approx(0.5 - 0.2)
    assert found.rows[-1].hits.value == pytest.approx(0.3)


def test_intervals() -> None:
    picks = np.random.default_rng(0).integers(100, size=(2000, 100))
    found = median(np.random.default_rng(1).standard_normal(100), picks)
    assert found.low < found.value < found.high
    # Of 100 standard normal values the median's deviation is about 1.25 / 10.
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.125, rel=0.3)
    certain = share(np.ones(40, bool))
    assert certain.value == certain.high == 1.0
    assert certain.low == pytest.approx(0.912, abs=1e-3), "Wilson's: 40 hits of 40 are not certainty"


def test_a_map_with_nothing_favorable_has_nothing_inside() -> None:
    mask = np.zeros((32, 32), bool)
    mask[4:12, 4:12] = True
    maps = {name: mask.astype(np.float32) for name in METHODS} | {RANDOM: -np.ones((32, 32), np.float32)}
    found = scored(mask, maps)
    assert found[RANDOM] == Score(0.0, 0.0, False)
    assert found[METHODS[0]].exact == 1.0
    assert 0.2 < found[METHODS[0]].smoothed < 1.0
    assert found[METHODS[0]].hit


def test_gradients_are_those_of_the_grey_values(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny", "tiny", SEVERITIES, subject="phantom", references=1, size=64)
    grid = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    mean, std = (torch.tensor(x)[:, None, None] for x in (bundle.preprocessing.mean, bundle.preprocessing.std))
    grey = torch.from_numpy(grid).requires_grad_()
    mild, medium, severe = load_network(bundle)(((grey - mean) / std)[None])[0]
    (expected,) = torch.autograd.grad(severe - (mild + medium) / 2, grey)
    found = Gradients(bundle).of(grid, np.array([-0.5, -0.5, 1.0]))
    # Normalised in another order, a value may fall on the other side of a kink: the whole counts, not each pixel.
    assert cosine(found, expected.numpy()) == pytest.approx(1.0, abs=1e-2)
    assert np.linalg.norm(found) == pytest.approx(float(expected.norm()), rel=1e-2)


def test_the_outline_is_the_edge_alone() -> None:
    mask = np.zeros((16, 16), bool)
    mask[4:12, 4:12] = True
    drawn = outlined(np.full((16, 16, 3), 90, np.uint8), mask)
    assert (drawn[4, 4:12] == 255).all()
    assert (drawn[3, 4:12] == 0).all()
    assert (drawn[6:10, 6:10] == 90).all()
    assert (drawn[:2] == 90).all()


def run(models: Path, *options: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--model", "tiny", "--model-dir", str(models), *options])
    return done.exit_code, done.output


def test_a_small_run_writes_figures_tables_and_a_sheet(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "models" / "tiny", "tiny", SEVERITIES, subject="phantom", references=2, size=64)
    code, told = run(tmp_path / "models", "--films", "2", "--seed", "3", "--output", str(tmp_path / "out"))
    assert code == 0, told
    found = json.loads((tmp_path / "out" / "phantom_truth.json").read_text())
    assert 0 <= found["right"] <= 2
    assert list(found["targets"]) == [TargetKind.LOGIT, TargetKind.CLASS_VS_MEAN]
    for summary in found["targets"].values():
        assert [row["method"] for row in summary["rows"]] == [*METHODS, CHANCE]
        for row in summary["rows"]:
            assert all(0 <= row[key]["low"] <= row[key]["high"] <= 1 for key in ("exact", "smoothed", "hits"))
    assert len({film["seed"] for film in found["by_film"]}) == 2
    assert all(film["extent"] >= 0.4 for film in found["by_film"]), "severe phantoms"
    table = (tmp_path / "out" / "phantom_truth.md").read_text()
    assert "2 severe phantoms" in table
    assert all(name.replace("|", "\\|") in table for name in METHODS)
    with Image.open(tmp_path / "out" / "phantom_truth.png") as sheet:
        assert sheet.width > 6 * 64
        assert sheet.height > 64


def test_a_model_without_the_class_is_refused(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "models" / "tiny", "tiny", CLASSES, references=1, size=64)
    code, told = run(tmp_path / "models", "--output", str(tmp_path / "out"))
    assert code == 2
    assert "severe" in told
