"""Tiny, untrained but complete bundles, for tests, smoke runs of a deployment and measurements of overhead.

Their answers mean nothing. They are real in every other way: a network at 1/16 width, references, digests, codes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from vidi.bundle import Bundle, write_bundle
from vidi.imaging.preprocess import Preprocessing
from vidi.manifest import WITH_BATCH_NORM, Arch, Code, IntendedUse, ModelClass, PreprocessingSpec, SplitRule
from vidi.models.load import build
from vidi.models.save import compact_state

NORMAL = ModelClass(
    name="normal", code=Code(value="MODEL_NORMAL", scheme="99VIDI", meaning="Model favours its class 'normal'")
)
PNEUMONIA = ModelClass(name="pneumonia", code=Code(value="233604007", scheme="SCT", meaning="Pneumonia"))
SEVERITIES = (
    ModelClass(name="mild", code=Code(value="255604002", scheme="SCT", meaning="Mild")),
    ModelClass(name="medium", code=Code(value="6736007", scheme="SCT", meaning="Moderate")),
    ModelClass(name="severe", code=Code(value="24484000", scheme="SCT", meaning="Severe")),
)
CLASSES = (NORMAL, PNEUMONIA)


def write_tiny_bundle(
    path: Path | str,
    name: str = "tiny-pneumonia",
    classes: tuple[ModelClass, ...] = CLASSES,
    *,
    subject: Literal["patient", "phantom"] = "patient",
    seed: int = 0,
    references: int = 8,
    width: float = 1 / 16,
    size: int = 224,
    arch: Arch = "vgg19_bn",
) -> Bundle:
    """Write a tiny bundle with seeded random weights.

    Parameters
    ----------
    path
        The bundle's directory.
    name, classes
        Name and classes.
    subject
        What `intended_use` lets through.
    seed
        Decides weights and references; equal seeds give equal bundles on one machine.
    references
        Number of DeepSHAP references, at least 1.
    width
        Channel multiplier.
    size
        Height and width of the network's input in pixels, at least 32.
    arch
        The network; its head is the pooled one.
    """
    preprocessing = Preprocessing(height=size, width=size)
    films = _films(references + 24, size, seed)
    network = _network(arch, len(classes), width, seed, torch.from_numpy(preprocessing.to_input(films)))
    use = IntendedUse(
        statement="Untrained: for tests and measurements only; its answers mean nothing.",
        modalities=("CR", "DX"),
        source_population="none (random weights)",
        subjects=(subject,),
    )
    return write_bundle(
        path,
        state=compact_state(network),
        background=np.round(films[:references] * 255).astype(np.uint8),
        fields={
            "name": name,
            "version": "0.0.1",
            "arch": arch,
            "width": width,
            "batch_norm": arch in WITH_BATCH_NORM,
            "head": "gap",
            "classes": classes,
            "preprocessing": PreprocessingSpec.of(preprocessing),
            "intended_use": use,
            "training_data": "none: seeded random weights",
            "training_data_licence": "none",
            "split": SplitRule(description="Never trained.", held_out_percent=100, validation_percent=0),
            "background_description": f"{references} synthetic films of smooth noise",
        },
    )


def _network(arch: Arch, num_classes: int, width: float, seed: int, inputs: torch.Tensor) -> nn.Module:
    """Random weights with batch-norm statistics of the given inputs, so that signals neither vanish nor explode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(arch, num_classes, width=width, head="gap")
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # a plain average instead of a moving one
        with torch.no_grad():
            network.train()(inputs)
            network.eval()
            # Logits of random weights hardly differ between films: centre and spread them to about one unit.
            (linear,) = (module for module in network.modules() if isinstance(module, nn.Linear))
            linear.weight.normal_()
            linear.bias.zero_()
            logits = network(inputs)
            linear.weight.div_(logits.std(0).mean().clamp_min(1e-6))
            linear.bias.sub_(network(inputs).mean(0))
    return network


def _films(count: int, size: int, seed: int) -> npt.NDArray[np.float32]:
    """Films of smooth noise around a bright middle, float32 (count, size, size) in 0..1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    films = np.empty((count, size, size), np.float32)
    for film in films:
        coarse = gaussian_filter(rng.standard_normal((size, size)), size / 12)
        fine = gaussian_filter(rng.standard_normal((size, size)), 1.5)
        body = np.exp(-((x / rng.uniform(0.5, 0.9)) ** 2) - (y / rng.uniform(0.8, 1.4)) ** 2)
        grey = body + rng.uniform(0.1, 0.4) * coarse / coarse.std() + 0.05 * fine / fine.std()
        film[:] = (grey - grey.min()) / (grey.max() - grey.min())
    return films
