"""The roofline: what the backward-data convolutions alone cost, in bfloat16, and nothing between them.

The gradient of a stride-1 convolution with respect to its input is a convolution of the output's gradient with the
kernels turned by 180 degrees and their channel axes exchanged; as such a *forward* convolution it is what libraries do
best. Fast mode's time over theirs says what all the rest costs. A ratio below 1 is possible where Winograd's
convolutions, which need fewer multiplications, are quicker than direct ones.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from vidi.bundle import Bundle
from vidi.models import load_network

#: Parts that a batch is convolved in.
SPLITS = (1, 2, 4, 16)
LAYOUTS = (torch.channels_last, torch.contiguous_format)
TRIALS = 3


@dataclass(frozen=True)
class _Layer:
    """A convolution with its gradients, laid out for it: `parts` of a batch, `kernel` (in, out, height, width)."""

    parts: tuple[torch.Tensor, ...]
    kernel: torch.Tensor
    padding: tuple[int, int]

    def run(self) -> None:
        for part in self.parts:
            F.conv2d(part, self.kernel, padding=self.padding)


class Roofline:
    """All backward-data convolutions of a network, each in the split and layout that was quickest for it.

    Parameters
    ----------
    bundle
        The network; its convolutions other than stride-1 ones without groups or dilation are left out, as are all other
        operations.
    batch
        Gradients at a time: references x classes.
    dtype
        Of gradients and kernels.
    """

    def __init__(self, bundle: Bundle, batch: int, dtype: torch.dtype = torch.bfloat16) -> None:
        self._layers: list[_Layer] = []
        # Layers of one shape cost the same: the choice made for the first one serves all, on the same gradients.
        chosen: dict[tuple[torch.Size, torch.Size], _Layer] = {}
        with torch.inference_mode():
            for module, shape in _convolutions(bundle):
                kernel = module.weight.flip(2, 3).transpose(0, 1).to(dtype)
                key = (shape, kernel.shape)
                if key not in chosen:
                    gradients = torch.randn(batch, *shape[1:], generator=torch.Generator().manual_seed(0)).to(dtype)
                    chosen[key] = _quickest(gradients, kernel, module)
                best = chosen[key]
                own = kernel.contiguous(memory_format=_layout(best.kernel))
                self._layers.append(_Layer(best.parts, own, best.padding))

    def run(self) -> None:
        """Compute all of them once, from the last layer to the first."""
        with torch.inference_mode():
            for layer in reversed(self._layers):
                layer.run()


def _convolutions(bundle: Bundle) -> list[tuple[nn.Conv2d, torch.Size]]:
    """Return the network's stride-1 convolutions with the shapes of their outputs for one film."""
    network = load_network(bundle)
    found: list[tuple[nn.Conv2d, torch.Size]] = []
    modules = [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.stride == module.dilation == (1, 1) and module.groups == 1
    ]
    hooks = [module.register_forward_hook(lambda m, _, out: found.append((m, out.shape))) for module in modules]
    network(torch.zeros(1, 3, bundle.preprocessing.height, bundle.preprocessing.width))
    for hook in hooks:
        hook.remove()
    return found


def _quickest(gradients: torch.Tensor, kernel: torch.Tensor, module: nn.Conv2d) -> _Layer:
    size, padding = module.kernel_size, module.padding
    assert not isinstance(padding, str)
    turned = (size[0] - 1 - padding[0], size[1] - 1 - padding[1])
    best: tuple[float, _Layer] | None = None
    for split, layout, kernel_layout in itertools.product(SPLITS, LAYOUTS, LAYOUTS):
        if split > len(gradients):
            continue
        parts = gradients.contiguous(memory_format=layout).chunk(split)
        layer = _Layer(parts, kernel.contiguous(memory_format=kernel_layout), turned)
        layer.run()
        seconds = []
        for _ in range(TRIALS):
            started = time.perf_counter()
            layer.run()
            seconds.append(time.perf_counter() - started)
        if best is None or min(seconds) < best[0]:
            best = (min(seconds), layer)
    assert best is not None
    return best[1]


def _layout(tensor: torch.Tensor) -> torch.memory_format:
    last = tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
