"""The engine: DeepSHAP of one film per call, any number of calls at a time.

phi_c = mean over references r of (x - r) * m_c(x, r), where the multipliers m_c are those of DeepLIFT's rescale rule
(ops.py); sums to f_c(x) - mean f_c(r) up to rounding (additivity).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidi.bundle import Bundle
from vidi.errors import BundleError, Cancelled
from vidi.imaging.preprocess import Preprocessing
from vidi.models import load_network
from vidi_explainer.arithmetic import use_full_precision
from vidi_explainer.attribution import Attribution, assemble
from vidi_explainer.deepshap.backward import Backward, Sink
from vidi_explainer.deepshap.crew import Crew, Workspace
from vidi_explainer.deepshap.graph import Graph, require_shapes, trace
from vidi_explainer.deepshap.hardware import choose
from vidi_explainer.deepshap.plan import Arithmetic, Step, keeps_ties, make_plan
from vidi_explainer.deepshap.references import Run, forward, needed_values, open_references
from vidi_explainer.engine import EngineOptions, require_grid
from vidi_explainer.targets import Target

#: Part of every content key: raise it when results change by more than rounding.
VERSION = "1"
#: Fast maps that point further away from the exact ones than this are not good enough: the engine then is exact.
LEAST_COSINE = 0.9998


def open_exact(bundle: Bundle, options: EngineOptions) -> DeepShapEngine:
    """Open a bundle in float32 (see `vidi_explainer.engine.open_engine`)."""
    return _open(bundle, options, fast=False)


def open_fast(bundle: Bundle, options: EngineOptions) -> DeepShapEngine:
    """Open a bundle with bfloat16 products, where the processor has them (see `vidi_explainer.engine.open_engine`)."""
    return _open(bundle, options, fast=True)


def open_randomised(bundle: Bundle, options: EngineOptions, seed: int) -> DeepShapEngine:
    """Open a bundle with each of its weight tensors shuffled: what maps look like of a network that learned nothing.

    Shuffling keeps every layer's distribution of weights, and with it the scale of its outputs, roughly. Source:
    Adebayo et al., "Sanity Checks for Saliency Maps", 2018 (model parameter randomisation).
    """
    network = load_network(bundle, options.device)
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if parameter.dim() > 1:  # biases and normalisation would throw activations out of range
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.data = parameter.data.flatten()[order].view_as(parameter)
    return _engine(network, bundle, options, fast=False)


def _open(bundle: Bundle, options: EngineOptions, *, fast: bool) -> DeepShapEngine:
    return _engine(load_network(bundle, options.device), bundle, options, fast=fast)


def _engine(network: nn.Module, bundle: Bundle, options: EngineOptions, *, fast: bool) -> DeepShapEngine:
    return DeepShapEngine(
        network,
        bundle.background().astype(np.float32) / np.float32(255),
        bundle.preprocessing,
        bundle.class_names,
        label=bundle.name,
        fast=fast,
        options=options,
    )


class DeepShapEngine:
    """DeepSHAP, exact or fast; re-entrant.

    Calls share the references' activations and nothing that changes, so that concurrent calls return the same bits as
    calls in turn. On devices other than CPUs the same mathematics runs as plain torch operations; that was never run
    on a GPU.

    Parameters
    ----------
    network
        Returns logits (n, classes) of normalised films (n, 3, height, width); in evaluation mode. Read, not changed.
    references
        float32 (references, height, width) in 0..1, grey films on the model's grid.
    preprocessing
        The network's preprocessing.
    classes
        Class names in output order.
    label
        What errors call the network.
    fast
        Whether backward convolutions may use bfloat16 products. Networks differ in how much of it maps show; the
        engine compares one map in both arithmetics when it is made, and stays with float32 where they differ too much.
    options
        See there.

    Raises
    ------
    BundleError
        When the network holds an operation without a rule (named).
    """

    name = "deepshap"
    version = VERSION

    def __init__(
        self,
        network: nn.Module,
        references: npt.NDArray[np.float32],
        preprocessing: Preprocessing,
        classes: Sequence[str],
        *,
        label: str = "network",
        fast: bool = False,
        options: EngineOptions | None = None,
    ) -> None:
        options = options or EngineOptions()
        use_full_precision()
        parameter = next(network.parameters(), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device
        self._preprocessing = preprocessing
        self._classes = tuple(classes)
        self._graph: Graph = trace(network, label)
        self._format = torch.channels_last if keeps_ties(self._graph) else torch.contiguous_format
        self._forward: Run = functools.partial(forward, self._graph, keep=needed_values(self._graph))
        choice = choose(self._device, fast=fast)
        self.concurrency = options.concurrency
        red, green, blue = preprocessing.std
        crew = Crew(torch.get_num_threads())

        def plan(arithmetic: Arithmetic) -> tuple[Step, ...]:
            scale = (1.0 / red, 1.0 / green, 1.0 / blue)
            return make_plan(self._graph, self._shapes, arithmetic, crew, scale)

        with torch.no_grad():
            example = self._input(references[:1])
            values, logits = forward(self._graph, example, range(len(self._graph.nodes)))
            self._shapes = {node: value.shape for node, value in values.items()}
            del values
            require_shapes(self._graph, self._shapes, label)
            _require_same(logits, network(example), label)
            self._references = open_references(
                self._forward,
                functools.partial(_films, references, preprocessing, self._device, self._format),
                len(references),
                memory_bytes=options.memory_bytes // 2,
                directory=options.cache_dir,
            )
            self._steps = plan(choose(self._device, fast=False).arithmetic)
        # A pass holds two values of the largest step, and the chunks above it as much again.
        largest = max(step.bytes_per_multiplier for step in self._steps)
        self._outputs_at_a_time = max(1, options.memory_bytes // (8 * largest))
        self._base_logits = self._references.logits.numpy().mean(axis=0)
        self.references = self._references.count
        self._idle: list[Workspace] = []
        self._lock = threading.Lock()
        if choice.arithmetic.half:
            exact, self._steps = self._trial(references), ()  # never both plans' weights at once
            self._steps = plan(choice.arithmetic)
            cosine = _least_cosine(self._trial(references), exact)
            if cosine < LEAST_COSINE:
                reason = f"bfloat16 moves this network's maps too far (cosine {cosine:.4f}): float32"
                choice = replace(choose(self._device, fast=False), reason=reason)
                self._steps = plan(choice.arithmetic)
        self.precision = choice.precision
        self.arithmetic = choice.reason + self._references.remark

    def explain(
        self,
        grid: npt.NDArray[np.float32],
        target: Target,
        *,
        channels: bool = False,
        per_reference: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> Attribution:
        """Explain one film (see `vidi_explainer.engine.Engine.explain`)."""
        plan = target.plan(self._classes)
        require_grid(grid.shape, self._preprocessing)
        weights = torch.from_numpy(plan.weights).float().to(self._device)
        found = _Sums(len(plan.names), self.references, grid.shape, channels=channels, per_reference=per_reference)
        with torch.no_grad():
            if cancelled is not None and cancelled():
                raise Cancelled("the caller gave up before the film was explained")
            film, logits = self._forward(self._input(grid[None]))
            workspace = self._borrow()
            try:
                for start in range(0, len(weights), self._outputs_at_a_time):
                    group = weights[start : start + self._outputs_at_a_time]
                    backward = Backward(
                        self._graph,
                        self._steps,
                        self._shapes,
                        film,
                        group,
                        workspace=workspace,
                        channels=channels,
                        cancelled=cancelled,
                        sink=found.sink(start, start + len(group)),
                    )
                    for first in range(0, self.references, self._references.most):
                        chunk = self._references.chunk(first, min(first + self._references.most, self.references))
                        backward.run(chunk, first)
            finally:
                self._return(workspace)
        return assemble(
            plan,
            found.total / self.references,
            logits[0].double().cpu().numpy(),
            self._base_logits,
            channels=channels,
            per_reference=found.apart,
        )

    def _trial(self, references: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Explain a film that every model has: its first reference, mirrored."""
        found = self.explain(np.ascontiguousarray(references[0, :, ::-1]), Target())
        return np.stack([output.map for output in found.outputs])

    def logits(self, grids: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the logits of grids (see `vidi_explainer.engine.Engine.logits`)."""
        require_grid(grids.shape[1:], self._preprocessing)
        with torch.no_grad():
            found: npt.NDArray[np.float64] = forward(self._graph, self._input(grids), ())[1].double().cpu().numpy()
        return found

    def _input(self, grids: npt.NDArray[np.float32]) -> torch.Tensor:
        return _films(grids, self._preprocessing, self._device, self._format, 0, len(grids))

    def _borrow(self) -> Workspace:
        with self._lock:
            return self._idle.pop() if self._idle else Workspace()

    def _return(self, workspace: Workspace) -> None:
        workspace.give_all()
        with self._lock:
            self._idle.append(workspace)


def _films(
    grids: npt.NDArray[np.float32],
    preprocessing: Preprocessing,
    device: torch.device,
    layout: torch.memory_format,
    first: int,
    last: int,
) -> torch.Tensor:
    """Return grids first..last-1 as a network's input."""
    films = torch.from_numpy(preprocessing.to_input(grids[first:last])).to(device)
    return films.contiguous(memory_format=layout)


def _require_same(found: torch.Tensor, expected: torch.Tensor, label: str) -> None:
    """Raise BundleError unless the operations that were read give the network's own logits.

    Operations that change their input in place differ where the input is read again; nothing else would show it.
    """
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()) + 1e-6):
        raise BundleError(f"{label}: changes values in place and reads them again, which 'deepshap' cannot follow")


