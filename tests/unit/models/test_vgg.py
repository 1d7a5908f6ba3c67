"""The networks are VGG-16 and VGG-19, and what a bundle stores comes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
import torchvision
from torch import nn

from vidi import bundle as bundles
from vidi.bundle_files import digest
from vidi.errors import BundleError
from vidi.manifest import digest_of
from vidi.models import VGG, load_network, vgg19
from vidi.models.save import compact_state
from vidi.models.tiny import write_tiny_bundle


def test_answers_are_torchvisions_at_width_one() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.vgg19(num_classes=3, init_weights=True).eval()
    with torch.device("meta"):
        ours = vgg19(3, head="fc")
    ours.load_state_dict(theirs.state_dict(), assign=True)
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(x), theirs(x))


@pytest.mark.parametrize("head", ["fc", "gap"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("depth", "convolutions"), [(16, 13), (19, 16)])
def test_shap_can_hook_every_module(depth: Any, convolutions: int, head: Any, batch_norm: bool) -> None:
    network = VGG(2, width=1 / 32, batch_norm=batch_norm, head=head, depth=depth)
    rectifiers = [m for m in network.modules() if isinstance(m, nn.ReLU)]
    assert not any(m.inplace for m in rectifiers)
    calls: list[int] = []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, i, o: calls.append(id(m)))
    network.eval()(torch.zeros(1, 3, 32, 32))
    assert len(calls) == len(set(calls)) > 30
    assert len([m for m in network.modules() if isinstance(m, nn.Conv2d)]) == convolutions


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_classes": 1},
        {"num_classes": 2, "width": 0.0},
        {"num_classes": 2, "head": "x"},
        {"num_classes": 2, "depth": 11},
    ],
)
def test_wrong_parameters_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        VGG(**arguments)


def test_a_stored_network_comes_back(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "a", seed=5, size=64)
    again = write_tiny_bundle(tmp_path / "b", seed=5, size=64)
    other = write_tiny_bundle(tmp_path / "c", seed=6, size=64)
    assert bundle.digest == again.digest != other.digest
    network = load_network(bundle)
    assert not network.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())
    x = torch.from_numpy(bundle.preprocessing.to_input(bundle.background() / np.float32(255)))
    with torch.inference_mode():
        logits = network(x)
    assert torch.isfinite(logits).all()
    assert float(logits.std(0).min()) > 0.05, "films must differ, or nothing downstream is tested"
    stored = safetensors.numpy.load(bundle.weights_path.read_bytes())
    assert {str(v.dtype) for k, v in stored.items() if k.endswith("weight")} == {"float16"}


def test_half_precision_moves_no_answer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = vgg19(2, width=1 / 16, batch_norm=True, head="gap").eval()
    x = torch.randn(2, 3, 64, 64)
    before = network(x)
    network.load_state_dict({key: torch.from_numpy(value) for key, value in compact_state(network).items()})
    assert torch.allclose(network(x), before, atol=1e-3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [("shape", "do not fit the architecture"), ("missing", "do not fit the architecture"), ("nan", "NaN")],
)
def test_weights_that_do_not_fit_are_refused(model_dir: Path, tmp_path: Path, damage: str, message: str) -> None:
    path = Path(shutil.copytree(model_dir / "tiny-pneumonia", tmp_path / "bundle"))
    state = dict(bundles.load(path).state())
    key = "classifier.0.weight"
    if damage == "shape":
        state[key] = np.zeros((3, 32), np.float16)
    elif damage == "missing":
        del state[key]
    else:
        state[key] = np.full_like(state[key], np.nan)
    data = safetensors.numpy.save(state)
    (path / "model.safetensors").write_bytes(data)
    fields = json.loads((path / "model.json").read_text())
    fields["weights_sha256"] = digest(data)
    (path / "model.json").write_text(json.dumps(fields | {"digest": digest_of(fields)}))
    with pytest.raises(BundleError, match=message):
        load_network(bundles.load(path))
