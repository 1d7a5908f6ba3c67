"""The references' values at every point where a multiplier depends on them: computed once per model and background.

Values are what nonlinear operations read (activations before ReLUs, mostly), channels-last. On a CPU they lie in a
file that is mapped into memory and has no name any more: its pages belong to the system's file cache, which drops and
rereads them as it sees fit, so that a process's own memory does not grow with the number of references. Where no file
can be made, and on other devices when they do not fit, they are computed again for each chunk.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from vidi_explainer.deepshap.graph import Graph
from vidi_explainer.deepshap.ops import Relu, Rule

Values = dict[int, torch.Tensor]
#: References that go down a network's deep, small layers together.
CHUNK = 8
#: Returns the needed values and the logits of films.
Run = Callable[[torch.Tensor], tuple[Values, torch.Tensor]]
#: Returns films first..last-1.
Films = Callable[[int, int], torch.Tensor]


def needed_values(graph: Graph) -> frozenset[int]:
    """Return the nodes whose values multipliers depend on, the input included.

    A rectified value is never among them: it is recomputed from what was rectified, which is needed anyway.
    """
    needed = {0}
    for node in graph.nodes:
        if isinstance(node.operation, Rule):
            needed.add(before_relu(graph, node.inputs[0]))
    return frozenset(needed)


def before_relu(graph: Graph, index: int) -> int:
    """Return the node itself, or what it rectifies."""
    while isinstance(graph.nodes[index].operation, Relu):
        index = graph.nodes[index].inputs[0]
    return index


def value_at(graph: Graph, values: Values, index: int) -> torch.Tensor:
    """Return a node's value from the needed ones."""
    value = values[before_relu(graph, index)]
    return value.relu() if isinstance(graph.nodes[index].operation, Relu) else value


def forward(graph: Graph, films: torch.Tensor, keep: Collection[int]) -> tuple[Values, torch.Tensor]:
    """Run a network.

    Parameters
    ----------
    films
        (n, 3, height, width), normalised.
    keep
        Nodes whose values are returned.

    Returns
    -------
    The values by node, and the logits (n, classes).
    """
    left = list(graph.users)
    values: Values = {0: films}
    kept: Values = {0: films} if 0 in keep else {}
    last = len(graph.nodes) - 1
    for index, node in enumerate(graph.nodes[1:], start=1):
        if node.operation is None:
            continue
        values[index] = node.operation.forward(*(values[i] for i in node.inputs))
        if index in keep:
            kept[index] = values[index]
        for i in node.inputs:
            left[i] -= 1
            if left[i] == 0:
                del values[i]
    return kept, values[last]


class References(Protocol):
    """Where the references' values come from.

    Attributes
    ----------
    count
        Number of references.
    logits
        float64 (count, classes), on the CPU.
    most
        How many to take at a time at the most.
    remark
        For people, where something is not as it is meant; else empty.
    """

    count: int
    logits: torch.Tensor
    most: int
    remark: str

    def chunk(self, first: int, last: int) -> Values:
        """Return the values of references first..last-1, leading dimension last - first."""


class Held:
    """Values in memory, or in files mapped into memory.

    Parameters
    ----------
    values
        By node, (count, ...).
    logits
        float64 (count, classes).
    """

    def __init__(self, values: Values, logits: torch.Tensor) -> None:
        self._values = values
        self.logits = logits
        self.count = len(logits)
        self.most = CHUNK
        self.remark = ""

    def chunk(self, first: int, last: int) -> Values:
        """Return views."""
        return {node: value[first:last] for node, value in self._values.items()}


class Recomputed:
    """Values that are computed anew for each chunk: one more forward pass for a reference and pass backwards.

    Parameters
    ----------
    run
        Returns the kept values and logits of films.
    films
        Returns references first..last-1, (last - first, 3, height, width), normalised.
    count
        Number of references.
    most
        How many are held at a time.
    why
        For people.
    """

    def __init__(self, run: Run, films: Films, count: int, most: int, why: str) -> None:
        self.most = max(1, min(most, CHUNK))
        self.remark = f"; references are computed again for each film: {why}"
        self._run = run
        self._films = films
        self.count = count
        self.logits = torch.cat([run(films(i, i + 1))[1].double().cpu() for i in range(count)])

    def chunk(self, first: int, last: int) -> Values:
        """Run the network on these references, one at a time as the film goes: batches may round differently."""
        parts = [self._run(self._films(i, i + 1))[0] for i in range(first, last)]
        return {node: torch.cat([part[node] for part in parts]) for node in parts[0]}


def open_references(run: Run, films: Films, count: int, *, memory_bytes: int, directory: Path | None) -> References:
    """Compute the references' values and put them where they are cheap to read.

    Parameters
    ----------
    run
        Returns the kept values and logits of films.
    films
        Returns references first..last-1, (last - first, 3, height, width), normalised.
    count
        Number of references.
    memory_bytes
        What the values may take of a device's own memory. On a CPU they are mapped files; where they cannot be, this is
        what those of one chunk may take.
    directory
        Where the file is made; None: the system's directory for temporary files.
    """
    # One at a time: what is in memory at once does not depend on how many there are, and a film that is a reference
    # goes through the very same arithmetic.
    example, logits = run(films(0, 1))
    each = sum(value.numel() * value.element_size() for value in example.values())
    total, most = count * each, memory_bytes // each
    if logits.device.type != "cpu":
        if total > memory_bytes:
            return Recomputed(run, films, count, most, "they do not fit into memory")
        parts = [run(films(i, i + 1)) for i in range(count)]
        joined = {node: torch.cat([values[node] for values, _ in parts]) for node in example}
        return Held(joined, torch.cat([part.double().cpu() for _, part in parts]))
    try:
        values = _mapped(example, count, total, directory)
    except OSError as error:  # no room, or a file system that is read-only
        return Recomputed(run, films, count, most, error.strerror or "no file could be made")
    rows = []
    for i in range(count):
        found, part = run(films(i, i + 1))
        rows.append(part.double())
        for node, value in found.items():
            values[node][i : i + 1] = value
    return Held(values, torch.cat(rows))


def _mapped(example: Mapping[int, torch.Tensor], count: int, total: int, directory: Path | None) -> Values:
    """Return tensors (count, ...) like the example's, channels-last, in a nameless file.

    Raises
    ------
    OSError
        When the file cannot be made, or its space not be had: a page that cannot be written later ends the process.
    """
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    values: Values = {}
    with tempfile.TemporaryFile(dir=directory, prefix="vidi-references-") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, total)
        else:  # macOS
            file.truncate(total)
        offset = 0
        for node, value in example.items():
            channels_last = value.dim() == 4
            shape = (value.shape[2], value.shape[3], value.shape[1]) if channels_last else tuple(value.shape[1:])
            kind = np.dtype(str(value.dtype).removeprefix("torch."))
            array = np.memmap(file, dtype=kind, mode="r+", offset=offset, shape=(count, *shape))
            tensor = torch.from_numpy(array)
            values[node] = tensor.permute(0, 3, 1, 2) if channels_last else tensor
            offset += count * math.prod(shape) * kind.itemsize
    return values
