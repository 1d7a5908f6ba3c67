"""The parts of `vidi bench explain`, and all of it on a tiny network with shap in every role."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from vidi.benchmarks import outcome
from vidi.bundle import Bundle
from vidi.errors import InternalError, InvalidInput
from vidi.imaging.preprocess import Preprocessing
from vidi.models import vgg19
from vidi_explainer.bench import agreement, films, memory, network, timing, training
from vidi_explainer.bench.contenders import Explained
from vidi_explainer.bench.roofline import Roofline
from vidi_explainer.bench.run import Config, measure
from vidi_explainer.bench.table import tables


@pytest.fixture(scope="module")
def measured(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    config = Config(
        cache=tmp_path_factory.mktemp("bench"),
        references=2,
        many_references=3,
        pairs=2,
        films=3,
        exact="shap",
        fast="shap",
        bundle=bundle,
    )
    return outcome("explain", measure(config))


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def test_the_result_keeps_its_contract(measured: dict[str, Any]) -> None:
    whole = {"machine", "versions", "config", "memory_ratio_vs_shap", "memory_64_over_8", "roofline_ratio"}
    assert whole <= set(measured)
    engine = {"seconds", "speedup_vs_shap", "speedup_vs_captum", "relative_l2", "shap_fp32_relative_l2"}
    engine |= {"cosine", "additivity_residual", "precision"}
    assert engine <= set(measured["exact"])
    assert engine <= set(measured["fast"])
    assert json.loads(json.dumps(measured)) == measured
    found = list(numbers(measured))
    assert len(found) > 40
    assert all(math.isfinite(number) for number in found)
    assert {name: len(seconds) for name, seconds in measured["rounds"].items()} == {
        "shap.DeepExplainer": 2,
        "captum.DeepLiftShap": 2,
        "exact": 2,
        "fast": 2,
        "bare convolutions": 2,
    }


def test_shap_agrees_with_itself(measured: dict[str, Any]) -> None:
    for name in ("exact", "fast"):
        result = measured[name]
        assert result["relative_l2"] == pytest.approx(result["shap_fp32_relative_l2"], rel=0.5)
        assert 0 < result["relative_l2"] < 1e-3
        assert result["cosine"] > 0.999999
        assert result["additivity_residual"] < 1e-3
    assert measured["config"]["engines"] == {"exact": "shap", "fast": "shap"}
    assert measured["config"]["precision"]["exact"] == "float32"


def test_people_get_tables(measured: dict[str, Any]) -> None:
    console = Console(width=120)
    with console.capture() as capture:
        for part in tables(measured):
            console.print(part)
    text = capture.get()
    for word in ("captum", "exact", "fast", "bare convolutions", "3 references", "2 rounds", "float64, 3 films"):
        assert word in text


def test_a_process_that_fails_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="no such engine"):
        memory.measure("no such engine", bundle, tmp_path)


class Still:
    """A contender that notes its turns."""

    precision = "none"

    def __init__(self, name: str, turns: list[str]) -> None:
        self.name, self.turns = name, turns

    def run(self, grid: Any) -> float:
        self.turns.append(self.name)
        return float(grid[0, 0])

    def read(self, grid: Any, result: float) -> Explained:
        return Explained(np.full((1, 1, 1), result), 0.0)


def test_rounds_are_interleaved_and_the_warm_up_does_not_count() -> None:
    turns: list[str] = []
    grids = [np.full((2, 2), i, np.float32) for i in range(4)]
    contenders = {name: Still(name, turns) for name in ("a", "b")}
    rounds = timing.measure(contenders, {"c": lambda: turns.append("c")}, grids[1:], grids[0])
    assert turns == ["a", "b", "c", "a", "b", "c", "c", "b", "a", "a", "b", "c"]
    assert {name: len(seconds) for name, seconds in rounds.seconds.items()} == {"a": 3, "b": 3, "c": 3}
    assert [float(film.maps.max()) for film in rounds.explained["b"]] == [1.0, 2.0, 3.0]


def test_ratios_are_medians_of_rounds() -> None:
    rounds = timing.Rounds(seconds={"slow": [2.0, 40.0, 9.0], "quick": [1.0, 10.0, 3.0]})
    assert rounds.ratio("slow", "quick") == 3.0
    assert rounds.median("slow") == 9.0


def test_agreement_is_measured_over_all_classes() -> None:
    truth = np.stack([np.ones((4, 4)), -2 * np.ones((4, 4))])
    off = truth.copy()
    off[0, 0, 0] += 4.0
    found = agreement.compare([Explained(truth, 0.1), Explained(off, 0.3)], [truth, truth])
    error = 4 / np.linalg.norm(truth)
    assert found["relative_l2"] == pytest.approx(error / 2)
    assert found["relative_l2_max"] == pytest.approx(error)
    assert found["cosine_min"] < found["cosine"] < 1
    assert found["additivity_residual"] == pytest.approx(0.2)
    assert found["additivity_residual_max"] == 0.3


def test_maps_in_float64_are_computed_once(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grids = films.measured(2, bundle.preprocessing)
    first = agreement.Truth(bundle, tmp_path).maps(grids)
    assert first[0].dtype == np.float64
    assert first[0].shape == (3, 64, 64)
    monkeypatch.setattr(agreement, "Shap", None)
    for again, before in zip(agreement.Truth(bundle, tmp_path).maps(grids), first, strict=True):
        np.testing.assert_array_equal(again, before)


def test_the_roofline_is_every_stride_1_convolution(bundle: Bundle) -> None:
    roofline = Roofline(bundle, batch=6)
    assert len(roofline._layers) == 16
    assert roofline._layers[0].kernel.shape[:2] == (3, 4)
    assert sum(len(part) for part in roofline._layers[0].parts) == 6
    assert all(layer.kernel.dtype == torch.bfloat16 for layer in roofline._layers)
    roofline.run()


def test_convolving_gradients_forward_is_the_backward_pass() -> None:
    conv = torch.nn.Conv2d(3, 5, 3, padding=1)
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    gradient = torch.randn(2, 5, 8, 8)
    (expected,) = torch.autograd.grad(conv(x), x, gradient)
    found = torch.nn.functional.conv2d(gradient, conv.weight.flip(2, 3).transpose(0, 1), padding=1)
    torch.testing.assert_close(found, expected)


def test_a_bundle_with_fewer_references_is_another_bundle(bundle: Bundle, tmp_path: Path) -> None:
    fewer = network.with_references(bundle, 2, tmp_path)
    np.testing.assert_array_equal(fewer.background(), bundle.background()[:2])
    assert fewer.manifest.weights_sha256 == bundle.manifest.weights_sha256
    assert fewer.digest != bundle.digest
    assert network.with_references(bundle, 2, tmp_path).digest == fewer.digest
    assert network.with_references(bundle, 3, tmp_path) is bundle
    with pytest.raises(InvalidInput, match="3 references"):
        network.with_references(bundle, 4, tmp_path)


def test_references_average_films_that_look_alike() -> None:
    rng = np.random.default_rng(0)
    dark, bright = rng.integers(0, 60, (12, 64, 64)), rng.integers(180, 240, (12, 64, 64))
    grids = np.stack([dark, bright], 1).reshape(24, 64, 64).astype(np.uint8)
    found = films.references(grids, 4, alike=8)
    assert found.shape == (4, 64, 64)
    assert found.dtype == np.uint8
    assert [round(float(r.mean()) / 30) * 30 for r in found] == [30, 210, 30, 210]
    assert float(found[0].std()) < float(grids[0].std()) / 2


def test_fine_tuning_learns_in_the_last_block_alone() -> None:
    preprocessing = Preprocessing(height=64, width=64)
    shade = np.array([40, 200] * 16, np.uint8)[:, None, None]
    noise = np.random.default_rng(0).integers(0, 50, (32, 64, 64)).astype(np.uint8)
    seen = films.LabelledFilms(shade + noise, np.array([0, 1] * 16))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = vgg19(2, width=1 / 8, head="gap")
    before = {key: value.clone() for key, value in small.state_dict().items()}
    training.fine_tune(small, seen, preprocessing, training.Plan(epochs=20, batch=8, learning_rate=1e-3))
    changed = {key for key, value in small.state_dict().items() if not torch.equal(value, before[key])}
    convolutions = [i for i, module in enumerate(small.features) if isinstance(module, torch.nn.Conv2d)]
    assert {int(key.split(".")[1]) for key in changed if key.startswith("features")} == set(convolutions[12:])
    assert training.accuracy(small, seen, preprocessing) == 1.0
    assert not any(parameter.requires_grad for parameter in small.parameters())


def test_the_network_is_kept_under_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDI_DATA_DIR", str(tmp_path))
    assert network.default_cache() == tmp_path / "bench"
    monkeypatch.delenv("VIDI_DATA_DIR")
    assert network.default_cache().parts[-2:] == (".state", "bench")
    with pytest.raises(InvalidInput, match="2 or 3 classes"):
        network.trained(tmp_path, 5)
