"""DeepSHAP from its definitions, slow and in float64: what engines are measured against.

It shares no code with any engine. A film x and references r go forwards, every value is kept, and multipliers m come
back from one logit (m = 1) to the input:

    linear operations   m_in = transposed Jacobian of the operation, times m_out
    ReLU                m_in = m_out (relu(x) - relu(r)) / (x - r), and the gradient at r where |x - r| < 1e-6
    max pooling         m_in (x - r) = m_out (max(y, y_r) - y_r) at the position of the film's maximum y of the window
                        + m_out (y - max(y, y_r)) at that of the reference's y_r; m_in = 0 where |x - r| < 1e-7
    values used twice   their multipliers add up

The attribution of a logit is m (x - r) at the input, and its mean over references; it sums to the logit's change.

shap.DeepExplainer has the same rules (the gradient at r, because it returns the half of its batch that holds the
references), except that where pooling windows overlap its max_unpool2d keeps one contribution and loses the others.

Sources: Shrikumar, Greenside and Kundaje, "Learning Important Features Through Propagating Activation Differences",
2017 (rescale rule); Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", 2017; shap 0.51,
explainers/_deep/deep_pytorch.py (pooling and thresholds).
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn
from torch.nn import functional

Floats = npt.NDArray[np.float64]
Values = Mapping[fx.Node, torch.Tensor]

LINEAR_MODULES = {
    nn.AdaptiveAvgPool2d,
    nn.AvgPool2d,
    nn.BatchNorm2d,
    nn.Conv2d,
    nn.Dropout,
    nn.Flatten,
    nn.Identity,
    nn.Linear,
}
LINEAR_FUNCTIONS = {
    functional.adaptive_avg_pool2d,
    functional.avg_pool2d,
    operator.add,
    torch.cat,
    torch.flatten,
}
RELUS = {torch.relu, functional.relu}
#: What works in place, and what gives the same value out of place.
OUT_OF_PLACE: Mapping[Any, Callable[..., Any]] = {operator.iadd: operator.add, torch.relu_: torch.relu}


@dataclass(frozen=True)
class Answer:
    """DeepSHAP of one film.

    Attributes
    ----------
    attributions
        float64 (classes, 3, height, width), of each logit to each normalised input value.
    per_reference
        float64 (classes, references, 3, height, width); `attributions` are its mean over references.
    logits
        float64 (classes,), of the film.
    base_logits
        float64 (classes,), means over the references.
    """

    attributions: Floats
    per_reference: Floats
    logits: Floats
    base_logits: Floats

    @property
    def residuals(self) -> Floats:
        """|sum of attributions - change of the logit| / |change of the logit|, (classes,)."""
        change = self.logits - self.base_logits
        relative: Floats = np.abs(self.attributions.sum(axis=(1, 2, 3)) - change) / np.abs(change)
        return relative


def explain(network: nn.Module, film: npt.NDArray[np.floating], references: npt.NDArray[np.floating]) -> Answer:
    """Explain every logit of one film.

    Parameters
    ----------
    network
        Traceable by torch.fx, in evaluation mode; it is copied.
    film
        (3, height, width), normalised.
    references
        (references, 3, height, width), normalised.

    Raises
    ------
    NotImplementedError
        Naming an operation that has no rule here.
    """
    program = _Program(network)
    x = torch.from_numpy(film.astype(np.float64))[None]
    r = torch.from_numpy(references.astype(np.float64))
    of_film, of_references = program.run(x), program.run(r)
    logits, base = of_film[program.output], of_references[program.output]
    per_reference = torch.stack(
        [program.multipliers(of_film, of_references, index) * (x - r) for index in range(logits.shape[1])]
    )
    return Answer(per_reference.mean(1).numpy(), per_reference.numpy(), logits[0].numpy(), base.mean(0).numpy())


class _Program:
    """A network's operations in float64, none of them in place."""

    def __init__(self, network: nn.Module) -> None:
        if network.training:
            raise ValueError("networks are explained in evaluation mode")
        traced = fx.symbolic_trace(copy.deepcopy(network).double())
        self.modules = dict(traced.named_modules())
        for module in self.modules.values():
            if hasattr(module, "inplace"):
                module.inplace = False
        *self.nodes, last = traced.graph.nodes
        self.output: fx.Node = last.args[0]

    def run(self, films: torch.Tensor) -> dict[fx.Node, torch.Tensor]:
        """Return every node's value for films (n, 3, height, width)."""
        values: dict[fx.Node, torch.Tensor] = {}
        with torch.no_grad():
            for node in self.nodes:
                values[node] = films if node.op == "placeholder" else self._compute(node, values)
        return values

    def multipliers(self, film: Values, references: Values, index: int) -> torch.Tensor:
        """Return the input's multipliers for one logit, (references, 3, height, width)."""
        seed = torch.zeros_like(references[self.output])
        seed[:, index] = 1.0
        found = {self.output: seed}
        for node in reversed(self.nodes):
            if node not in found or node.op == "placeholder":
                continue
            for source, m in self._backwards(node, found[node], film, references).items():
                found[source] = found[source] + m if source in found else m
        (start,) = (node for node in self.nodes if node.op == "placeholder")
        return found[start]

    def _compute(self, node: fx.Node, values: Values) -> torch.Tensor:
        def value_of(source: fx.Node) -> Any:
            return values[source]

        args = fx.node.map_arg(node.args, value_of)
        if node.op == "call_module":
            result: torch.Tensor = self.modules[str(node.target)](*args)
        elif node.op == "call_function":
            options = {key: value for key, value in node.kwargs.items() if key != "inplace"}
            result = _function(node)(*args, **fx.node.map_arg(options, value_of))
        else:
            raise NotImplementedError(f"{node.op} of {node.target}")
        return result

    def _backwards(
        self, node: fx.Node, m: torch.Tensor, film: Values, references: Values
    ) -> dict[fx.Node, torch.Tensor]:
        """Return the multipliers that an operation hands to each of its inputs."""
        kind: Any = type(self.modules[str(node.target)]) if node.op == "call_module" else _function(node)
        if kind in LINEAR_MODULES or kind in LINEAR_FUNCTIONS:
            # The Jacobian is the same everywhere: that at the references serves.
            inputs = {source: references[source].detach().requires_grad_() for source in node.all_input_nodes}
            with torch.enable_grad():
                output = self._compute(node, inputs)
            return dict(zip(inputs, torch.autograd.grad(output, list(inputs.values()), m), strict=True))
        (source,) = node.all_input_nodes
        x, r = film[source].expand_as(references[source]), references[source]
        if kind is nn.ReLU or kind in RELUS:
            return {source: rectified(x, r, m)}
        if kind is nn.MaxPool2d:
            pool = self.modules[str(node.target)]
            fields = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
            return {source: pooled(x, r, m, **{field: getattr(pool, field) for field in fields})}
        if kind is functional.max_pool2d:
            names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
            return {source: pooled(x, r, m, **dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs))}
        raise NotImplementedError(f"{node.target} ({getattr(kind, '__name__', kind)})")


