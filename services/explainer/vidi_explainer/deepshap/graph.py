"""What a network computes, as a list of operations: traced by torch.fx, nothing of it changed.

State belongs to the uses of a module, not to the module: a ReLU that is used twice is two nodes here. In-place
operations become out-of-place ones, batch normalisation is folded into the convolution before it where nobody else
reads that, and dropout (evaluation mode) is gone.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from vidi.errors import BundleError
from vidi_explainer.deepshap.ops import (
    AdaptiveAveragePool,
    Affine,
    AveragePool,
    Concatenation,
    Convolution,
    Linear,
    MaxPool,
    Mean,
    Operation,
    Pair,
    Relu,
    Reshape,
    Sum,
)


@dataclass(frozen=True)
class Node:
    """A value of the network.

    Attributes
    ----------
    name
        As in the network, for errors.
    operation
        What makes it; None: the network's input.
    inputs
        Positions of its inputs in the graph, always smaller than its own.
    """

    name: str
    operation: Operation | None
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A network: nodes in the order of computation, the input first, the logits last.

    Attributes
    ----------
    nodes
        All nodes.
    users
        How often each node is read.
    """

    nodes: tuple[Node, ...]

    @property
    def users(self) -> tuple[int, ...]:
        """How often each node is read."""
        counts = Counter(i for node in self.nodes for i in node.inputs)
        return tuple(counts[i] for i in range(len(self.nodes)))


class _Unsupported(Exception):
    """An operation that multipliers cannot go back through."""


def trace(network: nn.Module, label: str = "network") -> Graph:
    """Read a network's operations; weights are shared with it.

    Parameters
    ----------
    network
        In evaluation mode; one input (n, 3, height, width), logits (n, classes).
    label
        What errors call it.

    Raises
    ------
    BundleError
        When it cannot be traced, or holds an operation without a rule; the error names it.
    """
    if any(module.training for module in network.modules()):
        raise BundleError(f"{label}: DeepSHAP explains networks in evaluation mode")
    try:
        traced = fx.symbolic_trace(network)
    except Exception as error:
        raise BundleError(f"{label}: its operations depend on its data and cannot be read: {error}") from error
    modules = dict(traced.named_modules())
    nodes: list[Node] = []
    place: dict[fx.Node, int] = {}
    for node in traced.graph.nodes:
        if node.op == "output":
            last = place.get(node.args[0]) if isinstance(node.args[0], fx.Node) else None
            if last != len(nodes) - 1:
                raise BundleError(f"{label}: its output is not the one tensor that it computes last")
            break
        if node.op == "placeholder":
            if nodes:
                raise BundleError(f"{label}: takes more than one input")
            place[node] = 0
            nodes.append(Node(node.name, None, ()))
            continue
        try:
            operation, inputs = _read(node, modules)
        except _Unsupported as error:
            where = f"{node.target} " if node.op == "call_module" else ""
            raise BundleError(f"{label}: {where}({error}): engine 'deepshap' has no rule for this operation") from None
        if operation is None:
            place[node] = place[inputs[0]]
        else:
            place[node] = len(nodes)
            nodes.append(Node(str(node.target), operation, tuple(place[i] for i in inputs)))
    return _fold(_reached(Graph(tuple(nodes))))


