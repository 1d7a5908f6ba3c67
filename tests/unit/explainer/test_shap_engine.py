"""The shap engine against shap itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import shap
import torch
from torch import nn

from vidi.bundle import Bundle
from vidi.errors import BundleError, InvalidInput, PreconditionFailed
from vidi.imaging.preprocess import Preprocessing
from vidi.models import load_network, vgg19
from vidi_explainer.engine import open_engine
from vidi_explainer.shap_engine import ShapEngine
from vidi_explainer.targets import Target, TargetKind

Film = npt.NDArray[np.float32]


class Weighted(nn.Module):
    """A network whose outputs are weighted sums of another's logits: shap sees each as an output of its own."""

    def __init__(self, network: nn.Module, weights: npt.NDArray[np.float64]) -> None:
        super().__init__()
        self.network = network
        self.sums = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
        self.sums.weight.data = torch.from_numpy(weights.astype(np.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sums: torch.Tensor = self.sums(self.network(x))
        return sums


def by_shap(bundle: Bundle, network: nn.Module, film: Film) -> npt.NDArray[np.float64]:
    """shap called directly: (outputs, 3, height, width)."""
    references = bundle.background().astype(np.float32) / 255
    p = bundle.preprocessing
    explainer = shap.DeepExplainer(network, torch.from_numpy(p.to_input(references)))
    values = explainer.shap_values(torch.from_numpy(p.to_input(film)[None]), check_additivity=False)
    return np.moveaxis(values[0], -1, 0)


def close(found: npt.NDArray[np.floating], expected: npt.NDArray[np.floating], relative: float) -> None:
    assert float(np.abs(found - expected).max()) <= relative * float(np.abs(expected).max())


def test_maps_are_shaps(bundle: Bundle, engine: ShapEngine, film: Film) -> None:
    expected = by_shap(bundle, load_network(bundle), film)
    result = engine.explain(film, Target(), channels=True)
    assert [o.name for o in result.outputs] == ["mild", "medium", "severe"]
    for output, values in zip(result.outputs, expected, strict=True):
        assert output.channels is not None
        close(output.channels, values, 1e-6)
        close(output.map, values.sum(axis=0), 1e-6)


def test_outputs_and_base_values_are_the_networks(bundle: Bundle, engine: ShapEngine, film: Film) -> None:
    network, p = load_network(bundle), bundle.preprocessing
    with torch.no_grad():
        logits = network(torch.from_numpy(p.to_input(film)[None]))[0].numpy()
        base = network(torch.from_numpy(p.to_input(bundle.background().astype(np.float32) / 255))).numpy()
    result = engine.explain(film, Target())
    np.testing.assert_allclose(result.logits, logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose([o.output for o in result.outputs], logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose([o.base_value for o in result.outputs], base.mean(axis=0), rtol=1e-5, atol=1e-5)
    assert engine.references == len(base)


@pytest.mark.parametrize(
    "target",
    [Target(TargetKind.CLASS_VS_MEAN), Target(TargetKind.CLASS_VS_CLASS, "severe", "mild")],
    ids=["against the mean", "against a class"],
)
def test_combined_targets_are_shaps_of_the_combined_output(
    bundle: Bundle, engine: ShapEngine, film: Film, target: Target
) -> None:
    weights = target.plan(bundle.class_names).weights
    expected = by_shap(bundle, Weighted(load_network(bundle), weights).eval(), film)
    result = engine.explain(film, target)
    assert len(result.outputs) == len(expected)
    for output, values in zip(result.outputs, expected, strict=True):
        close(output.map, values.sum(axis=0), 1e-4)
        assert output.additivity_residual < 1e-3


@pytest.mark.parametrize(("batch_norm", "head"), [(True, "gap"), (False, "fc"), (True, "fc"), (False, "gap")])
def test_maps_of_every_kind_of_network_add_up(batch_norm: bool, head: str) -> None:
    torch.manual_seed(5)
    network = vgg19(2, 1 / 16, batch_norm, head)  # type: ignore[arg-type]
    rng = np.random.default_rng(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
        elif isinstance(module, nn.Linear):
            module.weight.data.normal_(0, 1)
    preprocessing = Preprocessing(height=64, width=96)
    engine = ShapEngine(network, rng.random((3, 64, 96), dtype=np.float32), preprocessing, ("a", "b"))
    result = engine.explain(rng.random((64, 96), dtype=np.float32), Target())
    for output in result.outputs:
        assert abs(output.output - output.base_value) > 1e-9, "else nothing is explained"
        assert output.additivity_residual < 1e-3


def test_a_reference_explains_itself_by_nothing() -> None:
    torch.manual_seed(1)
    reference = np.random.default_rng(1).random((1, 64, 64), dtype=np.float32)
    engine = ShapEngine(vgg19(2, 1 / 16, False, "gap"), reference, Preprocessing(height=64, width=64), ("a", "b"))
    assert not any(output.map.any() for output in engine.explain(reference[0], Target()).outputs)


def test_concurrent_calls_give_what_serial_ones_give(engine: ShapEngine) -> None:
    films = [np.random.default_rng(i).random((64, 64), dtype=np.float32) for i in range(3)]
    serial = [engine.explain(film, Target()).outputs[0].map for film in films]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda film: engine.explain(film, Target()).outputs[0].map, films))
    for one, other in zip(serial, together, strict=True):
        close(other, one, 1e-6)


def test_wrong_grid_is_refused(engine: ShapEngine) -> None:
    with pytest.raises(InvalidInput, match=r"\(64, 64\)"):
        engine.explain(np.zeros((64, 32), np.float32), Target())


def test_unknown_class_is_refused(engine: ShapEngine, film: Film) -> None:
    with pytest.raises(InvalidInput, match="mild, medium, severe"):
        engine.explain(film, Target(TargetKind.CLASS_VS_CLASS, "nodule", "mild"))


def test_unknown_engine_is_named(bundle: Bundle) -> None:
    with pytest.raises(
        PreconditionFailed, match="no explainer engine 'captum': there is deepshap, deepshap-fast, shap"
    ):
        open_engine("captum", bundle)


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()
        self.pool, self.flat, self.last = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.flat(self.pool(self.relu(self.b(self.relu(self.a(x)))))))
        return logits


def stack(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), *middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (stack(nn.ReLU(inplace=True)), r"1 \(ReLU\).*out of place"),
        (stack(nn.Hardswish()), r"1 \(Hardswish\).*no rule"),
        (stack(nn.ReLU(), nn.MaxPool2d(3, 2)), r"2 \(MaxPool2d\).*overlap"),
        (Reused(), r"relu \(ReLU\).*used once, this one 2 times"),
    ],
    ids=["in place", "no rule", "overlap", "reused"],
)
def test_networks_that_shap_gets_wrong_are_refused(network: nn.Module, says: str) -> None:
    references = np.random.default_rng(0).random((2, 32, 32), dtype=np.float32)
    with pytest.raises(BundleError, match=says):
        ShapEngine(network, references, Preprocessing(height=32, width=32), ("a", "b"))
