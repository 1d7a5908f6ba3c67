"""Compiled loops of the fused steps: one pass over memory from a convolution's output to the layer below it.

Arrays are channels-last and contiguous, channels a multiple of 16. Multipliers are (references x classes, rows,
columns, channels) with a border of zeros wherever a convolution reads over the edge; activations are (rows, columns,
channels) of the film and (references, rows, columns, channels) of the references. Multipliers are float32, or bfloat16
in fast mode; activations and all arithmetic are float32.

Every loop takes byte addresses and a range of work items, releases the interpreter lock and touches nothing else, so
that threads may share one array. `kernels` compiles them, once a process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import njit, types

from vidi_explainer.deepshap.ops import SMALL_POOL, SMALL_RELU
from vidi_explainer.deepshap.simd import LANES, Memory, Vector, body
from vidi_explainer.deepshap.winograd import INPUT_TILE, OUTPUT_TILE, transform_input, transform_output

Kernel = Callable[..., None]


@dataclass(frozen=True)
class Kernels:
    """Compiled loops; all addresses in bytes, all sizes in elements.

    `rule...` stands for (pooled, height, width, channels, film, references, out, rows, columns, border, gain): whether
    a 2 x 2 pooling lies above the ReLU, the size of what the ReLU rectifies, its values, where the multipliers go and
    how they lie there, and the address of a factor for them.

    Attributes
    ----------
    tiles_in
        (multipliers, classes, tile rows, tile columns, rows, columns, channels, tiles, first, last, base, capacity):
        transform tiles first..last-1 of the padded multipliers into tiles (36, capacity, channels), row tile - base.
    tiles_out
        (tiles, classes, tile rows, tile columns, capacity, rule..., scratch, first, last, base): transform back and
        apply the rule.
    pixels
        (plain multipliers, classes, rule..., first, last): apply the rule to rows of multipliers as they are.
    input_rules
        By number of sums a pixel, 3 (one a channel) or 1 (one for a grey film):
        (multipliers, classes, height, width, padded rows, padded columns, channels, weights, film, references, out,
        sums, first, last): the first convolution and the last product, per row.
    """

    tiles_in: Kernel
    tiles_out: Kernel
    pixels: Kernel
    input_rules: dict[int, Kernel]


def _emit_tile_in(half: bool) -> Any:
    def emit(memory: Memory, source: Any, row: Any, column: Any, target: Any, plane: Any) -> None:
        n = INPUT_TILE
        columns = [
            transform_input([memory.load(memory.at(source, (i, row), (j, column)), half=half) for i in range(n)])
            for j in range(n)
        ]
        for i in range(n):
            for j, value in enumerate(transform_input([columns[j][i] for j in range(n)])):
                memory.store(value, memory.at(target, (i * n + j, plane)), half=half)

    return body(5, emit)


def _emit_tile_out(half: bool) -> Any:
    def emit(memory: Memory, source: Any, plane: Any, target: Any, stride: Any) -> None:
        n = INPUT_TILE
        columns = [
            transform_output([memory.load(memory.at(source, (i * n + j, plane)), half=half) for i in range(n)])
            for j in range(n)
        ]
        for i in range(OUTPUT_TILE):
            for j, value in enumerate(transform_output([columns[j][i] for j in range(n)])):
                memory.store(value, memory.at(target, (i * OUTPUT_TILE + j, stride)))

    return body(4, emit)


def _rescale(film: Vector, reference: Vector) -> Vector:
    """The multiplier of a ReLU: (relu(x) - relu(r)) / (x - r), or 1[r > 0] where |x - r| < 1e-6."""
    change = film - reference
    slope = (film.positive() - reference.positive()) / change
    one = Vector(film.builder, film._of(1.0))
    gradient = one.select(reference.compare(">", 0.0), 0.0)
    return gradient.select(change.magnitude().compare("<", SMALL_RELU), slope)


def _emit_relu(half: bool, half_in: bool) -> Any:
    def emit(memory: Memory, multiplier: Any, film: Any, reference: Any, gain: Any, target: Any) -> None:
        scale = _rescale(memory.load(film), memory.load(reference)) * memory.spread(gain)
        memory.store(memory.load(multiplier, half=half_in) * scale, target, half=half)

    return body(5, emit)


def _emit_pool(half: bool, half_in: bool) -> Any:
    """Cross-max of a 2 x 2 window over rectified inputs, and the ReLU below it.

    One position of the window gets it all: with y and s the maxima of the film's and the reference's window, (y - s)
    goes to the film's first maximum where y > s, and to the reference's where y < s; divided by the change there.
    """

    def emit(
        memory: Memory, multiplier: Any, film: Any, reference: Any, activation_row: Any, activation_column: Any,
        gain: Any, target: Any, row: Any, column: Any,
    ) -> None:  # fmt: skip
        window = [(i, j) for i in range(2) for j in range(2)]
        x = [memory.load(memory.at(film, (i, activation_row), (j, activation_column))) for i, j in window]
        r = [memory.load(memory.at(reference, (i, activation_row), (j, activation_column))) for i, j in window]
        xs, rs = [v.positive() for v in x], [v.positive() for v in r]
        top = functools.reduce(Vector.maximum, xs)
        other = functools.reduce(Vector.maximum, rs)
        change = top - other
        film_leads = change.compare(">", 0.0)
        peak = top.select(film_leads, other)
        # From the last position to the first: the first maximum has the last word.
        chosen_x, chosen_r = x[3], r[3]
        hits = []
        for i in (3, 2, 1, 0):
            leader = xs[i].select(film_leads, rs[i])
            hits.append(leader.compare("==", peak))
            chosen_x, chosen_r = x[i].select(hits[-1], chosen_x), r[i].select(hits[-1], chosen_r)
        rectified = chosen_x.positive() - chosen_r.positive()
        share = memory.zero().select(rectified.magnitude().compare("<", SMALL_POOL), change / rectified)
        value = memory.load(multiplier, half=half_in) * memory.spread(gain) * share * _rescale(chosen_x, chosen_r)
        for i, hit in zip((3, 2, 1, 0), hits, strict=True):
            earlier = hits[4 - i :]  # those of the positions before i
            mine = value.select(hit, 0.0)
            for mask in earlier:
                mine = memory.zero().select(mask, mine)
            memory.store(mine, memory.at(target, (window[i][0], row), (window[i][1], column)), half=half)

    return body(9, emit)


def _emit_input(half: bool, count: int) -> Any:
    """One pixel of the first layer: `count` sums over a 3 x 3 neighbourhood and 16 channels."""

    def emit(memory: Memory, source: Any, row: Any, column: Any, weights: Any, plane: Any, sums: Any) -> None:
        totals = [memory.load(memory.at(sums, (channel, 4 * LANES))) for channel in range(count)]
        for i in range(3):
            for j in range(3):
                value = memory.load(memory.at(source, (i, row), (j, column)), half=half)
                for channel in range(count):
                    weight = memory.load(memory.at(weights, (channel * 9 + i * 3 + j, plane)))
                    totals[channel] = totals[channel] + value * weight
        for channel in range(count):
            memory.store(totals[channel], memory.at(sums, (channel, 4 * LANES)))

    return body(6, emit)


def _emit_product() -> Any:
    """Attribution of one pixel and channel: the lanes' sum times the change of the input."""

    def emit(memory: Memory, sums: Any, film: Any, reference: Any, target: Any) -> None:
        total = memory.load(sums).total()
        change = memory.builder.fsub(memory.load_scalar(film), memory.load_scalar(reference))
        memory.store_scalar(memory.builder.fmul(total, change), target)
        memory.store(memory.zero(), sums)

    return body(4, emit)


