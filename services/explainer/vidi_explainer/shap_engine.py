"""The reference engine: `shap.DeepExplainer` (DeepSHAP), float32, as it is.

Sources: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", 2017; Shrikumar et al., "Learning
Important Features Through Propagating Activation Differences", 2017 (rescale rule).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import shap
import torch
from shap.explainers._deep.deep_pytorch import op_handler
from torch import nn

from vidi.bundle import Bundle
from vidi.errors import BundleError, PreconditionFailed
from vidi.imaging.preprocess import Preprocessing
from vidi.models import load_network
from vidi_explainer.arithmetic import use_full_precision
from vidi_explainer.attribution import Attribution, assemble
from vidi_explainer.engine import EngineOptions, require_grid
from vidi_explainer.targets import Target


def open_engine(bundle: Bundle, options: EngineOptions) -> ShapEngine:
    """Load a bundle's network and references into an engine (see `vidi_explainer.engine.open_engine`)."""
    return ShapEngine(
        load_network(bundle, options.device),
        bundle.background().astype(np.float32) / np.float32(255),
        bundle.preprocessing,
        bundle.class_names,
        label=bundle.name,
    )


class ShapEngine:
    """DeepSHAP by the shap package.

    shap keeps its state on the network's modules and is not re-entrant: calls are serialised. It was only ever run on
    CPUs here; the device is the network's.

    Parameters
    ----------
    network
        Returns logits (n, classes) of normalised films (n, 3, height, width). Its non-linear modules are used once each
        and work out of place. The engine owns it from now on.
    references
        float32 (references, height, width) in 0..1, grey films on the model's grid.
    preprocessing
        The network's preprocessing.
    classes
        Class names in output order.
    label
        What errors call the network.

    Raises
    ------
    BundleError
        When the network holds an operation that shap's rules do not cover: it would give maps that do not add up.
    """

    name = "shap"
    version = str(shap.__version__)
    precision = "float32"
    arithmetic = "float32, by shap itself"
    concurrency = 1

    def __init__(
        self,
        network: nn.Module,
        references: npt.NDArray[np.float32],
        preprocessing: Preprocessing,
        classes: Sequence[str],
        *,
        label: str = "network",
    ) -> None:
        self._network = network.eval()
        self._preprocessing = preprocessing
        self._classes = tuple(classes)
        self._lock = threading.Lock()
        parameter = next(network.parameters(), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device
        background = torch.from_numpy(preprocessing.to_input(references)).to(self._device)
        use_full_precision()
        _check_supported(self._network, background[:1], label)
        self._base_logits = self._logits(background).mean(axis=0)
        self._explainer = shap.DeepExplainer(self._network, background)
        self.references = len(references)

    def explain(
        self,
        grid: npt.NDArray[np.float32],
        target: Target,
        *,
        channels: bool = False,
        per_reference: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> Attribution:
        """Explain one film (see `vidi_explainer.engine.Engine.explain`); it cannot stop half-way."""
        plan = target.plan(self._classes)
        if per_reference:
            raise PreconditionFailed("engine 'shap' returns the mean over the references only")
        require_grid(grid.shape, self._preprocessing)
        film = torch.from_numpy(self._preprocessing.to_input(grid)[None]).to(self._device)
        with self._lock:
            # shap's own check only raises; the residual is reported instead.
            values = self._explainer.shap_values(film, check_additivity=False)
            logits = self._logits(film)[0]
        return assemble(plan, plan.combine(np.moveaxis(values[0], -1, 0)), logits, self._base_logits, channels=channels)

    def logits(self, grids: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the logits of grids (see `vidi_explainer.engine.Engine.logits`)."""
        require_grid(grids.shape[1:], self._preprocessing)
        with self._lock:
            return self._logits(torch.from_numpy(self._preprocessing.to_input(grids)).to(self._device))

    def _logits(self, films: torch.Tensor) -> npt.NDArray[np.float64]:
        with torch.no_grad():
            logits: npt.NDArray[np.float64] = self._network(films).double().cpu().numpy()
        return logits


def _check_supported(network: nn.Module, example: torch.Tensor, label: str) -> None:
    """Refuse what shap passes over in silence: it takes plain gradients, or overwrites what modules share."""
    calls: Counter[str] = Counter()
    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    hooks = [
        module.register_forward_hook(lambda *_, name=name: calls.update([name])) for name, module in leaves.items()
    ]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    for name, module in leaves.items():
        kind = type(module).__name__
        where = f"{label}: {name or 'the network'} ({kind})"
        if kind not in op_handler:
            raise BundleError(f"{where}: engine 'shap' has no rule for this operation")
        if getattr(module, "inplace", False) and not kind.startswith("Dropout"):
            raise BundleError(f"{where}: engine 'shap' needs operations that work out of place")
        if op_handler[kind].__name__ in ("nonlinear_1d", "maxpool") and calls[name] > 1:
            raise BundleError(f"{where}: engine 'shap' needs modules that are used once, this one {calls[name]} times")
        if op_handler[kind].__name__ == "maxpool" and _overlaps(module):
            raise BundleError(f"{where}: engine 'shap' is wrong where pooling windows overlap")


def _overlaps(pool: nn.Module) -> bool:
    size, stride = (np.atleast_1d(getattr(pool, field)) for field in ("kernel_size", "stride"))
    return bool((size > stride).any())
