"""The rivals, called as their documentation says: `shap.DeepExplainer` and `captum.attr.DeepLiftShap`."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import shap
import torch
from captum.attr import DeepLiftShap

from vidi.bundle import Bundle
from vidi.imaging.preprocess import Grid
from vidi.models import load_network
from vidi_explainer.attribution import SMALLEST_CHANGE
from vidi_explainer.bench.contenders import Explained


class Rival(ABC):
    """What the rivals share: a network of their own, its references, and the check whether their maps add up.

    Parameters
    ----------
    bundle
        The network and its references.
    dtype
        Of all arithmetic; inputs are the same float32 numbers either way.
    """

    def __init__(self, bundle: Bundle, dtype: torch.dtype = torch.float32) -> None:
        self.precision = str(dtype).removeprefix("torch.")
        self._dtype = dtype
        self._preprocessing = bundle.preprocessing
        self._network = load_network(bundle).to(dtype)
        self._background = self._input(bundle.background().astype(np.float32) / np.float32(255))
        self._classes = len(bundle.class_names)
        self._base = self._logits(self._background).mean(0)

    @abstractmethod
    def run(self, grid: Grid) -> npt.NDArray[np.floating]:
        """Explain a film (see `Contender`); returns attributions (classes, 3, height, width)."""

    def read(self, grid: Grid, result: npt.NDArray[np.floating]) -> Explained:
        """Return the maps (see `Contender`)."""
        maps = result.sum(1, dtype=np.float64)
        change = self._logits(self._input(grid[None]))[0] - self._base
        residuals = np.abs(maps.sum((1, 2)) - change) / np.maximum(np.abs(change), SMALLEST_CHANGE)
        return Explained(maps, float(residuals.max()))

    def _input(self, grids: npt.NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(self._preprocessing.to_input(grids)).to(self._dtype)

    def _logits(self, films: torch.Tensor) -> npt.NDArray[np.float64]:
        with torch.no_grad():
            logits: npt.NDArray[np.float64] = self._network(films).double().numpy()
        return logits


class Shap(Rival):
    """DeepSHAP by shap. In float64 it is what all float32 results are compared with."""

    def __init__(self, bundle: Bundle, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(bundle, dtype)
        self._explainer = shap.DeepExplainer(self._network, self._background)

    def run(self, grid: Grid) -> npt.NDArray[np.floating]:
        """Explain a film; without shap's own check of additivity, which would cost it time."""
        values = self._explainer.shap_values(self._input(grid[None]), check_additivity=False)
        return np.moveaxis(values[0], -1, 0)


class Captum(Rival):
    """DeepSHAP by captum."""

    def __init__(self, bundle: Bundle, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(bundle, dtype)
        self._explainer = DeepLiftShap(self._network)

    def run(self, grid: Grid) -> npt.NDArray[np.floating]:
        """Explain a film, class by class: captum takes one target at a time."""
        film = self._input(grid[None])
        with warnings.catch_warnings():
            # It says at every call that it sets hooks.
            warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
            found = [self._explainer.attribute(film, self._background, target=k) for k in range(self._classes)]
        return np.stack([attributions[0].detach().numpy() for attributions in found])