def _read(node: fx.Node, modules: Mapping[str, nn.Module]) -> tuple[Operation | None, list[fx.Node]]:
    """Return an fx node's operation (None: it changes nothing) and inputs."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        reader = _MODULES.get(type(module))
        if reader is None:
            raise _Unsupported(type(module).__name__)
        return reader(module), _tensors(node.args[:1])
    if node.op not in ("call_function", "call_method"):
        raise _Unsupported(f"{node.op} of {node.target}")
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    reader_of_call = _METHODS.get(name) if node.op == "call_method" else _FUNCTIONS.get(node.target)
    if reader_of_call is None:
        raise _Unsupported(str(name))
    try:
        return reader_of_call(*node.args, **node.kwargs)
    except TypeError:  # arguments that it does not know
        raise _Unsupported(f"{name} with {', '.join(map(str, node.kwargs)) or 'more arguments'}") from None


def _tensors(values: Any) -> list[fx.Node]:
    if not values or not all(isinstance(value, fx.Node) for value in values):
        raise _Unsupported("an input that is no tensor of the network")
    return list(values)


def _pair(value: Any) -> Pair:
    first, second = value if isinstance(value, (tuple, list)) else (value, value)
    return int(first), int(second)


def _convolution(module: Any) -> Operation:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise _Unsupported(f"Conv2d with padding {module.padding!r}, {module.padding_mode}")
    return Convolution(
        module.weight.detach(),
        None if module.bias is None else module.bias.detach(),
        _pair(module.stride),
        _pair(module.padding),
        _pair(module.dilation),
        module.groups,
    )


def _batch_norm(module: Any) -> Operation:
    if module.running_var is None:
        raise _Unsupported("batch normalisation without running statistics")
    # In float64: folded weights are then as good as float32 can hold them.
    scale = 1.0 / torch.sqrt(module.running_var.double() + module.eps)
    shift = -module.running_mean.double() * scale
    if module.weight is not None:
        scale, shift = scale * module.weight.detach().double(), shift * module.weight.detach().double()
        shift = shift + module.bias.detach().double()
    kind = module.running_var.dtype
    return Affine(scale.to(kind), shift.to(kind))


def _linear(module: Any) -> Operation:
    return Linear(module.weight.detach(), None if module.bias is None else module.bias.detach())


def _max_pool(
    kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Operation:  # fmt: skip
    if return_indices:
        raise _Unsupported("max pooling that returns its indices")
    size = _pair(kernel_size)
    return MaxPool(size, _pair(stride) if stride else size, _pair(padding), _pair(dilation), ceil_mode)


def _average_pool(
    kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Operation:  # fmt: skip
    if divisor_override is not None:
        raise _Unsupported("average pooling with a divisor of its own")
    size = _pair(kernel_size)
    return AveragePool(size, _pair(stride) if stride else size, _pair(padding), ceil_mode, count_include_pad)


def _adaptive(output_size: Any) -> Operation:
    height, width = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    return AdaptiveAveragePool((height, width))


def _flatten(start_dim: int = 0, end_dim: int = -1) -> Operation:
    if start_dim != 1 or end_dim != -1:
        raise _Unsupported(f"flattening of dimensions {start_dim} to {end_dim}")
    return Reshape()


def _dropout(module: Any) -> None:
    return None


_MODULES: Mapping[type[nn.Module], Callable[[Any], Operation | None]] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.ReLU: lambda module: Relu(),
    nn.MaxPool2d: lambda m: _max_pool(m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices),
    nn.AvgPool2d: lambda m: _average_pool(
        m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad, m.divisor_override
    ),
    nn.AdaptiveAvgPool2d: lambda m: _adaptive(m.output_size),
    nn.Flatten: lambda m: _flatten(m.start_dim, m.end_dim),
    nn.Dropout: _dropout,
    nn.Dropout2d: _dropout,
    nn.Identity: _dropout,
}


def _call_relu(input: Any, inplace: bool = False) -> tuple[Operation, list[fx.Node]]:
    return Relu(), _tensors([input])


def _call_max_pool(input: Any, *args: Any, **options: Any) -> tuple[Operation, list[fx.Node]]:
    return _max_pool(*args, **options), _tensors([input])


def _call_average_pool(input: Any, *args: Any, **options: Any) -> tuple[Operation, list[fx.Node]]:
    return _average_pool(*args, **options), _tensors([input])


def _call_adaptive(input: Any, output_size: Any) -> tuple[Operation, list[fx.Node]]:
    return _adaptive(output_size), _tensors([input])


def _call_flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> tuple[Operation, list[fx.Node]]:
    return _flatten(start_dim, end_dim), _tensors([input])


def _call_cat(tensors: Any, dim: int = 0) -> tuple[Operation, list[fx.Node]]:
    if dim != 1:
        raise _Unsupported(f"concatenation along dimension {dim}")
    return Concatenation(), _tensors(tensors)


def _call_add(input: Any, other: Any) -> tuple[Operation, list[fx.Node]]:
    return Sum(), _tensors([input, other])


def _call_mean(input: Any, dim: Any = None, keepdim: bool = False) -> tuple[Operation, list[fx.Node]]:
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if not all(isinstance(d, int) and d != 0 for d in dims):
        raise _Unsupported(f"mean over dimensions {dim}")
    return Mean(dims, keepdim), _tensors([input])


def _call_dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> tuple[None, list[fx.Node]]:
    if training:
        raise _Unsupported("dropout that is active")
    return None, _tensors([input])


_FUNCTIONS: Mapping[Any, Callable[..., tuple[Operation | None, list[fx.Node]]]] = {
    torch.relu: _call_relu,
    torch.relu_: _call_relu,
    functional.relu: _call_relu,
    functional.relu_: _call_relu,
    functional.max_pool2d: _call_max_pool,
    torch.max_pool2d: _call_max_pool,
    functional.avg_pool2d: _call_average_pool,
    functional.adaptive_avg_pool2d: _call_adaptive,
    torch.flatten: _call_flatten,
    torch.cat: _call_cat,
    torch.mean: _call_mean,
    operator.add: _call_add,
    operator.iadd: _call_add,
    torch.add: _call_add,
    functional.dropout: _call_dropout,
}
_METHODS: Mapping[str, Callable[..., tuple[Operation | None, list[fx.Node]]]] = {
    "relu": _call_relu,
    "relu_": _call_relu,
    "flatten": _call_flatten,
    "mean": _call_mean,
    "add": _call_add,
}


def require_shapes(graph: Graph, shapes: Mapping[int, torch.Size], label: str) -> None:
    """Raise BundleError where an operation's rule does not hold for the shapes that it meets.

    Parameters
    ----------
    shapes
        Of every node's value for one film.
    """
    for node in graph.nodes:
        inputs = [shapes[i] for i in node.inputs]
        if isinstance(node.operation, Sum) and inputs[0] != inputs[1]:
            what = f"adds values of unlike shapes, {tuple(inputs[0])} and {tuple(inputs[1])}"
        elif isinstance(node.operation, Mean) and any(dim % len(inputs[0]) == 0 for dim in node.operation.dims):
            what = "averages over films"
        else:
            continue
        raise BundleError(f"{label}: {node.name} {what}: engine 'deepshap' has no rule for this operation")


def _reached(graph: Graph) -> Graph:
    """Leave out what the output does not depend on."""
    used = {len(graph.nodes) - 1}
    for index in range(len(graph.nodes) - 1, 0, -1):
        if index in used:
            used.update(graph.nodes[index].inputs)
    kept = sorted(used | {0})
    place = {old: new for new, old in enumerate(kept)}
    return Graph(tuple(replace(graph.nodes[i], inputs=tuple(place[j] for j in graph.nodes[i].inputs)) for i in kept))


def _fold(graph: Graph) -> Graph:
    """Fold each affine into the convolution that it alone reads."""
    users = graph.users
    nodes: list[Node] = []
    place: list[int] = []
    for node in graph.nodes:
        source = graph.nodes[node.inputs[0]] if len(node.inputs) == 1 else None
        if (
            isinstance(node.operation, Affine)
            and source is not None
            and isinstance(source.operation, Convolution)
            and users[node.inputs[0]] == 1
        ):
            at = place[node.inputs[0]]
            nodes[at] = replace(nodes[at], operation=_folded(source.operation, node.operation))
            place.append(at)
            continue
        place.append(len(nodes))
        nodes.append(replace(node, inputs=tuple(place[i] for i in node.inputs)))
    return Graph(tuple(nodes))


def _folded(convolution: Convolution, affine: Affine) -> Convolution:
    kind = convolution.weight.dtype
    scale = affine.scale.double()
    bias = affine.shift.double()
    if convolution.bias is not None:
        bias = bias + convolution.bias.double() * scale
    weight = convolution.weight.double() * scale.view(-1, 1, 1, 1)
    return replace(convolution, weight=weight.to(kind), bias=bias.to(kind))
