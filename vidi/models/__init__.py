"""Networks (torch). Nothing else of the core imports torch."""

from __future__ import annotations

from vidi.models.load import build_network, load_network
from vidi.models.vgg import VGG19, vgg19

__all__ = ["VGG19", "build_network", "load_network", "vgg19"]