def _compile(arguments: int, function: Any) -> Kernel:
    compiled: Kernel = njit(types.void(*[types.int64] * arguments), nogil=True)(function)
    return compiled


@functools.cache
def kernels(half: bool) -> Kernels:
    """Compile the loops (about a second, once a process and mode).

    Parameters
    ----------
    half
        Whether multipliers and tiles are bfloat16.
    """
    size = 2 if half else 4
    lanes = LANES
    tile_in, tile_out = _emit_tile_in(half), _emit_tile_out(half)
    tile, stride = OUTPUT_TILE, 4

    def tiles_in(p, classes, tile_rows, tile_columns, rows, columns, channels, v, first, last, base, capacity):
        for t in range(first, last):
            k, q = t % classes, t // classes
            tx, q = q % tile_columns, q // tile_columns
            ty, r = q % tile_rows, q // tile_rows
            source = p + (((r * classes + k) * rows + ty * tile) * columns + tx * tile) * channels * size
            target = v + (t - base) * channels * size
            for c in range(0, channels * size, lanes * size):
                tile_in(source + c, columns * channels * size, channels * size, target + c, capacity * channels * size)

    def rule_of(half_in):
        relu, pool = _emit_relu(half, half_in), _emit_pool(half, half_in)
        step = (2 if half_in else 4) * lanes

        # pooled: 0 ReLU only, 1 a 2 x 2 pooling above the ReLU. (y, x): the pixel of the convolution's input.
        @njit(nogil=True, inline="always")
        def rule(g, n, r, y, x, pooled, height, width, channels, film, reference, out, rows, columns, border, gain):
            scale = 1 + pooled
            here = ((y * scale) * width + x * scale) * channels * stride
            there = r * height * width * channels * stride + here
            target = out + ((n * rows + y * scale + border) * columns + x * scale + border) * channels * size
            for b in range(channels // lanes):
                a, o, m = b * lanes * stride, b * lanes * size, b * step
                if pooled == 0:
                    relu(g + m, film + here + a, reference + there + a, gain, target + o)
                else:
                    pool(
                        g + m, film + here + a, reference + there + a, width * channels * stride, channels * stride,
                        gain, target + o, columns * channels * size, channels * size,
                    )  # fmt: skip

        return rule

    from_tiles, from_pixels = rule_of(False), rule_of(half)

    def tiles_out(
        m,
        classes,
        tile_rows,
        tile_columns,
        capacity,
        pooled,
        height,
        width,
        channels,
        film,
        reference,
        out,
        rows,
        columns,
        border,
        gain,
        scratch,
        first,
        last,
        base,
    ):
        in_rows, in_columns = height // (1 + pooled), width // (1 + pooled)
        for t in range(first, last):
            k, q = t % classes, t // classes
            tx, q = q % tile_columns, q // tile_columns
            ty, r = q % tile_rows, q // tile_rows
            source = m + (t - base) * channels * size
            for b in range(channels // lanes):
                tile_out(source + b * lanes * size, capacity * channels * size, scratch + b * lanes * 4, channels * 4)
            for i in range(min(tile, in_rows - ty * tile)):
                for j in range(min(tile, in_columns - tx * tile)):
                    g = scratch + (i * tile + j) * channels * 4
                    y, x = ty * tile + i, tx * tile + j
                    from_tiles(
                        g, r * classes + k, r, y, x, pooled, height, width, channels, film, reference, out, rows,
                        columns, border, gain,
                    )  # fmt: skip

    def pixels(
        g, classes, pooled, height, width, channels, film, reference, out, rows, columns, border, gain, first, last
    ):
        in_rows, in_columns = height // (1 + pooled), width // (1 + pooled)
        for item in range(first, last):  # rows of multipliers
            n, y = item // in_rows, item % in_rows
            for x in range(in_columns):
                source = g + (item * in_columns + x) * channels * size
                from_pixels(
                    source, n, n // classes, y, x, pooled, height, width, channels, film, reference, out, rows, columns,
                    border, gain,
                )  # fmt: skip

    product = _emit_product()

    def input_rule_of(count):
        pixel = _emit_input(half, count)

        def input_rule(
            p, classes, height, width, rows, columns, channels, weights, film, reference, out, sums, first, last
        ):
            for item in range(first, last):
                n, y = item // height, item % height
                r = n // classes
                for x in range(width):
                    source = p + ((n * rows + y) * columns + x) * channels * size
                    for b in range(channels // lanes):
                        pixel(
                            source + b * lanes * size, columns * channels * size, channels * size,
                            weights + b * lanes * 4, channels * 4, sums,
                        )  # fmt: skip
                    for c in range(count):
                        at = (y * width + x) * 3 + c
                        product(
                            sums + c * lanes * 4, film + at * 4, reference + (r * height * width * 3 + at) * 4,
                            out + ((n * height + y) * width + x) * count * 4 + c * 4,
                        )  # fmt: skip

        return input_rule

    return Kernels(
        _compile(12, tiles_in),
        _compile(20, tiles_out),
        _compile(15, pixels),
        {count: _compile(14, input_rule_of(count)) for count in (1, 3)},
    )
