"""The order of work backwards through a network: which steps there are, and which run fused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from vidi_explainer.deepshap.crew import Crew
from vidi_explainer.deepshap.fused import FusedConvolution, FusedInput, Layout
from vidi_explainer.deepshap.graph import Graph
from vidi_explainer.deepshap.ops import Convolution, HalfConvolution, MaxPool, Operation, Relu
from vidi_explainer.deepshap.simd import LANES

#: Multipliers of this many bytes still profit from the processor's caches (measured; flat within a factor of two).
CACHED_BYTES = 48 << 20


@dataclass(frozen=True)
class Arithmetic:
    """How backward convolutions are computed.

    Attributes
    ----------
    fused
        Whether compiled loops may be used (CPUs).
    half
        Whether multipliers and products are bfloat16 (fast mode).
    direct
        Whether fused convolutions convolve instead of transforming tiles.
    """

    fused: bool
    half: bool = False
    direct: bool = False


@dataclass(frozen=True)
class Step:
    """One step backwards: takes the multipliers of `node`, gives those of `targets`.

    Attributes
    ----------
    node
        Position in the graph.
    targets
        Positions in the graph; the input has position 0.
    operation
        The node's, as it is computed backwards.
    fused
        What runs it in place of the operation; None: nothing does.
    bytes_per_multiplier
        Of the largest value that it takes or gives, in the format that it is kept in.
    cut
        Whether its multipliers are all that is pending when it starts: the references can be divided here.
    """

    node: int
    targets: tuple[int, ...]
    operation: Operation
    fused: FusedConvolution | FusedInput | None
    bytes_per_multiplier: int
    cut: bool


def make_plan(
    graph: Graph,
    shapes: Mapping[int, torch.Size],
    arithmetic: Arithmetic,
    crew: Crew,
    input_scale: tuple[float, float, float],
) -> tuple[Step, ...]:
    """Order a network's operations backwards and fuse what can be fused.

    Parameters
    ----------
    graph
        The network.
    shapes
        Of every node's value for one film.
    arithmetic
        See there.
    crew
        Threads of fused steps.
    input_scale
        Change of each input channel with the grey film that all three show.
    """
    chains = _chains(graph, shapes) if arithmetic.fused and keeps_ties(graph) else {}
    inside = {i for chain in chains.values() for i in chain[1:-1]}
    layouts: dict[int, Layout] = {}
    built: dict[int, FusedConvolution | FusedInput] = {}
    for node in sorted(chains):  # from the input up: a step must know the layout that the one below it takes
        built[node] = _fuse(graph, shapes, node, chains[node], arithmetic, crew, layouts, input_scale)
        layouts[node] = built[node].above
    steps: list[Step] = []
    pending = {len(graph.nodes) - 1}
    item = 2 if arithmetic.half else 4
    for node in range(len(graph.nodes) - 1, 0, -1):
        if node in inside:
            continue
        targets = (chains[node][-1],) if node in built else graph.nodes[node].inputs
        sizes = [shapes[i][1:].numel() for i in (node, *targets)]
        # What is fused has its own rounded weights: no second copy of them.
        operation = _backwards(graph.nodes[node].operation, half=arithmetic.half and node not in built)
        steps.append(Step(node, targets, operation, built.get(node), item * max(sizes), pending == {node}))
        pending = (pending - {node}) | set(targets)
    return tuple(steps)


def keeps_ties(graph: Graph) -> bool:
    """Whether channels-last convolutions of this network give equal pixels equal values.

    Over fewer channels than a vector holds they round differently from pixel to pixel (seen with oneDNN 3.12). A region
    of one grey, as collimators make it, then has no ties left for max pooling to break by order, and maps go wrong
    there by tens of per cent. Such small networks are computed channels-first, and nothing of them is fused.
    """
    convolutions = [node.operation for node in graph.nodes if isinstance(node.operation, Convolution)]
    return all(
        not out % LANES and (not channels % LANES or channels == 3)
        for out, channels in (operation.weight.shape[:2] for operation in convolutions)
    )


def _backwards(operation: Operation | None, *, half: bool) -> Operation:
    """Return an operation as it is computed backwards."""
    assert operation is not None
    if isinstance(operation, Convolution) and half:
        return HalfConvolution(
            operation.weight.to(torch.bfloat16),
            None,
            operation.stride,
            operation.padding,
            operation.dilation,
            operation.groups,
        )
    return operation


def _chains(graph: Graph, shapes: Mapping[int, torch.Size]) -> dict[int, tuple[int, ...]]:
    """Return, by convolution that can be fused, the nodes from it down to what is rectified (or to the input)."""
    users = graph.users
    chains: dict[int, tuple[int, ...]] = {}
    for index, node in enumerate(graph.nodes):
        operation = node.operation
        if not isinstance(operation, Convolution) or not operation.is_plain or operation.weight.shape[0] % LANES:
            continue
        source = node.inputs[0]
        if source == 0 and operation.weight.shape[1] == 3 and users[0] == 1:
            chains[index] = (index, 0)
            continue
        if operation.weight.shape[1] % LANES or users[source] != 1:
            continue
        chain = [index, source]
        if _halves(graph.nodes[source].operation):
            below = graph.nodes[source].inputs[0]
            if any(size % 2 for size in shapes[below][2:]) or users[below] != 1:
                continue
            chain.append(below)
        if isinstance(graph.nodes[chain[-1]].operation, Relu):
            chains[index] = (*chain, graph.nodes[chain[-1]].inputs[0])
    return chains


def _halves(operation: object) -> bool:
    return operation == MaxPool((2, 2), (2, 2), (0, 0), (1, 1))


def _fuse(
    graph: Graph,
    shapes: Mapping[int, torch.Size],
    node: int,
    chain: tuple[int, ...],
    arithmetic: Arithmetic,
    crew: Crew,
    layouts: Mapping[int, Layout],
    input_scale: tuple[float, float, float],
) -> FusedConvolution | FusedInput:
    operation = graph.nodes[node].operation
    assert isinstance(operation, Convolution)
    bottom = chain[-1]
    channels, height, width = shapes[bottom][1:]
    if bottom == 0:
        return FusedInput(operation, height=height, width=width, scale=input_scale, half=arithmetic.half, crew=crew)
    return FusedConvolution(
        operation,
        pooled=len(chain) == 4,
        height=height,
        width=width,
        below=layouts.get(bottom, Layout.plain(height, width, channels)),
        half=arithmetic.half,
        direct=arithmetic.direct,
        crew=crew,
    )
