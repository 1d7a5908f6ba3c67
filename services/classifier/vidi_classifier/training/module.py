"""The training loop, as a Lightning module."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from vidi.imaging.preprocess import Preprocessing
from vidi_classifier.training.augment import Augmentation

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes
    ----------
    epochs
        Epochs in all.
    half_epochs
        How many of them, from the first, see films at half the resolution, at a quarter of the cost. The network has no
        layer of a fixed size, so that much of what it learns there carries over; but structures double in size at the
        change, which takes a learning rate of its own to get used to.
    batch
        Films a step.
    learning_rate
        Peak of AdamW's learning rate: within the half epochs it rises over the first tenth of the steps and falls as a
        cosine; within the full ones once more, to half the peak.
    weight_decay
        AdamW's, for weights with more than one axis.
    smoothing
        Label smoothing.
    """

    epochs: int = 10
    half_epochs: int = 6
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    smoothing: float = 0.05


class ClassifierModule(L.LightningModule):
    """Trains a network on grey films and keeps the weights of the epoch with the lowest validation loss.

    Only epochs at full resolution count for that choice.

    Parameters
    ----------
    network
        Takes (n, 3, height, width), gives logits (n, classes).
    preprocessing
        Its normalisation is applied to the grey films.
    num_classes
        Number of classes.
    schedule
        See `Schedule`.
    augmentation
        Applied to training films; None: none.
    report
        Called with a line for people after every validation.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        num_classes: int,
        schedule: Schedule,
        augmentation: Augmentation | None,
        report: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.schedule = schedule
        self.augmentation = augmentation
        self.report = report
        self.register_buffer("mean", torch.tensor(preprocessing.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std)[:, None, None], persistent=False)
        self.accuracy = MulticlassAccuracy(num_classes, average="macro")
        self.history: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] | None = None
        self._best_loss = float("inf")
        self._train_losses: list[torch.Tensor] = []
        self._val_losses: list[torch.Tensor] = []
        self._val_labels: list[torch.Tensor] = []

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        """Return logits (n, classes) of grey films (n, 1, height, width) in 0..1."""
        x = ((grey - self.mean) / self.std).contiguous(memory_format=torch.channels_last)  # type: ignore[operator]
        logits: torch.Tensor = self.network(x)
        return logits

    @property
    def halved(self) -> bool:
        """Whether this epoch runs at half the resolution."""
        return self.current_epoch < self.schedule.half_epochs

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """One step; returns the loss."""
        grey, labels = batch
        if self.halved:
            grey = F.avg_pool2d(grey, 2)
        if self.augmentation is not None:
            grey = self.augmentation(grey)
        logits = self(grey).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.schedule.smoothing)
        self._train_losses.append(loss.detach())
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Gather the losses of one batch."""
        grey, labels = batch
        logits = self(F.avg_pool2d(grey, 2) if self.halved else grey).float()
        self._val_losses.append(F.cross_entropy(logits, labels, reduction="none"))
        self._val_labels.append(labels)
        self.accuracy.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        """Note the epoch and keep the weights when it is the best at full resolution."""
        losses, labels = torch.cat(self._val_losses), torch.cat(self._val_labels)
        # Every class counts the same, as in training, whatever its share of the films.
        loss = float(torch.stack([losses[labels == k].mean() for k in sorted(set(labels.tolist()))]).mean())
        train = float(torch.stack(self._train_losses).mean()) if self._train_losses else float("nan")
        accuracy = float(self.accuracy.compute())
        self._val_losses.clear()
        self._val_labels.clear()
        self._train_losses.clear()
        self.accuracy.reset()
        if self.trainer.sanity_checking:
            return
        self.log("val_loss", loss, prog_bar=True)
        self.log("val_balanced_accuracy", accuracy, prog_bar=True)
        self.history.append(
            {"epoch": self.current_epoch, "loss": train, "val_loss": loss, "val_balanced_accuracy": accuracy}
        )
        self.report(
            f"epoch {self.current_epoch + 1}/{self.schedule.epochs}{' (half resolution)' if self.halved else ''}: "
            f"loss {train:.4f}, validation loss {loss:.4f}, validation balanced accuracy {accuracy:.4f}"
        )
        if not self.halved and loss < self._best_loss:
            self._best_loss = loss
            self.best = {key: value.detach().clone() for key, value in self.network.state_dict().items()}

    def configure_optimizers(self) -> Any:
        """AdamW whose rate rises shortly and falls as a cosine, once for each resolution."""
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": self.schedule.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.schedule.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        change = steps * min(self.schedule.half_epochs, self.schedule.epochs) // self.schedule.epochs

        def factor(step: int) -> float:
            if step < change:
                return _cycle(step / change)
            return (0.5 if change else 1.0) * _cycle((step - change) / max(1, steps - change))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _cycle(progress: float) -> float:
    """Rise over the first tenth, then fall as a cosine to a hundredth; `progress` and result in 0..1."""
    if progress < 0.1:
        return 0.1 + 0.9 * progress / 0.1
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, (progress - 0.1) / 0.9)))
