"""The transforms against the plain sum, in float64; what rounding does to weights."""

from __future__ import annotations

import torch
from torch.nn import functional

from vidi_explainer.deepshap.winograd import (
    INPUT_TILE,
    OUTPUT_TILE,
    tile_weights,
    transform_input,
    transform_output,
    transform_weights,
)


def both_ways(transform: object, tile: torch.Tensor) -> torch.Tensor:
    """Apply a transform of vectors to columns, then to rows; the vectors are rows of float64 tensors."""
    columns = torch.stack(transform(list(tile)))  # type: ignore[operator]
    return torch.stack(transform(list(columns.T))).T  # type: ignore[operator]


def test_a_tile_is_a_convolution() -> None:
    generator = torch.Generator().manual_seed(1)
    tile = torch.randn(INPUT_TILE, INPUT_TILE, generator=generator, dtype=torch.float64)
    kernel = torch.randn(1, 1, 3, 3, generator=generator, dtype=torch.float64)
    products = both_ways(transform_input, tile) * transform_weights(kernel).view(INPUT_TILE, INPUT_TILE)
    right = functional.conv2d(tile.view(1, 1, INPUT_TILE, INPUT_TILE), kernel)[0, 0]
    assert right.shape == (OUTPUT_TILE, OUTPUT_TILE)
    torch.testing.assert_close(both_ways(transform_output, products), right, rtol=1e-12, atol=1e-12)


def test_weights_are_laid_out_for_products() -> None:
    kernels = torch.randn(5, 7, 3, 3, dtype=torch.float64)
    transformed = transform_weights(kernels)
    assert transformed.shape == (36, 7, 5) and transformed.is_contiguous()
    one = transform_weights(kernels[2:3, 3:4])
    torch.testing.assert_close(transformed[:, 3, 2], one[:, 0, 0])


def test_the_gain_of_rounding_is_found() -> None:
    identity = torch.zeros(100, 100, 3, 3)  # more channels than one slice
    identity[range(100), range(100), 1, 1] = 1.0
    exact = transform_weights(identity)
    rounded, factor = tile_weights(identity, torch.bfloat16)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded, exact.to(torch.bfloat16), rtol=0, atol=0)
    assert 1e-4 < abs(factor - 1) < 5e-3  # one error in all channels

    def drift(weights: torch.Tensor) -> float:
        """How far the mean of a tile of ones moves on its way through one channel of the identity."""
        products = both_ways(transform_input, torch.ones(6, 6, dtype=torch.float64)) * weights[:, 3, 3].view(6, 6)
        return abs(float(both_ways(transform_output, products).mean()) - 1.0)

    assert drift(exact) < 1e-12
    assert drift(factor * rounded.double()) < 0.3 * drift(rounded.double())
    plain, one = tile_weights(identity, torch.float32)
    assert one == 1.0
    torch.testing.assert_close(plain, exact.float(), rtol=0, atol=0)
