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


def transform_weights(weights: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Apply G w G^T to kernels.

    Parameters
    ----------
    weights
        (out, in, 3, 3), any float type.
    dtype
        float32 or bfloat16; see `rounded`.

    Returns
    -------
    (36, in, out): one matrix per position of a tile, for (tiles, in) @ (in, out).
    """
    points = [0.0, _A, -_A, _B, -_B]
    rows = []
    for j, point in enumerate(points):
        scale = math.prod(point - other for i, other in enumerate(points) if i != j)
        rows.append([1 / scale, point / scale, point * point / scale])
    g = torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)
    exact = torch.einsum("ij,ocjk,lk->ilco", g, weights.double(), g).reshape(-1, weights.shape[1], weights.shape[0])
    return _rounded(exact, _response(), dtype).contiguous()


def rounded(weights: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Round kernels (out, in, height, width) so that each keeps its sum (see `_rounded`)."""
    taps = weights.flatten(2).permute(2, 0, 1)
    return _rounded(taps.double(), [1.0] * len(taps), dtype).permute(1, 2, 0).reshape(weights.shape)


def _response() -> list[float]:
    """What each of the 36 products contributes to the mean output of a tile of ones."""
    ones = transform_input([1.0] * INPUT_TILE)
    unit = [[float(i == j) for j in range(INPUT_TILE)] for i in range(INPUT_TILE)]
    means = [sum(transform_output(row)) / OUTPUT_TILE for row in unit]
    line = [one * mean for one, mean in zip(ones, means, strict=True)]
    return [a * b for a in line for b in line]


def _rounded(exact: torch.Tensor, response: list[float], dtype: torch.dtype) -> torch.Tensor:
    """Round (terms, ...) so that sum(response * term) stays what it was: sigma-delta over the terms.

    Rounding each weight to bfloat16 by itself shifts a kernel's gain by about 0.1 %, the same way for all films and
    references: additivity residuals of 0.4 % were measured. Each term's error is handed on to the next instead, from
    the largest response to the smallest, as long as a term moves by no more than one unit in its last place.
    """
    if dtype != torch.bfloat16:
        return exact.to(dtype)
    result = torch.empty(exact.shape, dtype=dtype)
    carried = torch.zeros_like(exact[0])
    for term in sorted(range(len(response)), key=lambda i: -abs(response[i])):
        nearest = exact[term].to(dtype)
        moved = (exact[term] + carried / response[term]).to(dtype)
        near = (moved.double() - nearest.double()).abs() <= nearest.double().abs() * 2.0**-7
        result[term] = torch.where(near, moved, nearest)
        carried += response[term] * (exact[term] - result[term].double())
    return result
