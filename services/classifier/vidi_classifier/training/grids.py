"""Films as a stack of model grids in memory, made by the same preprocessing that serving uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from torch.utils.data import Dataset

from vidi.imaging.encoded import decode_encoded
from vidi.imaging.preprocess import Preprocessing

Grids = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledGrids:
    """Films ready for the network.

    Attributes
    ----------
    grids
        uint8 (n, height, width), grey.
    labels
        int64 (n,), class indices.
    groups
        Patient of each film.
    variants
        Other renderings of some films (by index), drawn with equal chance in training, so that the way a film was
        resampled says nothing about its class.
    """

    grids: Grids
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    variants: dict[int, Grids]

    def take(self, indices: Sequence[int]) -> LabelledGrids:
        """Return the films at `indices`."""
        chosen = list(indices)
        variants = {new: self.variants[old] for new, old in enumerate(chosen) if old in self.variants}
        return LabelledGrids(self.grids[chosen], self.labels[chosen], tuple(self.groups[i] for i in chosen), variants)


class GridDataset(Dataset[tuple[torch.Tensor, int]]):
    """Films as (grey float32 (1, height, width) in 0..1, class index); with `vary`, a random rendering of each."""

    def __init__(self, films: LabelledGrids, *, vary: bool = False) -> None:
        self.films = films
        self.vary = vary

    def __len__(self) -> int:
        return len(self.films.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        grid = self.films.grids[index]
        other = self.films.variants.get(index)
        if self.vary and other is not None and bool(torch.rand(()) < 0.5):
            grid = other
        return torch.from_numpy(grid).float().div_(255.0)[None], int(self.films.labels[index])


def read_grids(paths: Sequence[Path], preprocessing: Preprocessing, *, threads: int = 2, what: str = "films") -> Grids:
    """Decode image files to uint8 grids (n, height, width), with a progress bar.

    Raises
    ------
    UnreadableImage
        When a file is no film.
    """

    def one(path: Path) -> Grids:
        grid, _ = preprocessing.to_grid(decode_encoded(path.read_bytes()))
        return np.round(grid * 255.0).astype(np.uint8)

    grids = np.empty((len(paths), preprocessing.height, preprocessing.width), np.uint8)
    with ThreadPoolExecutor(threads) as pool:
        done: Iterable[Grids] = pool.map(one, paths)
        progress = track(done, f"reading {what}", total=len(paths), console=Console(stderr=True))
        for index, grid in enumerate(progress):
            grids[index] = grid
    return grids
