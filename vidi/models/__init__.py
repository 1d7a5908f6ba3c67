"""Networks (torch). Nothing else of the core imports torch."""

from __future__ import annotations

from vidi.models.densenet import densenet121
from vidi.models.load import build, build_network, load_network
from vidi.models.vgg import VGG, VGG19, vgg16, vgg19

__all__ = ["VGG", "VGG19", "build", "build_network", "densenet121", "load_network", "vgg16", "vgg19"]
