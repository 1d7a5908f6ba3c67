"""Winograd's minimal filtering F(4 x 4, 3 x 3): a 3 x 3 convolution with a quarter of the products.

A tile of 6 x 6 inputs gives 4 x 4 outputs: Y = A^T [(G w G^T) * (B^T d B)] A, with 36 products a channel pair where the
plain sum has 144. The products are 36 matrix multiplications; the transforms are sums.

The matrices come from polynomial interpolation at 0, +-3/4, +-3/2 and infinity. The usual points 0, +-1, +-2 amplify
rounding about twice as much; measured on a VGG-19 with bfloat16 products, all maps' relative error fell from 1.9 % to
0.8 % (docs/adr/0012-deepshap-engine.md).

Sources: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; Barabasz et al., "Error Analysis and
Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2020 (choice of points).
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch

from vidi_explainer.deepshap.simd import Vector

T = TypeVar("T", Vector, float)

INPUT_TILE, OUTPUT_TILE = 6, 4
#: Input channels that are transformed at a time.
_SLICE = 64
_A, _B = 3 / 4, 3 / 2
_A2, _B2 = _A * _A, _B * _B


def transform_input(d: list[T]) -> list[T]:
    """Apply B^T to six values."""
    even_a, odd_a = d[4] - _B2 * d[2], _A * d[3] - (_A * _B2) * d[1]
    even_b, odd_b = d[4] - _A2 * d[2], _B * d[3] - (_B * _A2) * d[1]
    return [
        (_A2 * _B2) * d[0] - (_A2 + _B2) * d[2] + d[4],
        even_a + odd_a,
        even_a - odd_a,
        even_b + odd_b,
        even_b - odd_b,
        (_A2 * _B2) * d[1] - (_A2 + _B2) * d[3] + d[5],
    ]


def transform_output(m: list[T]) -> list[T]:
    """Apply A^T to six values: four outputs."""
    sum_a, difference_a, sum_b, difference_b = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return [
        m[0] + sum_a + sum_b,
        _A * difference_a + _B * difference_b,
        _A2 * sum_a + _B2 * sum_b,
        (_A * _A2) * difference_a + (_B * _B2) * difference_b + m[5],
    ]


def tile_weights(weights: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, float]:
    """Transform and round kernels.

    Parameters
    ----------
    weights
        (out, in, 3, 3), any float type.
    dtype
        Of the result.

    Returns
    -------
    As `transform_weights`, rounded; and the `gain` of the rounding, 1 for float32.
    """
    result = torch.empty(INPUT_TILE * INPUT_TILE, weights.shape[1], weights.shape[0], dtype=dtype)
    along, across = 0.0, 0.0
    for first in range(0, weights.shape[1], _SLICE):  # in slices: float64 is several times as large
        exact = transform_weights(weights[:, first : first + _SLICE])
        rounded = exact.to(dtype)
        result[:, first : first + _SLICE] = rounded
        if dtype == torch.bfloat16:
            products = _inner_products(exact, rounded.double())
            along, across = along + products[0], across + products[1]
    return result, along / across if across else 1.0


def transform_weights(weights: torch.Tensor) -> torch.Tensor:
    """Apply G w G^T to kernels.

    Parameters
    ----------
    weights
        (out, in, 3, 3), any float type.

    Returns
    -------
    float64 (36, in, out): one matrix per position of a tile, for (tiles, in) @ (in, out).
    """
    points = [0.0, _A, -_A, _B, -_B]
    rows = []
    for j, point in enumerate(points):
        scale = math.prod(point - other for i, other in enumerate(points) if i != j)
        rows.append([1 / scale, point / scale, point * point / scale])
    g = torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)
    transformed = torch.einsum("ij,ocjk,lk->ilco", g, weights.double(), g)
    return transformed.reshape(INPUT_TILE * INPUT_TILE, weights.shape[1], weights.shape[0]).contiguous()


def _inner_products(exact: torch.Tensor, rounded: torch.Tensor) -> tuple[float, float]:
    """Return <exact, rounded> and <rounded, rounded>: their ratio is the gain that brings rounded weights closest.

    Rounding to bfloat16 errs at random over most kernels, but not over all: an identity's 36 transformed weights are
    the same in every channel, and so is their error, 0.1 % a layer, which three such layers add up to an additivity
    residual of 0.4 %. Closest is meant for outputs: the least squares of A^T [(U - factor * R) * (B^T d B)] A over
    tiles d whose neighbours correlate by 0.9, as multipliers and activations do.

    Parameters
    ----------
    exact, rounded
        float64 (36, in, out), of `transform_weights`.
    """
    unit = [[float(i == j) for j in range(INPUT_TILE)] for i in range(INPUT_TILE)]
    inputs = torch.tensor([transform_input(row) for row in unit], dtype=torch.float64).T
    outputs = torch.tensor([transform_output(row) for row in unit], dtype=torch.float64).T
    places = torch.arange(INPUT_TILE)
    neighbours = 0.9 ** (places[:, None] - places[None]).abs().double()
    line = (outputs.T @ outputs) * (inputs @ neighbours @ inputs.T)
    weighted = torch.kron(line, line) @ rounded.flatten(1)
    return float((exact.flatten(1) * weighted).sum()), float((rounded.flatten(1) * weighted).sum())
