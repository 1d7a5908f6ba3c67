"""One film against its references: multipliers from the explained outputs down to the input.

The references are taken in chunks, and a chunk is divided again where values grow (towards the input), so that what is
being worked on stays in the processor's caches and memory does not depend on how many references there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch

from vidi.errors import Cancelled
from vidi_explainer.deepshap.crew import Workspace
from vidi_explainer.deepshap.fused import FusedConvolution, FusedInput, Multipliers
from vidi_explainer.deepshap.graph import Graph
from vidi_explainer.deepshap.ops import Rule
from vidi_explainer.deepshap.plan import CACHED_BYTES, Step
from vidi_explainer.deepshap.references import Values, value_at

#: Takes attributions (references x outputs, height, width, channels) of references first..last-1.
Sink = Callable[[torch.Tensor, int, int], None]
Pending = torch.Tensor | Multipliers


class Backward:
    """Carries multipliers of one film back.

    Parameters
    ----------
    graph, steps, shapes
        The network, its plan, and the shape of every node's value for one film.
    film
        The film's needed values.
    outputs
        (outputs, classes): explained outputs as weighted sums of logits.
    workspace
        Of this call.
    channels
        Whether to keep the input's channels apart; else attributions may come as three channels or as their sum.
    cancelled
        Asked before every step.
    sink
        Gets the attributions.
    """

    def __init__(
        self,
        graph: Graph,
        steps: Sequence[Step],
        shapes: Mapping[int, torch.Size],
        film: Values,
        outputs: torch.Tensor,
        *,
        workspace: Workspace,
        channels: bool,
        cancelled: Callable[[], bool] | None,
        sink: Sink,
    ) -> None:
        self._graph, self._steps, self._shapes = graph, steps, shapes
        self._film, self._outputs, self._workspace = film, outputs, workspace
        self._channels, self._cancelled, self._sink = channels, cancelled, sink

    def run(self, references: Values, first: int) -> None:
        """Explain against a chunk of references, which are numbered from `first` on."""
        count = len(references[0])
        multipliers = self._outputs.repeat(count, 1)
        self._from(0, {len(self._graph.nodes) - 1: multipliers}, references, first)

    def _from(self, position: int, pending: dict[int, Pending], references: Values, first: int) -> None:
        count = len(references[0])
        for index in range(position, len(self._steps)):
            step = self._steps[index]
            if step.cut and count > 1:
                most = max(1, CACHED_BYTES // (step.bytes_per_multiplier * len(self._outputs)))
                if most < count:
                    self._divide(index, pending.pop(step.node), references, first, most)
                    return
            if self._cancelled is not None and self._cancelled():
                raise Cancelled("the caller gave up while the film was being explained")
            self._take(step, pending, references, first)
        if 0 in pending:
            change = (self._film[0] - references[0]).repeat_interleave(len(self._outputs), 0)
            attributions = _plain(pending[0]) * change
            self._sink(attributions.permute(0, 2, 3, 1), first, first + count)

    def _divide(self, index: int, multipliers: Pending, references: Values, first: int, most: int) -> None:
        outputs = len(self._outputs)
        node = self._steps[index].node
        count = len(references[0])
        parts = -(-count // most)
        edges = [count * i // parts for i in range(parts + 1)]
        for start, end in pairwise(edges):
            rows = (start * outputs, end * outputs)
            part = multipliers.part(*rows) if isinstance(multipliers, Multipliers) else multipliers[slice(*rows)]
            chunk = {key: value[start:end] for key, value in references.items()}
            self._from(index, {node: part}, chunk, first + start)
        self._release(multipliers)

    def _take(self, step: Step, pending: dict[int, Pending], references: Values, first: int) -> None:
        multipliers = pending.pop(step.node)
        fused = step.fused
        if isinstance(fused, FusedInput):
            laid = self._laid(multipliers, fused)
            film, chunk = _pixels(self._film[0]), _pixels(references[0])
            out = fused.run(laid, film, chunk, self._workspace, channels=self._channels)
            self._sink(out, first, first + len(references[0]))
            self._workspace.give(out)
            self._release(laid, multipliers)
        elif isinstance(fused, FusedConvolution):
            laid = self._laid(multipliers, fused)
            target = step.targets[0]
            film, chunk = (_pixels(value_at(self._graph, values, target)) for values in (self._film, references))
            self._add(pending, target, fused.run(laid, film, chunk, self._workspace))
            self._release(laid, multipliers)
        else:
            operation = step.operation
            plain = _plain(multipliers)
            if isinstance(operation, Rule):
                (source,) = step.targets
                film = value_at(self._graph, self._film, source)
                self._add(pending, source, operation.attribute(plain, film, value_at(self._graph, references, source)))
            else:
                shapes = [self._shapes[i] for i in step.targets]
                for target, part in zip(step.targets, operation.backward(plain, shapes), strict=True):
                    self._add(pending, target, part)
            self._release(multipliers)

    def _laid(self, multipliers: Pending, fused: FusedConvolution | FusedInput) -> Multipliers:
        if isinstance(multipliers, Multipliers) and multipliers.layout == fused.above:
            return multipliers
        return Multipliers.of(_plain(multipliers), fused.above, self._workspace, fused.dtype)

    def _add(self, pending: dict[int, Pending], node: int, multipliers: Pending) -> None:
        if node not in pending:
            pending[node] = multipliers
            return
        before = pending[node]
        pending[node] = _plain(before) + _plain(multipliers)
        self._release(before, multipliers)

    def _release(self, *multipliers: Pending) -> None:
        for owned in {id(m): m for m in multipliers if isinstance(m, Multipliers) and m.owned}.values():
            self._workspace.give(owned.data)


def _plain(multipliers: Pending) -> torch.Tensor:
    return multipliers.plain() if isinstance(multipliers, Multipliers) else multipliers


def _pixels(values: torch.Tensor) -> torch.Tensor:
    """Return values as compiled loops read them, which is how they are as a rule."""
    return values.contiguous(memory_format=torch.channels_last)
