"""From a bundle to a network in memory."""

from __future__ import annotations

import torch

from vidi.bundle import Bundle
from vidi.errors import BundleError
from vidi.models.vgg import VGG19, vgg19


def build_network(bundle: Bundle) -> VGG19:
    """Return the bundle's architecture, freshly initialised."""
    m = bundle.manifest
    return vgg19(len(m.classes), width=m.width, batch_norm=m.batch_norm, head=m.head)


def load_network(bundle: Bundle, device: str | torch.device = "cpu") -> VGG19:
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
