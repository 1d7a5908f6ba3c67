"""DenseNet-121 with a width multiplier: torchvision's module, so that at width 1 the state dict is torchvision's.

It rectifies in place and by function calls, and its stem pools over windows that overlap: `shap.DeepExplainer` cannot
explain it.

Source: Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2017, table 1.
"""

from __future__ import annotations

from torch import nn
from torchvision.models import DenseNet

from vidi.models.vgg import scaled

GROWTH_RATE = 32
INIT_FEATURES = 64
BLOCKS = (6, 12, 24, 16)


def densenet121(num_classes: int, width: float = 1.0, *, block_config: tuple[int, int, int, int] = BLOCKS) -> nn.Module:
    """Return a freshly initialised DenseNet-121.

    Parameters
    ----------
    num_classes
        Number of outputs (logits), at least 2.
    width
        Multiplier of the growth rate and of the stem's channels, more than 0; 1 is the published network.
    block_config
        Layers of each dense block, at least 1. Anything but the published numbers is another network than DenseNet-121,
        small enough for tests.

    Returns
    -------
    A network from float32 (n, 3, height, width), normalised, at least 32 pixels a side, to logits float32
    (n, num_classes).

    Raises
    ------
    ValueError
        When a parameter is out of range.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes {num_classes}: at least 2 are needed")
    if not width > 0:
        raise ValueError(f"width {width}: must be more than 0")
    if min(block_config) < 1:
        raise ValueError(f"block_config {block_config}: at least one layer a block is needed")
    network: nn.Module = DenseNet(
        growth_rate=scaled(GROWTH_RATE, width),
        block_config=block_config,
        num_init_features=scaled(INIT_FEATURES, width),
        num_classes=num_classes,
    )
    return network
