"""Plain gradients of an explained output by the film, through the network that is explained."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidi.bundle import Bundle
from vidi.models import load_network
from vidi_explainer.quality.outputs import Film, Map


class Gradients:
    """Gradients of weighted sums of a bundle's logits.

    Parameters
    ----------
    bundle
        The model.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._network: nn.Module = load_network(bundle)
        self._preprocessing = bundle.preprocessing

    def of(self, grid: Film, weights: npt.NDArray[np.float64]) -> Map:
        """Return the gradient of an output by the grey values of a film.

        Parameters
        ----------
        grid
            The film, float32 (height, width) in 0..1.
        weights
            (classes,): the output as a weighted sum of logits, a row of `vidi_explainer.targets.Plan.weights`.

        Returns
        -------
        float32 (height, width), in units of the output per unit of grey: a grey value enters three channels, each
        divided by its own deviation, so that its gradient is the sum of theirs.
        """
        film = torch.from_numpy(self._preprocessing.to_input(grid[None])).requires_grad_()
        output = (self._network(film)[0] * torch.from_numpy(weights).float()).sum()
        (gradient,) = torch.autograd.grad(output, film)
        deviation = np.asarray(self._preprocessing.std, np.float64)[:, None, None]
        map_: Map = (gradient[0].double().numpy() / deviation).sum(axis=0).astype(np.float32)
        return map_
