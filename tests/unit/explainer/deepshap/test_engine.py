"""What the engine promises beside its maps: re-entrant, bounded, stoppable, honest about its arithmetic."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from tests.unit.explainer.networks import CLASSES, PREPROCESSING, densenet, films, vgg
from vidi.bundle import load
from vidi.errors import Cancelled, InvalidInput
from vidi.phantoms import PhantomSpec, make
from vidi.settings import default_model_dir
from vidi_explainer.deepshap import engine as module
from vidi_explainer.deepshap import hardware, references
from vidi_explainer.deepshap.engine import DeepShapEngine
from vidi_explainer.deepshap.plan import Arithmetic
from vidi_explainer.engine import EngineOptions, open_engine
from vidi_explainer.targets import Target, TargetKind

Film = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def grids() -> Film:
    """Ten films: one to explain, nine references (more than one chunk)."""
    return films(10, seed=3)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Wide enough for the fused steps."""
    return vgg(19, width=1 / 4)


def engine_of(network: nn.Module, grids: Film, *, fast: bool = False, **options: object) -> DeepShapEngine:
    return DeepShapEngine(
        network, grids[1:], PREPROCESSING, CLASSES, fast=fast, options=EngineOptions(**options)  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fast engines round whatever it does: random networks cancel far more than trained ones."""
    monkeypatch.setattr(module, "LEAST_COSINE", -1.0)


def maps(engine: DeepShapEngine, grid: Film) -> Film:
    return np.stack([output.map for output in engine.explain(grid, Target()).outputs])


def cosine(a: Film, b: Film) -> float:
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("fast", [False, True])
def test_concurrent_calls_return_the_bits_of_serial_ones(network: nn.Module, grids: Film, fast: bool) -> None:
    torch.set_num_threads(2)
    engine = engine_of(network, grids, fast=fast)
    films_of_calls = [films(1, seed=seed)[0] for seed in range(8)]
    serial = [maps(engine, film) for film in films_of_calls]
    with ThreadPoolExecutor(8) as pool:
        concurrent = list(pool.map(lambda film: maps(engine, film), films_of_calls))
    for one, other in zip(serial, concurrent, strict=True):
        np.testing.assert_array_equal(one, other)


def test_references_that_fit_nowhere_are_computed_again(
    network: nn.Module, grids: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = engine_of(network, grids)
    assert isinstance(kept._references, references.Held)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    again = engine_of(network, grids)
    assert isinstance(again._references, references.Recomputed)
    assert again.arithmetic.endswith("computed again for each film: No space left on device")
    np.testing.assert_array_equal(maps(again, grids[0]), maps(kept, grids[0]))


def test_references_leave_no_file_behind(network: nn.Module, grids: Film, tmp_path: Path) -> None:
    engine = engine_of(network, grids, cache_dir=tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []
    assert np.isfinite(maps(engine, grids[0])).all()


def test_a_small_budget_changes_nothing_but_the_order_of_work(network: nn.Module, grids: Film) -> None:
    small = engine_of(network, grids, memory_bytes=1)
    assert small._outputs_at_a_time == 1
    wide = maps(engine_of(network, grids), grids[0])
    np.testing.assert_allclose(maps(small, grids[0]), wide, rtol=0, atol=1e-6 * np.abs(wide).max())


def test_a_call_stops_between_layers_and_leaves_the_engine_whole(network: nn.Module, grids: Film) -> None:
    engine = engine_of(network, grids)
    before = maps(engine, grids[0])
    for after in (0, 1, 7, 20):
        asked = 0

        def cancelled() -> bool:
            nonlocal asked
            asked += 1
            return asked > after  # noqa: B023 - called before the loop goes on

        with pytest.raises(Cancelled):
            engine.explain(grids[0], Target(), cancelled=cancelled)
        assert asked == after + 1
    assert len(engine._idle) == 1 and not engine._idle[0]._taken
    np.testing.assert_array_equal(maps(engine, grids[0]), before)


def test_class_against_class_is_computed_alone(network: nn.Module, grids: Film) -> None:
    engine = engine_of(network, grids)
    (versus,) = engine.explain(grids[0], Target(TargetKind.CLASS_VS_CLASS, "c", "a"), channels=True).outputs
    each = maps(engine, grids[0])
    np.testing.assert_allclose(versus.map, each[2] - each[0], rtol=0, atol=1e-5 * np.abs(each).max())
    assert versus.channels is not None and versus.channels.shape == (3, 64, 64)
    np.testing.assert_allclose(versus.channels.sum(0), versus.map, rtol=0, atol=1e-6 * np.abs(each).max())


def test_maps_per_reference_average_to_the_map(network: nn.Module, grids: Film) -> None:
    for output in engine_of(network, grids).explain(grids[0], Target(), per_reference=True).outputs:
        assert output.per_reference is not None and output.per_reference.shape == (9, 64, 64)
        np.testing.assert_allclose(
            output.per_reference.mean(0), output.map, rtol=0, atol=1e-6 * np.abs(output.map).max()
        )


def test_a_reference_explains_itself_by_nothing(network: nn.Module, grids: Film) -> None:
    engine = DeepShapEngine(network, grids[1:2], PREPROCESSING, CLASSES)
    assert np.abs(maps(engine, grids[1])).max() < 1e-6 * np.abs(maps(engine, grids[0])).max()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", ["vgg", "densenet"])
def test_fast_maps_are_close(network: nn.Module, grids: Film, kind: str) -> None:
    chosen = network if kind == "vgg" else densenet()
    exact, fast = engine_of(chosen, grids), engine_of(chosen, grids, fast=True)
    found, right = maps(fast, grids[0]), maps(exact, grids[0])
    assert cosine(found, right) > 0.99
    assert (fast.precision == "bfloat16") == (not np.array_equal(found, right))


def test_fast_is_exact_where_rounding_shows(network: nn.Module, grids: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "has_amx", lambda: False)
    monkeypatch.setattr(hardware, "has_bfloat16", lambda: True)
    engine = engine_of(network, grids, fast=True)
    assert engine.precision == "float32" and "too far" in engine.arithmetic
    np.testing.assert_array_equal(maps(engine, grids[0]), maps(engine_of(network, grids), grids[0]))


@pytest.mark.parametrize("name", ["pneumonia-slim", "severity-phantom"])
def test_shipped_models_are_explained_fast_where_the_processor_can(name: str) -> None:
    bundle = load(default_model_dir() / name)
    fast, exact = open_engine("deepshap-fast", bundle), open_engine("deepshap", bundle)
    assert fast.precision == ("bfloat16" if hardware.has_bfloat16() or hardware.has_amx() else "float32")
    grid, _ = bundle.preprocessing.to_grid(make(PhantomSpec(31, "severe")).grey())
    pairs = zip(fast.explain(grid, Target()).outputs, exact.explain(grid, Target()).outputs, strict=True)
    assert min(cosine(found.map, right.map) for found, right in pairs) > 0.9998


@pytest.mark.usefixtures("unchecked")
def test_amx_convolves_directly(network: nn.Module, grids: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "has_amx", lambda: True)
    engine = engine_of(network, grids, fast=True)
    assert engine.precision == "bfloat16" and "AMX" in engine.arithmetic
    assert cosine(maps(engine, grids[0]), maps(engine_of(network, grids), grids[0])) > 0.999


def test_without_bfloat16_fast_is_float32_and_says_so(
    network: nn.Module, grids: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "has_amx", lambda: False)
    monkeypatch.setattr(hardware, "has_bfloat16", lambda: False)
    engine = engine_of(network, grids, fast=True)
    assert engine.precision == "float32" and "neither AMX nor AVX512-BF16" in engine.arithmetic
    np.testing.assert_array_equal(maps(engine, grids[0]), maps(engine_of(network, grids), grids[0]))


def test_other_devices_compute_the_same_without_compiled_loops(
    network: nn.Module, grids: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The path that a GPU would take, on a CPU: plain torch operations.
    plain = hardware.Choice(Arithmetic(fused=False), "float32", "plain")
    monkeypatch.setattr(module, "choose", lambda device, *, fast: plain)
    generic = engine_of(network, grids)
    assert all(step.fused is None for step in generic._steps)
    monkeypatch.undo()
    fused = engine_of(network, grids)
    assert any(step.fused is not None for step in fused._steps)
    right = maps(fused, grids[0])
    np.testing.assert_allclose(maps(generic, grids[0]), right, rtol=0, atol=2e-5 * np.abs(right).max())


def test_logits_are_the_networks(network: nn.Module, grids: Film) -> None:
    engine = engine_of(network, grids)
    with torch.no_grad():
        right = network(torch.from_numpy(PREPROCESSING.to_input(grids))).numpy()
    np.testing.assert_allclose(engine.logits(grids), right, rtol=1e-4, atol=1e-4)
    with pytest.raises(InvalidInput, match="where the model takes"):
        engine.logits(grids[:, :32])
    with pytest.raises(InvalidInput, match="where the model takes"):
        engine.explain(grids[0, :32], Target())
