"""Fit a VGG-19 to labelled grids: the part that pneumonia-slim and severity-phantom share."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from torch.utils.data import DataLoader, WeightedRandomSampler

from vidi.imaging.preprocess import Preprocessing
from vidi.models import VGG19, vgg19
from vidi_classifier.training.augment import Augmentation
from vidi_classifier.training.calibration import fit_temperature
from vidi_classifier.training.grids import GridDataset, LabelledGrids
from vidi_classifier.training.module import ClassifierModule, Schedule

Precision = Literal["auto", "32-true", "bf16-mixed"]


@dataclass(frozen=True)
class Fitted:
    """A trained network.

    Attributes
    ----------
    network
        float32, in evaluation mode.
    temperature
        Fitted on the validation films.
    history
        Per epoch: `epoch`, `loss`, `val_loss`, `val_balanced_accuracy`.
    """

    network: VGG19
    temperature: float
    history: tuple[dict[str, float], ...]


def fit(
    training: LabelledGrids,
    validation: LabelledGrids,
    *,
    num_classes: int,
    width: float,
    preprocessing: Preprocessing,
    schedule: Schedule,
    augmentation: Augmentation | None,
    seed: int,
    precision: Precision = "auto",
    report: Callable[[str], None] = lambda line: None,
    progress: bool = True,
) -> Fitted:
    """Train a VGG-19 with batch norm and a pooled head, and fit its temperature.

    Parameters
    ----------
    training, validation
        Films of different patients. Training films are drawn with equal chances for every class.
    num_classes, width, preprocessing
        The network, see `vidi.models.vgg19`.
    schedule, augmentation
        See there.
    seed
        Decides initial weights, order and augmentation.
    precision
        "auto": bfloat16 autocast where the processor multiplies it in hardware (AMX), else float32.
    report
        Gets a line per epoch.
    progress
        Whether to show a progress bar.
    """
    L.seed_everything(seed, verbose=False)
    network = vgg19(num_classes, width=width, batch_norm=True, head="gap")
    module = ClassifierModule(network, preprocessing, num_classes, schedule, augmentation, report)
    trainer = _trainer(schedule, precision, progress)
    trainer.fit(
        module,
        DataLoader(
            GridDataset(training, vary=True),
            batch_size=schedule.batch,
            sampler=_balanced(training.labels),
            drop_last=True,
        ),
        DataLoader(GridDataset(validation), batch_size=32),
    )
    if module.best is not None:
        network.load_state_dict(module.best)
    network = network.to(memory_format=torch.contiguous_format).eval()
    temperature = fit_temperature(predict(network, validation.grids, preprocessing), validation.labels)
    return Fitted(network, temperature, tuple(module.history))


def predict(
    network: VGG19, grids: npt.NDArray[np.uint8], preprocessing: Preprocessing, *, batch: int = 16
) -> npt.NDArray[np.float32]:
    """Return the logits float32 (n, classes) of uint8 grids (n, height, width)."""
    logits = []
    with torch.inference_mode():
        for start in range(0, len(grids), batch):
            x = preprocessing.to_input(grids[start : start + batch] / np.float32(255.0))
            logits.append(network(torch.from_numpy(x)).numpy())
    return np.concatenate(logits)


def _trainer(schedule: Schedule, precision: Precision, progress: bool) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    if precision == "auto":
        precision = "bf16-mixed" if torch.cpu._is_amx_tile_supported() else "32-true"
    return L.Trainer(
        accelerator="cpu",
        max_epochs=schedule.epochs,
        precision=precision,
        gradient_clip_val=5.0,
        callbacks=[TQDMProgressBar(refresh_rate=10)] if progress else [],
        enable_progress_bar=progress,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=False,
        num_sanity_val_steps=0,
    )


def _balanced(labels: npt.NDArray[np.int64]) -> WeightedRandomSampler:
    """Draw as many films as there are, every class as often as the others."""
    weights = 1.0 / np.bincount(labels)[labels]
    return WeightedRandomSampler(weights.tolist(), num_samples=len(labels), replacement=True)
