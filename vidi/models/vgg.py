"""VGG-16 and VGG-19 with a width multiplier, optional batch normalisation, and a fully-connected or pooled head.

At width 1 with the "fc" head the state dict is torchvision's, key for key. Every module is used once and every ReLU
works out of place, which DeepSHAP (and `shap.DeepExplainer`) needs.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015,
configurations D and E.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

from vidi.manifest import Head

Depth = Literal[16, 19]
#: By depth, for each block: output channels at width 1, number of convolutions. Every block ends in a 2 x 2 max-pool.
BLOCKS: Mapping[int, tuple[tuple[int, int], ...]] = {
    16: ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
    19: ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)),
}
HIDDEN = 4096


class VGG(nn.Module):
    """VGG-16 or VGG-19.

    Parameters
    ----------
    num_classes
        Number of outputs (logits), at least 2.
    width
        Channel multiplier, more than 0; 1 is the published network.
    batch_norm
        Whether each convolution is followed by a batch normalisation.
    head
        "fc": 7 x 7 pooling and three linear layers, as published; "gap": global average pooling and one linear layer.
    depth
        Layers with weights at the "fc" head: 16 or 19.

    Raises
    ------
    ValueError
        When a parameter is out of range.

    Notes
    -----
    Input float32 (n, 3, height, width), normalised, at least 32 pixels a side; output logits float32 (n, num_classes).
    """

    def __init__(
        self, num_classes: int, width: float = 1.0, batch_norm: bool = False, head: Head = "fc", depth: Depth = 19
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes {num_classes}: at least 2 are needed")
        if not width > 0:
            raise ValueError(f"width {width}: must be more than 0")
        if depth not in BLOCKS:
            raise ValueError(f"depth {depth}: 16 or 19")
        layers: list[nn.Module] = []
        channels = 3
        for block_channels, convolutions in BLOCKS[depth]:
            for _ in range(convolutions):
                out = scaled(block_channels, width)
                layers.append(nn.Conv2d(channels, out, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(out))
                layers.append(nn.ReLU(inplace=False))
                channels = out
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
        if head == "fc":
            hidden = scaled(HIDDEN, width)
            self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
            self.classifier = nn.Sequential(
                nn.Linear(channels * 49, hidden),
                nn.ReLU(inplace=False),
                nn.Dropout(0.5),
                nn.Linear(hidden, hidden),
                nn.ReLU(inplace=False),
                nn.Dropout(0.5),
                nn.Linear(hidden, num_classes),
            )
        elif head == "gap":
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.classifier = nn.Sequential(nn.Linear(channels, num_classes))
        else:
            raise ValueError(f"head {head!r}: 'fc' or 'gap'")
        self._initialise()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, num_classes) of normalised films (n, 3, height, width)."""
        pooled: torch.Tensor = self.avgpool(self.features(x))
        logits: torch.Tensor = self.classifier(torch.flatten(pooled, 1))
        return logits

    def _initialise(self) -> None:
        """Initialise as torchvision does (He for convolutions, N(0, 0.01) for linear layers)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)


#: The class under its first name: whose depth is not said has 19 layers.
VGG19 = VGG


def vgg16(num_classes: int, width: float = 1.0, batch_norm: bool = False, head: Head = "fc") -> VGG:
    """Return a freshly initialised VGG-16; the parameters are `VGG`'s."""
    return VGG(num_classes, width, batch_norm, head, 16)


def vgg19(num_classes: int, width: float = 1.0, batch_norm: bool = False, head: Head = "fc") -> VGG:
    """Return a freshly initialised VGG-19; the parameters are `VGG`'s."""
    return VGG(num_classes, width, batch_norm, head, 19)


def scaled(channels: int, width: float) -> int:
    """Return a number of channels times a width multiplier, at least 1."""
    return max(1, round(channels * width))
