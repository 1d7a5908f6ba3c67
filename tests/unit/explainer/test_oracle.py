"""The oracle against shap where shap is right, against additivity where it is wrong, and against sums on paper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import shap
import torch
from torch import nn

from tests.unit.explainer import oracle
from tests.unit.explainer.networks import (
    PREPROCESSING,
    Calling,
    Functional,
    Reusing,
    densenet,
    films,
    for_shap,
    settled,
    vgg,
)


def inputs(references: int, seed: int = 3) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A normalised film and references."""
    normalised = PREPROCESSING.to_input(films(references + 1, seed)).astype(np.float64)
    return normalised[0], normalised[1:]


def by_shap(
    network: nn.Module, film: npt.NDArray[np.float64], references: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """shap in float64: (classes, 3, height, width)."""
    explainer = shap.DeepExplainer(network.double(), torch.from_numpy(references))
    values = explainer.shap_values(torch.from_numpy(film)[None], check_additivity=False)
    return np.moveaxis(values[0], -1, 0)


def relative_error(found: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("head", ["fc", "gap"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("depth", [16, 19])
def test_vgg_is_shaps(depth: int, batch_norm: bool, head: str) -> None:
    network = vgg(depth, batch_norm, head)
    film, references = inputs(2)
    answer = oracle.explain(network, film, references)
    assert relative_error(answer.attributions, by_shap(for_shap(network), film, references)) < 1e-9
    assert answer.residuals.max() < 1e-9


def test_densenet_without_overlapping_windows_is_shaps() -> None:
    network = densenet(overlapping=False)
    film, references = inputs(3)
    answer = oracle.explain(network, film, references)
    operated = for_shap(network).double()
    with torch.no_grad():
        np.testing.assert_allclose(operated(torch.from_numpy(film)[None])[0].numpy(), answer.logits, rtol=1e-12)
    assert relative_error(answer.attributions, by_shap(operated, film, references)) < 1e-9
    assert answer.residuals.max() < 1e-9


def test_densenet_adds_up_where_shap_does_not() -> None:
    network = densenet()
    film, references = inputs(3)
    answer = oracle.explain(network, film, references)
    assert answer.residuals.max() < 1e-9
    change = answer.logits - answer.base_logits
    sums = by_shap(for_shap(network), film, references).sum(axis=(1, 2, 3))
    assert np.abs((sums - change) / change).max() > 0.01


def test_logits_and_means_are_the_networks() -> None:
    network = densenet()
    film, references = inputs(3)
    answer = oracle.explain(network, film, references)
    with torch.no_grad():
        network.double()
        np.testing.assert_allclose(answer.logits, network(torch.from_numpy(film)[None])[0], rtol=1e-12)
        np.testing.assert_allclose(answer.base_logits, network(torch.from_numpy(references)).mean(0), rtol=1e-12)
    np.testing.assert_allclose(answer.attributions, answer.per_reference.mean(axis=1), rtol=1e-12)


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_rescale_rule_on_paper() -> None:
    x, r = row(2.0, -1.0, 3.0, -2.0, 1e-7, -1e-7, 0.0), row(-2.0, 1.0, 1.0, -1.0, -1e-7, 1e-7, 0.0)
    m = row(10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0)
    # Half the way is rectified, twice; all of it; none; and three times too close: the gradient at the reference.
    assert torch.equal(oracle.rectified(x, r, m), row(5.0, 5.0, 10.0, 0.0, 0.0, 10.0, 0.0))


def test_overlapping_windows_add_up_on_paper() -> None:
    # Windows (0, 1, 2) and (2, 3, 4). The film's maxima are 9, both at position 2; the reference's are 2 at 0, 4 at 4.
    x, r, m = row(1.0, 0.0, 9.0, 0.0, 4.0), row(2.0, 0.0, 1.0, 1.0, 4.0), row(10.0, 100.0)
    found = oracle.pooled(x, r, m, kernel_size=(1, 3), stride=(1, 2))
    # (9 - 2) 10 + (9 - 4) 100 over a change of 8; nothing goes to the reference's maxima, which are smaller.
    assert torch.equal(found, row(0.0, 0.0, 570 / 8, 0.0, 0.0))
    back = oracle.pooled(r, x, m, kernel_size=(1, 3), stride=(1, 2))
    # The other way round the loss of 7 and 5 goes to the position of what is now the reference's maximum.
    assert torch.equal(back, row(0.0, 0.0, 570 / 8, 0.0, 0.0))


def test_a_window_takes_from_both_maxima_on_paper() -> None:
    # One window, once the film's maximum is the larger and once the reference's, each at a place of its own.
    x, r = row(5.0, 1.0), row(1.0, 3.0)
    assert torch.equal(oracle.pooled(x, r, row(1.0), kernel_size=(1, 2)), row(2.0 / 4.0, 0.0))
    assert torch.equal(oracle.pooled(r, x, row(1.0), kernel_size=(1, 2)), row(-2.0 / -4.0, 0.0))


def test_ties_go_to_the_first_maximum_and_no_change_gets_nothing() -> None:
    x, r = row(4.0, 4.0, 4.0), row(4.0, 1.0, 1.0)
    assert not oracle.pooled(x, r, row(1.0), kernel_size=(1, 3)).any()
    assert torch.equal(oracle.pooled(x, row(0.0, 1.0, 1.0), row(1.0), kernel_size=(1, 3)), row(0.75, 0.0, 0.0))


@pytest.mark.parametrize("kind", [Functional, Reusing])
def test_functions_and_values_used_twice_add_up(kind: type[nn.Module]) -> None:
    torch.manual_seed(4)
    network = settled(kind())
    film, references = inputs(2)
    before = network(torch.from_numpy(film)[None].float())
    assert oracle.explain(network, film, references).residuals.max() < 1e-9
    assert torch.equal(network(torch.from_numpy(film)[None].float()), before), "networks are copied, not changed"


@pytest.mark.parametrize(
    ("function", "name"), [(nn.Sigmoid(), "Sigmoid"), (torch.sin, "sin"), (lambda x: x.tanh(), "tanh")]
)
def test_operations_without_a_rule_are_named(function: Callable[[torch.Tensor], torch.Tensor], name: str) -> None:
    with pytest.raises(NotImplementedError, match=name):
        oracle.explain(Calling(function).eval(), *inputs(2))


def test_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluation mode"):
        oracle.explain(vgg().train(), *inputs(2))
