"""The engine "deepshap" against DeepSHAP from its definitions in float64 (oracle.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from tests.unit.explainer import oracle
from tests.unit.explainer.networks import (
    CLASSES,
    PREPROCESSING,
    Calling,
    Functional,
    Reusing,
    densenet,
    films,
    settled,
    vgg,
)
from vidi.errors import BundleError
from vidi.models import load_network
from vidi.models.tiny import write_tiny_bundle
from vidi_explainer.attribution import Attribution
from vidi_explainer.deepshap.engine import DeepShapEngine
from vidi_explainer.engine import open_engine
from vidi_explainer.targets import Target, TargetKind

Film = npt.NDArray[np.float32]
#: Relative; rounding of the activations in float32 dominates.
TOLERANCE = 1e-4


@pytest.fixture
def grids() -> Film:
    """A film and three references, float32 (4, 64, 64)."""
    return films(4, seed=11)


def expected(network: nn.Module, grids: Film) -> oracle.Answer:
    normalised = PREPROCESSING.to_input(grids)
    return oracle.explain(network, normalised[0], normalised[1:])


def engine_of(network: nn.Module, grids: Film) -> DeepShapEngine:
    return DeepShapEngine(network, grids[1:], PREPROCESSING, CLASSES)


def relative_error(found: Any, right: npt.NDArray[np.float64]) -> float:
    return float(np.linalg.norm(np.asarray(found, np.float64) - right) / np.linalg.norm(right))


def assert_right(result: Attribution, answer: oracle.Answer) -> None:
    changes = np.abs(answer.logits - answer.base_logits)
    for output, right, apart, change in zip(
        result.outputs, answer.attributions, answer.per_reference, changes, strict=True
    ):
        assert relative_error(output.channels, right) < TOLERANCE
        assert relative_error(output.map, right.sum(axis=0)) < TOLERANCE
        assert relative_error(output.per_reference, apart.sum(axis=1)) < TOLERANCE
        # Relative to the largest change of a logit: one that hardly changes would be measured by rounding alone.
        assert output.additivity_residual * change < TOLERANCE * changes.max()
    np.testing.assert_allclose(result.logits, answer.logits, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose([o.base_value for o in result.outputs], answer.base_logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", ["fc", "gap"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("depth", [16, 19])
def test_vgg(grids: Film, depth: int, batch_norm: bool, head: str) -> None:
    network = vgg(depth, batch_norm, head)
    result = engine_of(network, grids).explain(grids[0], Target(), channels=True, per_reference=True)
    assert_right(result, expected(network, grids))


@pytest.mark.parametrize("overlapping", [True, False])
def test_densenet(grids: Film, overlapping: bool) -> None:
    network = densenet(overlapping=overlapping)
    result = engine_of(network, grids).explain(grids[0], Target(), channels=True, per_reference=True)
    assert_right(result, expected(network, grids))


def test_regions_of_one_grey(grids: Film) -> None:
    # As collimators and saturation make them: all values of a window tie there, and the first must win. Not at 1/16
    # width: convolutions of few channels round differently from pixel to pixel (oneDNN, channels last), so that no tie
    # outlasts the first layer.
    grids[0, :16], grids[0, 40:50, 10:30] = 0.0, 1.0
    network = vgg(16, width=1 / 4)
    result = engine_of(network, grids).explain(grids[0], Target(), channels=True, per_reference=True)
    assert_right(result, expected(network, grids))


@pytest.mark.parametrize("kind", [Functional, Reusing])
def test_networks_that_call_functions_or_reuse_modules_are_read_as_they_are(grids: Film, kind: type[nn.Module]) -> None:
    torch.manual_seed(4)
    network = settled(kind())
    answer, before = expected(network, grids), {key: value.clone() for key, value in network.state_dict().items()}
    result = engine_of(network, grids).explain(grids[0], Target(), channels=True, per_reference=True)
    assert_right(result, answer)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(module.inplace for module in network.modules() if isinstance(module, nn.ReLU))


def test_a_densenet_out_of_a_bundle(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path, size=64, references=3, arch="densenet121")
    film, references = films(1, seed=5)[0], bundle.background().astype(np.float32) / np.float32(255)
    to_input = bundle.preprocessing.to_input
    answer = oracle.explain(load_network(bundle), to_input(film), to_input(references))
    result = open_engine("deepshap", bundle).explain(film, Target(), channels=True, per_reference=True)
    assert_right(result, answer)


def test_class_against_class_is_the_difference(grids: Film) -> None:
    network = vgg(16)
    answer = expected(network, grids)
    result = engine_of(network, grids).explain(grids[0], Target(TargetKind.CLASS_VS_CLASS, "c", "a"), channels=True)
    (output,) = result.outputs
    assert relative_error(output.channels, answer.attributions[2] - answer.attributions[0]) < TOLERANCE
    assert output.additivity_residual < TOLERANCE


def test_logits(grids: Film) -> None:
    network = densenet()
    found = engine_of(network, grids).logits(grids)
    with torch.no_grad():
        right = network.double()(torch.from_numpy(PREPROCESSING.to_input(grids)).double()).numpy()
    np.testing.assert_allclose(found, right, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (nn.Sigmoid(), r"function \(Sigmoid\)"),
        (nn.ReLU6(), r"function \(ReLU6\)"),
        (torch.sin, r"\(sin\)"),
        (lambda x: x.tanh(), r"\(tanh\)"),
        (lambda x: x * x, r"\(mul\)"),
    ],
    ids=["module", "kin of a supported module", "function", "method", "operator"],
)
def test_operations_without_a_rule_are_named_when_the_engine_opens(
    grids: Film, function: Callable[[torch.Tensor], torch.Tensor], name: str
) -> None:
    with pytest.raises(BundleError, match=f"^odd: .*{name}"):
        DeepShapEngine(Calling(function).eval(), grids[1:], PREPROCESSING, CLASSES, label="odd")