def _function(node: fx.Node) -> Callable[..., Any]:
    target: Any = node.target
    return OUT_OF_PLACE.get(target, target)


def rectified(x: torch.Tensor, r: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """Return a ReLU's multipliers at its input, from inputs x and r and multipliers at its output, all of one shape."""
    change = x - r
    slope = (x.clamp_min(0) - r.clamp_min(0)) / change
    return m * torch.where(change.abs() < 1e-6, (r > 0).to(x.dtype), slope)


def pooled(x: torch.Tensor, r: torch.Tensor, m: torch.Tensor, **window: Any) -> torch.Tensor:
    """Return max pooling's multipliers at its input.

    Parameters
    ----------
    x, r
        Inputs (n, channels, height, width) of film and reference.
    m
        Multipliers at the output.
    window
        As `torch.nn.functional.max_pool2d` takes it.
    """
    y, place = functional.max_pool2d(x, **(window | {"return_indices": True}))
    y_r, place_r = functional.max_pool2d(r, **(window | {"return_indices": True}))
    larger = torch.maximum(y, y_r)
    contribution = torch.zeros_like(x).flatten(2)
    contribution.scatter_add_(2, place.flatten(2), (m * (larger - y_r)).flatten(2))
    contribution.scatter_add_(2, place_r.flatten(2), (m * (y - larger)).flatten(2))
    change = x - r
    return torch.where(change.abs() < 1e-7, 0.0, contribution.view_as(x) / change)
