"""The computation of the classifier: verified bundles in memory, films in, probabilities out. Knows no RPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax

from vidi import bundle as bundles
from vidi import logs
from vidi.api.common.v1 import common_pb2
from vidi.bundle import Bundle
from vidi.models import load_network


@dataclass(frozen=True)
class Scores:
    """What a model says of a film.

    Attributes
    ----------
    bundle
        The model.
    logits
        float32 (classes,), before the softmax and any temperature.
    probabilities
        float64 (classes,): softmax(logits / temperature).
    """

    bundle: Bundle
    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]

    @property
    def top(self) -> int:
        """Index of the most probable class."""
        return int(self.probabilities.argmax())


class Engine:
    """Loaded networks by name.

    Films are computed one at a time, whatever else is asked for at the same moment: a film's answer never depends on
    the films beside it. Safe to call from several threads.

    Parameters
    ----------
    models
        Verified bundles by name.
    default
        Name of the model of requests that name none.
    device
        "cpu", "cuda", "cuda:N" or "auto" (cuda where there is one).
    """

    def __init__(self, models: Mapping[str, Bundle], default: str, device: str = "auto") -> None:
        self.models = dict(models)
        self.default = default
        self.device = torch.device(_device(device))
        self._networks = {name: load_network(bundle, self.device) for name, bundle in self.models.items()}
        log = logs.get("vidi.classifier")
        for name, bundle in self.models.items():
            log.info("model loaded", model=name, version=bundle.version, digest=bundle.digest, device=str(self.device))
        if default not in self.models:
            log.warning("the default model is not among the loaded ones", default=default, loaded=sorted(self.models))

    @classmethod
    def open(cls, model_dir: Path, default: str, device: str = "auto") -> Engine:
        """Load every bundle of a directory.

        Raises
        ------
        BundleError
            When one of them is damaged: see `vidi.bundle.discover` for why the others do not start alone.
        """
        return cls(bundles.discover(model_dir), default, device)

    def resolve(self, ref: common_pb2.ModelRef) -> Bundle:
        """Return the loaded bundle that a reference means (NotFound, PreconditionFailed)."""
        return bundles.resolve(self.models, ref, self.default)

    def describe(self, bundle: Bundle) -> common_pb2.Model:
        """Describe a loaded bundle for the API."""
        return bundles.to_proto(bundle, self.default)

    def classify(self, bundle: Bundle, film: npt.NDArray[np.floating]) -> Scores:
        """Classify one film.

        Parameters
        ----------
        bundle
            One of `models`.
        film
            Grey film (height, width) in 0..1, of any size of at least 16 pixels a side.

        Raises
        ------
        InvalidInput
            When the film has another number of axes or is too small.
        """
        grid, _ = bundle.preprocessing.to_grid(film)
        x = torch.from_numpy(bundle.preprocessing.to_input(grid)[None]).to(self.device)
        with torch.inference_mode():
            logits = self._networks[bundle.name](x)[0].float().cpu().numpy()
        return Scores(bundle, logits, softmax(logits.astype(np.float64) / bundle.manifest.temperature))


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
