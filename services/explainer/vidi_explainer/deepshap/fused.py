"""Fused steps (CPU): a convolution's transpose and the rules below it, in one pass over memory.

A 3 x 3 convolution whose input is a ReLU's output, or a 2 x 2 max pooling's over a ReLU's, carries multipliers from its
output to what the ReLU rectifies without writing anything in between: Winograd's tiles, 36 matrix products, tiles back,
and the rule on each tile while it is in the cache. Where the processor multiplies bfloat16 in matrix units (AMX), the
convolution itself is the faster way, and the rule follows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from vidi_explainer.deepshap.crew import Crew, Workspace
from vidi_explainer.deepshap.kernels import kernels
from vidi_explainer.deepshap.ops import Convolution
from vidi_explainer.deepshap.simd import LANES
from vidi_explainer.deepshap.winograd import INPUT_TILE, OUTPUT_TILE, tile_weights

_PLANES = INPUT_TILE * INPUT_TILE
#: Tiles times channels under way at a time: enough for matrix products at full speed, few enough for the processor's
#: outer cache (measured; flat within a factor of two).
_TILED = 1 << 18


@dataclass(frozen=True)
class Layout:
    """How multipliers of one value lie in memory: (n, rows, columns, channels), the value at (border, border).

    Attributes
    ----------
    height, width, channels
        Of the value.
    rows, columns
        With everything around it.
    border
        Rows above and columns to the left of it; what surrounds the value is zero.
    """

    height: int
    width: int
    channels: int
    rows: int
    columns: int
    border: int

    @classmethod
    def plain(cls, height: int, width: int, channels: int) -> Layout:
        """Nothing around it."""
        return cls(height, width, channels, height, width, 0)

    @classmethod
    def bordered(cls, height: int, width: int, channels: int) -> Layout:
        """One pixel of zeros around it."""
        return cls(height, width, channels, height + 2, width + 2, 1)

    @classmethod
    def tiled(cls, height: int, width: int, channels: int) -> Layout:
        """Whole tiles: one pixel of zeros before it, and after it up to a multiple of a tile's outputs."""
        rows, columns = (-(-size // OUTPUT_TILE) * OUTPUT_TILE + 2 for size in (height, width))
        return cls(height, width, channels, rows, columns, 1)

    @property
    def size(self) -> int:
        """Elements of one multiplier."""
        return self.rows * self.columns * self.channels


@dataclass(frozen=True)
class Multipliers:
    """Multipliers in a layout.

    Attributes
    ----------
    data
        (n, rows, columns, channels), contiguous.
    layout
        Its meaning.
    owned
        Whether `data` is a whole buffer of the workspace, and not a part of one.
    """

    data: torch.Tensor
    layout: Layout
    owned: bool = True

    def __len__(self) -> int:
        return len(self.data)

    def part(self, first: int, last: int) -> Multipliers:
        """Return a view of some of them."""
        return Multipliers(self.data[first:last], self.layout, owned=False)

    def plain(self) -> torch.Tensor:
        """Return a copy, float32 (n, channels, height, width)."""
        b, shape = self.layout.border, self.layout
        inner = self.data[:, b : b + shape.height, b : b + shape.width]
        return inner.permute(0, 3, 1, 2).to(torch.float32, copy=True)

    @classmethod
    def of(cls, tensor: torch.Tensor, layout: Layout, workspace: Workspace, dtype: torch.dtype) -> Multipliers:
        """Copy (n, channels, height, width) into a layout."""
        made = cls.empty(len(tensor), layout, workspace, dtype)
        b = layout.border
        made.data[:, b : b + layout.height, b : b + layout.width] = tensor.permute(0, 2, 3, 1)
        return made

    @classmethod
    def empty(cls, n: int, layout: Layout, workspace: Workspace, dtype: torch.dtype) -> Multipliers:
        """Return room for multipliers, zeros around it."""
        data = workspace.take(n * layout.size, dtype).view(n, layout.rows, layout.columns, layout.channels)
        b, bottom, right = layout.border, layout.border + layout.height, layout.border + layout.width
        for edge in (data[:, :b], data[:, bottom:], data[:, :, :b], data[:, :, right:]):
            if edge.numel():
                edge.zero_()
        return Multipliers(data, layout)


class FusedConvolution:
    """Carries multipliers from a convolution's output to what the ReLU below it rectifies.

    Parameters
    ----------
    convolution
        3 x 3, stride 1, padding 1; channels multiples of 16.
    pooled
        Whether a 2 x 2 max pooling lies between the ReLU and the convolution.
    height, width
        Of what is rectified.
    below
        Layout of the multipliers that it returns.
    half
        Whether multipliers and products are bfloat16.
    direct
        Whether to convolve instead of transforming tiles.
    crew
        Threads.
    """

    def __init__(
        self,
        convolution: Convolution,
        *,
        pooled: bool,
        height: int,
        width: int,
        below: Layout,
        half: bool,
        direct: bool,
        crew: Crew,
    ) -> None:
        self._pooled, self._height, self._width = pooled, height, width
        self._below, self._half, self._direct, self._crew = below, half, direct, crew
        self._kernels = kernels(half)
        self.dtype = torch.bfloat16 if half else torch.float32
        self._gain = torch.ones(1)
        back = convolution.transposed()
        rows, columns = height >> pooled, width >> pooled
        if direct:
            self._weights = back.to(self.dtype).contiguous(memory_format=torch.channels_last)
            self.above = Layout.plain(rows, columns, back.shape[1])
        else:
            self._weights, factor = tile_weights(back, self.dtype)
            self._gain.fill_(factor)
            self.above = Layout.tiled(rows, columns, back.shape[1])

    def run(
        self, multipliers: Multipliers, film: torch.Tensor, references: torch.Tensor, workspace: Workspace
    ) -> Multipliers:
        """Carry multipliers back.

        Parameters
        ----------
        multipliers
            (references x outputs) in the layout `above`.
        film
            float32 (1, channels, height, width), channels-last: what the ReLU rectifies.
        references
            float32 (references, channels, height, width), channels-last.
        workspace
            Of the call.

        Returns
        -------
        In the layout `below`.
        """
        out = Multipliers.empty(len(multipliers), self._below, workspace, self.dtype)
        rule = (
            int(self._pooled), self._height, self._width, self._below.channels,
            film.data_ptr(), references.data_ptr(), out.data.data_ptr(),
            self._below.rows, self._below.columns, self._below.border, self._gain.data_ptr(),
        )  # fmt: skip
        classes = len(multipliers) // len(references)
        if self._direct:
            back = functional.conv2d(multipliers.data.permute(0, 3, 1, 2), self._weights, padding=1)
            back = back.contiguous(memory_format=torch.channels_last)  # as it is already, as a rule
            address = back.data_ptr()
            rows = (0, len(multipliers) * self.above.height)
            self._crew.share([rows], lambda ranges, _: self._kernels.pixels(address, classes, *rule, *ranges[0]))
        else:
            self._run_tiles(multipliers, classes, rule, workspace)
        return out

    def _run_tiles(self, multipliers: Multipliers, classes: int, rule: tuple[int, ...], workspace: Workspace) -> None:
        above, channels = self.above, self._below.channels
        tile_rows, tile_columns = (above.rows - 2) // OUTPUT_TILE, (above.columns - 2) // OUTPUT_TILE
        total = len(multipliers) * tile_rows * tile_columns
        capacity = min(total, max(_TILED // (above.channels + channels), 1))
        inputs = workspace.take(_PLANES * capacity * above.channels, self.dtype)
        products = workspace.take(_PLANES * capacity * channels, self.dtype)
        scratch = workspace.take(self._crew.threads * OUTPUT_TILE * OUTPUT_TILE * channels, torch.float32)
        source, tiles, results = multipliers.data.data_ptr(), inputs.data_ptr(), products.data_ptr()
        scratch_at, scratch_size = scratch.data_ptr(), scratch.element_size() * len(scratch) // self._crew.threads
        batches = [(base, min(base + capacity, total)) for base in range(0, total, capacity)]

        def transform(batch: tuple[int, int], first: int, last: int) -> None:
            self._kernels.tiles_in(
                source, classes, tile_rows, tile_columns, above.rows, above.columns, above.channels,
                tiles, first, last, batch[0], batch[1] - batch[0],
            )  # fmt: skip

        def finish(batch: tuple[int, int], first: int, last: int, part: int) -> None:
            self._kernels.tiles_out(
                results, classes, tile_rows, tile_columns, batch[1] - batch[0], *rule,
                scratch_at + part * scratch_size, first, last, batch[0],
            )  # fmt: skip

        self._crew.share([batches[0]], lambda ranges, _: transform(batches[0], *ranges[0]))
        for batch, following in zip(batches, [*batches[1:], None], strict=True):
            count = batch[1] - batch[0]
            torch.bmm(
                inputs[: _PLANES * count * above.channels].view(_PLANES, count, above.channels),
                self._weights,
                out=products[: _PLANES * count * channels].view(_PLANES, count, channels),
            )

            # One hand-over to the threads for both: what these products become, and the next ones' tiles.
            def both(
                ranges: list[tuple[int, int]],
                part: int,
                batch: tuple[int, int] = batch,
                following: tuple[int, int] | None = following,
            ) -> None:
                finish(batch, *ranges[0], part)
                if following is not None:
                    transform(following, *ranges[1])

            self._crew.share([batch] if following is None else [batch, following], both)
        for buffer in (inputs, products, scratch):
            workspace.give(buffer)


class FusedInput:
    """The first convolution and the last product: from multipliers of its output to attributions of the input.

    Parameters
    ----------
    convolution
        3 x 3, stride 1, padding 1, 3 input channels; output channels a multiple of 16.
    height, width
        Of the input.
    scale
        Change of each channel with the grey film that all three show.
    half
        Whether the multipliers that it takes are bfloat16; its weights and arithmetic are float32.
    crew
        Threads.
    """

    def __init__(
        self,
        convolution: Convolution,
        *,
        height: int,
        width: int,
        scale: tuple[float, float, float],
        half: bool,
        crew: Crew,
    ) -> None:
        self._height, self._width, self._crew = height, width, crew
        self._kernels = kernels(half)
        self.dtype = torch.bfloat16 if half else torch.float32
        self.above = Layout.bordered(height, width, convolution.weight.shape[0])
        back = convolution.transposed()  # (3, channels, 3, 3)
        weights = back.permute(0, 2, 3, 1).float().contiguous()
        # Summed over channels: sum_c m_c dx_c = (sum_c m_c s_c / s_0) dx_0, one sum a pixel where channels take three.
        relative = torch.tensor(scale, dtype=torch.float64, device=weights.device) / scale[0]
        grey = (weights.double() * relative.view(3, 1, 1, 1)).sum(0, keepdim=True).float().contiguous()
        self._weights = {1: grey, 3: weights}

    def run(
        self,
        multipliers: Multipliers,
        film: torch.Tensor,
        references: torch.Tensor,
        workspace: Workspace,
        *,
        channels: bool,
    ) -> torch.Tensor:
        """Return attributions float32 (references x outputs, height, width, 3 if channels else 1).

        Parameters
        ----------
        multipliers
            In the layout `above`.
        film, references
            Normalised input, float32 (.., 3, height, width), channels-last.
        workspace
            Of the call; the result is the caller's to give back.
        channels
            Whether to keep the channels apart.
        """
        n, layout, count = len(multipliers), self.above, 3 if channels else 1
        out = workspace.take(n * self._height * self._width * count, torch.float32)
        sums = workspace.take(self._crew.threads * count * LANES, torch.float32)
        sums.zero_()
        addresses = [t.data_ptr() for t in (multipliers.data, self._weights[count], film, references, out, sums)]
        source, weights, film_at, references_at, out_at, sums_at = addresses
        classes = n // len(references)
        kernel = self._kernels.input_rules[count]
        self._crew.share(
            [(0, n * self._height)],
            lambda ranges, part: kernel(
                source, classes, self._height, self._width, layout.rows, layout.columns, layout.channels, weights,
                film_at, references_at, out_at, sums_at + part * count * LANES * sums.element_size(), *ranges[0],
            ),
        )  # fmt: skip
        workspace.give(sums)
        return out.view(n, self._height, self._width, count)
