"""Every network that a manifest can name comes back from its bundle, and no manifest contradicts itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torchvision
from torch import nn

from vidi import bundle as bundles
from vidi.errors import BundleError
from vidi.manifest import WITH_BATCH_NORM, Arch
from vidi.models import build, load_network
from vidi.models.save import compact_state
from vidi.models.tiny import write_tiny_bundle


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vgg19_bn with the pooled head. Never write into it."""
    return write_tiny_bundle(tmp_path_factory.mktemp("architectures") / "tiny", size=32, references=2).path


@pytest.mark.parametrize("arch", get_args(Arch))
def test_a_bundle_of_each_architecture_comes_back(tmp_path: Path, arch: Arch) -> None:
    bundle = write_tiny_bundle(tmp_path, size=32, references=4, arch=arch)
    assert (bundle.manifest.arch, bundle.manifest.batch_norm) == (arch, arch in WITH_BATCH_NORM)
    network = load_network(bundle)
    assert not network.training
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == bundle.manifest.batch_norm
    stored = bundle.state()
    assert {key: value.tobytes() for key, value in compact_state(network).items()} == {
        key: value.tobytes() for key, value in stored.items()
    }
    x = torch.from_numpy(bundle.preprocessing.to_input(bundle.background() / 255))
    with torch.inference_mode():
        logits = network(x)
    assert torch.isfinite(logits).all()
    assert float(logits.std(0).min()) > 0.05, "films must differ, or nothing downstream is tested"


@pytest.mark.parametrize("arch", get_args(Arch))
def test_state_dict_is_torchvisions_key_for_key(arch: Arch) -> None:
    with torch.device("meta"):
        ours = build(arch, 1000, head="gap" if arch == "densenet121" else "fc")
        theirs = torchvision.models.get_model(arch, weights=None)
    shapes = [(key, value.shape) for key, value in ours.state_dict().items()]
    assert shapes == [(key, value.shape) for key, value in theirs.state_dict().items()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": "vgg16"}, "contradict"),
        ({"arch": "vgg19"}, "contradict"),
        ({"batch_norm": False}, "contradict"),
        ({"arch": "densenet121", "batch_norm": False}, "contradict"),
        ({"arch": "densenet121", "head": "fc"}, "contradict"),
        ({"arch": "vgg11"}, "arch"),
        ({"head": "attention"}, "head"),
    ],
)
def test_contradictory_manifests_are_refused(tiny: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = shutil.copytree(tiny, tmp_path / "bundle")
    with pytest.raises(BundleError, match=message):
        bundles.update_manifest(path, **change)


@pytest.mark.parametrize(
    "change", [{"arch": "vgg16_bn"}, {"arch": "densenet121"}, {"head": "fc"}, {"arch": "vgg19", "batch_norm": False}]
)
def test_weights_of_another_architecture_are_refused(tiny: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    path = shutil.copytree(tiny, tmp_path / "bundle")
    with pytest.raises(BundleError, match="do not fit the architecture"):
        load_network(bundles.update_manifest(path, **change))


def test_densenet_has_the_pooled_head_only() -> None:
    with pytest.raises(ValueError, match="head 'fc'"):
        build("densenet121", 2, head="fc")
