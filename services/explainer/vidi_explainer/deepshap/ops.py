"""The operations that DeepSHAP can go back through, on torch tensors of any device and precision.

Notation: x is the film's value at some point of the network, r a reference's, dx = x - r. A *multiplier* m of a value v
for an output f says how much of f's change each element of v's change carries: sum(m_v * dv) = f(x) - f(r) (DeepLIFT's
summation to delta). Going backwards through an operation w = g(v):

- **linear** operations (convolution, linear layer, per-channel affine, average pooling, concatenation, sum, reshaping)
  carry multipliers by the transpose of their matrix, as gradients do; biases cancel in dw.
- **ReLU**, rescale rule: m_v = m_w (relu(x) - relu(r)) / (x - r), element by element. Where |x - r| < 1e-6 the quotient
  is undefined in floating point and the gradient at the reference, 1[r > 0], takes its place, as in shap.
- **max pooling**, shap's cross-max: per window, with y and s the maxima over the film's and the reference's window and
  c = max(y, s), m_w (c - s) is given to the position of the film's maximum and m_w (y - c) to that of the reference's
  (the first, in row order, of equals). Windows that overlap add up. Divided by dx it is a multiplier; where
  |dx| < 1e-7 it is 0.

Multipliers are kept for all explained outputs and several references at once: leading dimension references x outputs,
outputs innermost. Film values have leading dimension 1.

Sources: Shrikumar et al. 2017, sections 3.3 and 3.5.1 (linear and rescale rule); the two thresholds and the cross-max
are shap 0.51's (`shap/explainers/_deep/deep_pytorch.py`), except for overlapping windows, where shap overwrites instead
of adding and loses additivity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

Pair = tuple[int, int]
#: Below this difference of a ReLU's inputs its gradient at the reference is taken.
SMALL_RELU = 1e-6
#: Below this difference of a pooling's inputs nothing is attributed.
SMALL_POOL = 1e-7


class Operation:
    """One operation of a network.

    Attributes
    ----------
    needs_values
        Whether going back through it needs the values of its input.
    """

    needs_values: ClassVar[bool] = False

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Return the operation's value."""
        raise NotImplementedError

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Carry multipliers back through a linear operation.

        Parameters
        ----------
        multipliers
            (n, ...) of the value.
        shapes
            Shapes of the inputs for one film, leading dimension 1.

        Returns
        -------
        Multipliers of each input.
        """
        raise NotImplementedError


class Rule(Operation):
    """A non-linear operation: its multipliers depend on the film and the references."""

    needs_values = True

    def attribute(self, multipliers: torch.Tensor, film: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """Carry multipliers back.

        Parameters
        ----------
        multipliers
            (references x outputs, ...).
        film
            (1, ...): the film's input of this operation.
        references
            (references, ...): the references'.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """2-D convolution; `weight` (out, in / groups, height, width), `bias` (out,) or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Convolve."""
        return functional.conv2d(
            values[0], self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Convolve with the transpose."""
        if self.is_plain:  # as a forward convolution, for which libraries have their fastest kernels
            return [functional.conv2d(multipliers, self.transposed(), padding=1)]
        size = [len(multipliers), *shapes[0][1:]]
        back, _, _ = torch.ops.aten.convolution_backward(
            multipliers, multipliers.new_empty(1).expand(size), self.weight, None, self.stride, self.padding,
            self.dilation, False, [0, 0], self.groups, [True, False, False],
        )  # fmt: skip
        return [back]

    @property
    def is_plain(self) -> bool:
        """Whether it is 3 x 3 with stride 1 and padding 1: its transpose is of the same kind."""
        plain = self.weight.shape[2:] == (3, 3) and self.stride == self.padding == self.dilation == (1, 1)
        return plain and self.groups == 1

    def transposed(self) -> torch.Tensor:
        """The kernels of the convolution that carries multipliers back: (in, out, height, width), rotated."""
        return self.weight.flip(2, 3).transpose(0, 1)


@dataclass(frozen=True, eq=False)
class HalfConvolution(Convolution):
    """A convolution that carries multipliers back by bfloat16 products; `weight` is bfloat16. Never goes forward."""

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Convolve rounded multipliers with the transpose."""
        (back,) = super().backward(multipliers.to(self.weight.dtype), shapes)
        return [back.to(multipliers.dtype)]


@dataclass(frozen=True, eq=False)
class Affine(Operation):
    """A scale and a shift per channel: batch normalisation in evaluation mode; both (channels,)."""

    scale: torch.Tensor
    shift: torch.Tensor

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Scale and shift."""
        shape = (1, -1, *[1] * (values[0].dim() - 2))
        return torch.addcmul(self.shift.view(shape), values[0], self.scale.view(shape))

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Scale."""
        return [multipliers * self.scale.view(1, -1, *[1] * (multipliers.dim() - 2))]


@dataclass(frozen=True, eq=False)
class Linear(Operation):
    """Linear layer; `weight` (out, in), `bias` (out,) or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return functional.linear(values[0], self.weight, self.bias)

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Multiply by the transpose."""
        return [multipliers @ self.weight]


@dataclass(frozen=True)
class AveragePool(Operation):
    """Average pooling over windows."""

    kernel: Pair
    stride: Pair
    padding: Pair
    ceil: bool = False
    count_padding: bool = True

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Pool."""
        return functional.avg_pool2d(values[0], self.kernel, self.stride, self.padding, self.ceil, self.count_padding)

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Spread."""
        return [_transpose(self, multipliers, shapes[0])]


@dataclass(frozen=True)
class AdaptiveAveragePool(Operation):
    """Average pooling to a size."""

    size: tuple[int | None, int | None]

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Pool."""
        return functional.adaptive_avg_pool2d(values[0], self.size)

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Spread."""
        height, width = shapes[0][2:]
        if self.size == (1, 1):
            return [(multipliers / (height * width)).expand(-1, -1, height, width)]
        return [_transpose(self, multipliers, shapes[0])]


@dataclass(frozen=True)
class Mean(Operation):
    """Mean over dimensions, counted from 1 (the leading one is never averaged)."""

    dims: tuple[int, ...]
    keep: bool

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Average."""
        return values[0].mean(self.dims, keepdim=self.keep)

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Spread."""
        return [_transpose(self, multipliers, shapes[0])]


class Reshape(Operation):
    """All dimensions but the first in one."""

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Flatten."""
        return values[0].flatten(1)

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Restore the dimensions."""
        return [multipliers.reshape(len(multipliers), *shapes[0][1:])]


class Concatenation(Operation):
    """Side by side along the channels."""

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Concatenate."""
        return torch.cat(values, 1)

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Split."""
        return torch.split(multipliers, [shape[1] for shape in shapes], 1)


class Sum(Operation):
    """Element by element; the shapes are equal."""

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Add."""
        return values[0] + values[1]

    def backward(self, multipliers: torch.Tensor, shapes: Sequence[torch.Size]) -> Sequence[torch.Tensor]:
        """Give to both."""
        return [multipliers, multipliers]


class Relu(Rule):
    """max(v, 0), by the rescale rule."""

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Rectify, out of place."""
        return values[0].relu()

    def attribute(self, multipliers: torch.Tensor, film: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """Multiply by the slope between film and reference."""
        change = film - references
        slope = (film.relu() - references.relu()).div_(change)
        gradient = (references > 0).to(change.dtype)
        scale = torch.where(change.abs_() < SMALL_RELU, gradient, slope)
        return _per_output(multipliers, scale)


@dataclass(frozen=True)
class MaxPool(Rule):
    """Max pooling, by cross-max."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil: bool = False

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Pool."""
        return functional.max_pool2d(values[0], self.kernel, self.stride, self.padding, self.dilation, self.ceil)

    def attribute(self, multipliers: torch.Tensor, film: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        """Give each half's share to its maximum, add up, divide by the change."""
        top, at = self._maxima(film)
        other, other_at = self._maxima(references)
        both = torch.maximum(top, other)
        count, outputs = len(references), len(multipliers) // len(references)
        shape = (count, outputs, *film.shape[1:])
        spread = multipliers.new_zeros(shape).flatten(3)
        grouped = multipliers.reshape(count, outputs, *multipliers.shape[1:])
        for share, index in ((both - other, at), (top - both, other_at)):
            positions = index.unsqueeze(1).expand(count, outputs, *index.shape[1:]).flatten(3)
            spread.scatter_add_(3, positions, (grouped * share.unsqueeze(1)).flatten(3))
        change = (film - references).unsqueeze(1)
        scaled = spread.view(shape) / change
        return torch.where(change.abs() < SMALL_POOL, 0.0, scaled).flatten(0, 1)

    def _maxima(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        top, at = functional.max_pool2d(
            values, self.kernel, self.stride, self.padding, self.dilation, self.ceil, return_indices=True
        )
        return top, at


def _per_output(multipliers: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Multiply (references x outputs, ...) by (references, ...)."""
    grouped = multipliers.reshape(len(scale), -1, *multipliers.shape[1:])
    return (grouped * scale.unsqueeze(1)).flatten(0, 1)


def _transpose(operation: Operation, multipliers: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Carry multipliers through the transpose of a linear operation without weights, by automatic differentiation."""
    zeros = multipliers.new_zeros((len(multipliers), *shape[1:]))
    with torch.enable_grad():
        zeros.requires_grad_()
        value = operation.forward(zeros)
        (back,) = torch.autograd.grad(value, zeros, multipliers)
    return back
