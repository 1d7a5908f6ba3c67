"""Fine-tune the last block and the head of the benchmark's network on phantoms: a plain loop of a few minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from vidi.imaging.preprocess import Preprocessing
from vidi_explainer.bench.films import LabelledFilms
from vidi_explainer.bench.progress import shown


@dataclass(frozen=True)
class Plan:
    """How the network is fine-tuned.

    Attributes
    ----------
    films, held_out
        Phantoms to train on and to measure the accuracy on.
    epochs, batch, learning_rate
        Of Adam.
    seed
        Decides the order of the films.
    """

    films: int = 320
    held_out: int = 120
    epochs: int = 3
    batch: int = 16
    learning_rate: float = 1e-4
    seed: int = 0


def fine_tune(network: nn.Module, films: LabelledFilms, preprocessing: Preprocessing, plan: Plan) -> None:
    """Train block 5 and the head in place; leaves the network in evaluation mode, without gradients.

    Blocks 1 to 4 stay as they are, so that their output is computed once for every film and not once an epoch.

    Parameters
    ----------
    network
        A VGG (`features`, `avgpool`, `classifier`).
    films
        Training films.
    preprocessing
        The network's.
    plan
        See `Plan`.
    """
    network.to(memory_format=torch.channels_last)
    features = network.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    pools = [i for i, module in enumerate(features) if isinstance(module, nn.MaxPool2d)]
    frozen, tuned = features[: pools[3] + 1], features[pools[3] + 1 :]
    tail = nn.Sequential(tuned, network.get_submodule("avgpool"), nn.Flatten(), network.get_submodule("classifier"))
    inputs = _through(frozen, films.grids, preprocessing, "computing features")
    labels = torch.from_numpy(films.labels)
    optimizer = torch.optim.Adam(tail.requires_grad_(True).train().parameters(), lr=plan.learning_rate)
    generator = torch.Generator().manual_seed(plan.seed)
    orders = [torch.randperm(len(labels), generator=generator) for _ in range(plan.epochs)]
    steps = [order[i : i + plan.batch] for order in orders for i in range(0, len(order), plan.batch)]
    for batch in shown(steps, "fine-tuning block 5 and the head"):
        with _bfloat16():
            logits = tail(inputs[batch])
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), labels[batch]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.requires_grad_(False).eval()


def accuracy(network: nn.Module, films: LabelledFilms, preprocessing: Preprocessing) -> float:
    """Return the share of films, 0..1, whose class gets the highest logit."""
    logits = _through(network, films.grids, preprocessing, "measuring the accuracy")
    return float((logits.argmax(1).numpy() == films.labels).mean())


def _through(
    module: Callable[[torch.Tensor], torch.Tensor],
    grids: npt.NDArray[np.uint8],
    preprocessing: Preprocessing,
    what: str,
    batch: int = 16,
) -> torch.Tensor:
    """Return what a module makes of films, float32 (n, ...)."""
    outputs = []
    with torch.no_grad(), _bfloat16():
        for start in shown(range(0, len(grids), batch), what):
            x = torch.from_numpy(preprocessing.to_input(grids[start : start + batch] / np.float32(255)))
            outputs.append(module(x.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(outputs)


def _bfloat16() -> torch.autocast:
    """Autocast where the processor multiplies bfloat16 itself: elsewhere it is slower than float32."""
    can = torch.cpu.get_capabilities()
    return torch.autocast("cpu", torch.bfloat16, enabled=bool(can.get("avx512_bf16") or can.get("amx_bf16")))
