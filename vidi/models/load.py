"""From a bundle to a network in memory."""

from __future__ import annotations

import torch
from torch import nn

from vidi.bundle import Bundle
from vidi.errors import BundleError
from vidi.manifest import WITH_BATCH_NORM, Arch, Head
from vidi.models.densenet import densenet121
from vidi.models.vgg import vgg16, vgg19


def build(arch: Arch, num_classes: int, *, width: float = 1.0, head: Head = "gap") -> nn.Module:
    """Return a freshly initialised network.

    Parameters
    ----------
    arch, width, head
        As in `vidi.manifest.Manifest`.
    num_classes
        Number of outputs (logits), at least 2.

    Raises
    ------
    ValueError
        When a parameter is out of range, or the network has no such head.
    """
    if arch == "densenet121":
        if head != "gap":
            raise ValueError(f"head {head!r}: DenseNet-121 has 'gap' only")
        return densenet121(num_classes, width)
    vgg = vgg16 if arch in ("vgg16", "vgg16_bn") else vgg19
    return vgg(num_classes, width, batch_norm=arch in WITH_BATCH_NORM, head=head)


def build_network(bundle: Bundle) -> nn.Module:
    """Return the bundle's architecture, freshly initialised."""
    m = bundle.manifest
    return build(m.arch, len(m.classes), width=m.width, head=m.head)


def load_network(bundle: Bundle, device: str | torch.device = "cpu") -> nn.Module:
    """Load a bundle's network: float32, in evaluation mode, without gradients.

    Parameters
    ----------
    bundle
        A verified bundle.
    device
        Where the network goes.

    Raises
    ------
    BundleError
        When the stored tensors do not fit the architecture of the manifest, or are not finite.
    """
    # On "meta" the architecture costs neither memory nor a random initialisation that would be overwritten at once.
    with torch.device("meta"):
        network = build_network(bundle)
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    stored = {key: torch.from_numpy(value) for key, value in bundle.state().items()}
    found = {key: tuple(value.shape) for key, value in stored.items()}
    if expected != found:
        odd = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise BundleError(
            f"{bundle.weights_path}: tensors do not fit the architecture in the manifest: {', '.join(odd[:4])}"
        )
    state = {key: value.float() if value.is_floating_point() else value for key, value in stored.items()}
    broken = sorted(key for key, value in state.items() if not bool(torch.isfinite(value).all()))
    if broken:
        raise BundleError(f"{bundle.weights_path}: holds NaN or infinite values: {', '.join(broken[:4])}")
    network.load_state_dict(state, assign=True)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.to(device).eval()
