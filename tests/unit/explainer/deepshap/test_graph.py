"""Networks that are read as they are, and those that are refused by name when they are opened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.unit.explainer import oracle
from tests.unit.explainer.networks import CLASSES, PREPROCESSING, films
from vidi.errors import BundleError
from vidi_explainer.deepshap.engine import DeepShapEngine
from vidi_explainer.targets import Target


class Written(nn.Module):
    """Two convolutions and a head, put together by a function."""

    def __init__(self, put_together: Callable[[Written, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.last = nn.Linear(16, len(CLASSES))
        self.put_together = put_together

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.put_together(self, self.a(x))
        logits: torch.Tensor = self.last(torch.flatten(functional.adaptive_avg_pool2d(y, 1), 1))
        return logits


def unused_branch(net: Written, x: torch.Tensor) -> torch.Tensor:
    net.b(torch.relu(x))
    return torch.relu(x)


def rectified_twice(net: Written, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(net.b(torch.relu(torch.relu(x))))


def residual(net: Written, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(net.b(torch.relu(x)) + x)


@pytest.mark.parametrize("network", [unused_branch, rectified_twice, residual])
def test_what_is_read_is_explained(network: Callable[[Written, torch.Tensor], torch.Tensor]) -> None:
    grids, made = films(3, seed=8), Written(network).eval()
    found = DeepShapEngine(made, grids[1:], PREPROCESSING, CLASSES).explain(grids[0], Target(), channels=True)
    inputs = PREPROCESSING.to_input(grids)
    right = oracle.explain(made, inputs[0], inputs[1:]).attributions
    maps = np.stack([output.channels for output in found.outputs if output.channels is not None])
    assert np.linalg.norm(maps - right) < 1e-4 * np.linalg.norm(right)


def in_place(net: Written, x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = net.b(torch.relu_(x))
    return y + x


def broadcast(net: Written, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) + functional.adaptive_avg_pool2d(x, 1)


def over_films(net: Written, x: torch.Tensor) -> torch.Tensor:
    mean: torch.Tensor = x.mean(-4, keepdim=True)
    return x + mean


def unknown_argument(net: Written, x: torch.Tensor) -> torch.Tensor:
    return torch.add(x, net.b(x), alpha=2)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (in_place, "in place"),
        (broadcast, "adds values of unlike shapes"),
        (over_films, "mean averages over films"),
        (unknown_argument, "add with alpha"),
    ],
)
def test_what_has_no_rule_is_refused_when_it_is_opened(
    network: Callable[[Written, torch.Tensor], torch.Tensor], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        DeepShapEngine(Written(network).eval(), films(2, seed=8), PREPROCESSING, CLASSES, label="odd")


def test_a_part_in_training_mode_is_refused() -> None:
    network = Written(residual).eval()
    network.b.train()
    with pytest.raises(BundleError, match="evaluation mode"):
        DeepShapEngine(network, films(2, seed=8), PREPROCESSING, CLASSES)


def test_loops_compile_for_processors_without_bfloat16() -> None:
    # LLVM ends the process where it meets a conversion that the processor lacks: in a process of its own, then.
    program = """
import torch
from vidi_explainer.deepshap.crew import Crew, Workspace
from vidi_explainer.deepshap.fused import FusedConvolution, Layout, Multipliers
from vidi_explainer.deepshap.ops import Convolution, Relu
torch.manual_seed(0)
conv = Convolution(torch.randn(16, 16, 3, 3) / 12, None, (1, 1), (1, 1), (1, 1), 1)
film, refs = (torch.randn(n, 16, 8, 8).contiguous(memory_format=torch.channels_last) for n in (1, 2))
above, space = torch.randn(2, 16, 8, 8), Workspace()
below = Layout.plain(8, 8, 16)
step = FusedConvolution(conv, pooled=False, height=8, width=8, below=below, half=True, direct=False, crew=Crew(1))
found = step.run(Multipliers.of(above, step.above, space, step.dtype), film, refs, space).plain()
right = Relu().attribute(conv.backward(above, [film.shape])[0], film, refs)
print(float((found - right).norm() / right.norm()) < 0.03)
"""
    lesser = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **lesser}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
