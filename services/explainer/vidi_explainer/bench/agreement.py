"""How well maps agree with `shap.DeepExplainer` in float64, which is slow and therefore kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vidi.bundle import Bundle
from vidi.imaging.preprocess import Grid
from vidi_explainer.bench.contenders import Explained
from vidi_explainer.bench.progress import shown
from vidi_explainer.bench.rivals import Shap

Maps = npt.NDArray[np.float64]


class Truth:
    """Maps by shap in float64, kept in a folder by network, references, film and version.

    Parameters
    ----------
    bundle
        The network and its references.
    folder
        Where maps are kept.
    """

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self._bundle = bundle
        self._folder = folder

    def maps(self, films: Sequence[Grid]) -> list[Maps]:
        """Return the maps (classes, height, width) of films; the computation takes about a minute a film."""
        missing = [film for film in films if not self._file(film).is_file()]
        if missing:
            self._folder.mkdir(parents=True, exist_ok=True)
            shap = Shap(self._bundle, torch.float64)
            for film in shown(missing, "shap in float64"):
                _save(self._file(film), shap.read(film, shap.run(film)).maps)
        return [np.load(self._file(film), allow_pickle=False) for film in films]

    def _file(self, film: Grid) -> Path:
        # The bundle's digest covers weights, references and preprocessing.
        key = hashlib.sha256(f"{self._bundle.digest} {version('shap')} {film.shape} ".encode() + film.tobytes())
        return self._folder / f"{key.hexdigest()}.npy"


def relative_l2(maps: Maps, truth: Maps) -> float:
    """Return |maps - truth| / |truth|, over all classes together."""
    return float(np.linalg.norm(maps - truth) / np.linalg.norm(truth))


def cosine(maps: Maps, truth: Maps) -> float:
    """Return the cosine between all classes' maps together."""
    return float(np.vdot(maps, truth) / (np.linalg.norm(maps) * np.linalg.norm(truth)))


def compare(explained: Sequence[Explained], truth: Sequence[Maps]) -> dict[str, float]:
    """Return medians over films, and the worst film's figure beside each.

    Parameters
    ----------
    explained
        One a film.
    truth
        The same films' maps by shap in float64.
    """
    errors = [relative_l2(film.maps, true) for film, true in zip(explained, truth, strict=True)]
    cosines = [cosine(film.maps, true) for film, true in zip(explained, truth, strict=True)]
    residuals = [film.residual for film in explained]
    return {
        "relative_l2": float(np.median(errors)),
        "relative_l2_max": max(errors),
        "cosine": float(np.median(cosines)),
        "cosine_min": min(cosines),
        "additivity_residual": float(np.median(residuals)),
        "additivity_residual_max": max(residuals),
    }


def _save(file: Path, maps: Maps) -> None:
    """Write a file whole or not at all: an interrupted run leaves no half of one."""
    temporary = file.with_suffix(".part")
    with temporary.open("wb") as stream:
        np.save(stream, maps, allow_pickle=False)
    temporary.replace(file)