def _least_cosine(found: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> float:
    """Return the smallest cosine between maps (outputs, height, width); 0 where one is empty and shows nothing."""
    a, b = (maps.astype(np.float64).reshape(len(maps), -1) for maps in (found, right))
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.divide((a * b).sum(axis=1), sizes, out=np.zeros(len(a)), where=sizes > 0).min())


class _Sums:
    """Attributions summed over the references as they come, in float64.

    Parameters
    ----------
    outputs, references, shape
        How many, and the grid's height and width.
    channels
        Whether the input's channels are kept apart.
    per_reference
        Whether each reference's map is kept too.

    Attributes
    ----------
    total
        float64 (outputs, 3 if channels else 1, height, width).
    apart
        float32 (outputs, references, height, width), or None.
    """

    def __init__(
        self, outputs: int, references: int, shape: tuple[int, ...], *, channels: bool, per_reference: bool
    ) -> None:
        self._channels = channels
        self.total = np.zeros((outputs, 3 if channels else 1, *shape), np.float64)
        self.apart = np.empty((outputs, references, *shape), np.float32) if per_reference else None

    def sink(self, start: int, end: int) -> Sink:
        """Return what takes the attributions of outputs start..end-1."""

        def take(attributions: torch.Tensor, first: int, last: int) -> None:
            height, width, count = attributions.shape[1:]
            values = attributions.cpu().numpy().reshape(last - first, end - start, height, width, count)
            summed = values.sum(axis=0, dtype=np.float64)
            if self._channels:
                self.total[start:end] += np.moveaxis(summed, -1, 1)
            else:
                self.total[start:end, 0] += summed.sum(axis=-1)
            if self.apart is not None:
                self.apart[start:end, first:last] = values.sum(axis=-1).swapaxes(0, 1)

        return take
