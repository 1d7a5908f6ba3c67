"""From a network in memory to the arrays that a bundle stores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn


def compact_state(network: nn.Module) -> dict[str, npt.NDArray[np.generic]]:
    """Return a network's state dict for storage.

    Weights become float16, which halves the file and moves a logit by less than a thousandth; statistics of batch
    normalisations, few and of a wide range, stay float32.
    """
    compact: dict[str, npt.NDArray[np.generic]] = {}
    for key, value in network.state_dict().items():
        tensor = value.detach().cpu().contiguous()
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32 if "running_" in key else torch.float16)
        compact[key] = tensor.numpy()
    return compact
