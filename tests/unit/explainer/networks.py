"""Small networks that answer like trained ones, films for them, and the changes that shap needs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from torch import fx, nn
from torch.nn import functional

from vidi.imaging.preprocess import Preprocessing
from vidi.models import VGG, densenet121

SIZE = 64
PREPROCESSING = Preprocessing(height=SIZE, width=SIZE)
CLASSES = ("a", "b", "c")


def films(count: int, seed: int) -> npt.NDArray[np.float32]:
    """Return smooth films of unlike brightness, float32 (count, 64, 64) in 0..1."""
    rng = np.random.default_rng(seed)
    smooth = [gaussian_filter(rng.random((SIZE, SIZE)), 1.5) for _ in range(count)]
    return np.stack([((f - f.min()) / np.ptp(f)) ** rng.uniform(0.3, 3) for f in smooth]).astype(np.float32)


def vgg(depth: Any = 19, batch_norm: bool = True, head: Any = "gap", *, width: float = 1 / 16) -> nn.Module:
    """Return a VGG, ready for `PREPROCESSING` and `CLASSES`."""
    torch.manual_seed(0)
    return settled(VGG(len(CLASSES), width, batch_norm, head, depth))


def densenet(*, overlapping: bool = True) -> nn.Module:
    """Return a DenseNet of two layers a block, ready for `PREPROCESSING` and `CLASSES`.

    Its stem pools over 3 x 3 windows with stride 2 as published, or over 2 x 2 windows, which do not overlap.
    """
    torch.manual_seed(0)
    network = densenet121(len(CLASSES), 1 / 8, block_config=(2, 2, 2, 2))
    if not overlapping:
        network.features.pool0 = nn.MaxPool2d(2, 2)  # type: ignore[union-attr]
    return settled(network)


class Functional(nn.Module):
    """Functions instead of modules, some in place; windows that overlap; values used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(16, len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(torch.relu(self.a(x)), 3, stride=2, padding=1)
        y = functional.relu(self.b(x), inplace=True)
        y += x
        x = functional.avg_pool2d(torch.cat([functional.relu(y), x], 1), 2)
        x = functional.adaptive_avg_pool2d(x, (1, 1))
        logits: torch.Tensor = self.last(torch.flatten(x, 1))
        return logits


class Reusing(nn.Module):
    """One ReLU, in place, and one pool for all layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(n, 8, 3, padding=1, bias=False) for n in (3, 8, 8))
        self.norm, self.relu, self.pool = nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, len(CLASSES)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.relu(self.norm(self.a(x))))
        x = self.pool(self.relu(self.b(x)))
        logits: torch.Tensor = self.head(self.relu(self.c(x)))
        return logits


class Calling(nn.Module):
    """A convolution, a function, and a head."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.a, self.function = nn.Conv2d(3, 4, 3), function
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, len(CLASSES)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.function(self.a(x)))
        return logits


def settled(network: nn.Module) -> nn.Module:
    """Give a network statistics of films and logits that tell films apart, so that nothing vanishes or explodes."""
    inputs = torch.from_numpy(PREPROCESSING.to_input(films(16, seed=99)))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain average instead of a moving one
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    *_, last = (module for module in network.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        network.train()(inputs)
        last.weight.div_(network.eval()(inputs).std(0).mean())
    return network


def for_shap(network: nn.Module) -> nn.Module:
    """Return a copy that shap.DeepExplainer can hook: each use of a ReLU becomes a module of its own, out of place."""
    traced = fx.symbolic_trace(copy.deepcopy(network))
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        by_function = node.op == "call_function" and node.target in (functional.relu, torch.relu)
        if by_function or (node.op == "call_module" and isinstance(modules[node.target], nn.ReLU)):
            name = f"{node.name}_of_shap"
            traced.add_submodule(name, nn.ReLU(inplace=False))
            with traced.graph.inserting_after(node):
                node.replace_all_uses_with(replacement := traced.graph.call_module(name))
            replacement.args = node.args[:1]
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval()
