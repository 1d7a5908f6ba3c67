"""VGG-19 with a width multiplier, optional batch normalisation, and a fully-connected or global-average-pooling head.

At width 1 with the "fc" head the state dict is torchvision's, key for key. Every module is used once and every ReLU
works out of place, which DeepSHAP (and `shap.DeepExplainer`) needs.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015,
configuration E.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

# Configuration E: convolutions of each block, by output channels at width 1; every block ends in a 2 x 2 max-pool.
BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
HIDDEN = 4096
Head = Literal["fc", "gap"]


class VGG19(nn.Module):
    """VGG-19.

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

    Notes
    -----
    Input float32 (n, 3, height, width), normalised, at least 32 pixels a side; output logits float32 (n, num_classes).
    """

    def __init__(self, num_classes: int, width: float = 1.0, batch_norm: bool = False, head: Head = "fc") -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes {num_classes}: at least 2 are needed")
        if not width > 0:
            raise ValueError(f"width {width}: must be more than 0")
        layers: list[nn.Module] = []
        channels = 3
        for block_channels, depth in BLOCKS:
            for _ in range(depth):
                out = _scaled(block_channels, width)
                layers.append(nn.Conv2d(channels, out, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(out))
                layers.append(nn.ReLU(inplace=False))
                channels = out
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
        if head == "fc":
            hidden = _scaled(HIDDEN, width)
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


def vgg19(num_classes: int, width: float = 1.0, batch_norm: bool = False, head: Head = "fc") -> VGG19:
    """Return a freshly initialised VGG-19; the parameters are `VGG19`'s."""
    return VGG19(num_classes, width, batch_norm, head)


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))
