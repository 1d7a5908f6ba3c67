"""DenseNet-121 at any width; tests can have shorter blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vidi.models import densenet121


def test_width_scales_growth_and_stem_alone() -> None:
    torch.manual_seed(0)
    network = densenet121(3, width=1 / 16)
    state = network.state_dict()
    assert state["features.conv0.weight"].shape == (4, 3, 7, 7)
    assert state["features.denseblock3.denselayer24.conv2.weight"].shape == (2, 8, 3, 3)
    with torch.device("meta"):
        assert state.keys() == densenet121(3).state_dict().keys()
    with torch.inference_mode():
        assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_blocks_can_be_shorter() -> None:
    with torch.device("meta"):
        state = densenet121(2, block_config=(1, 2, 1, 1)).state_dict()
    assert sum(key.endswith("conv2.weight") for key in state) == 5


@pytest.mark.parametrize(
    "arguments",
    [{"num_classes": 1}, {"num_classes": 2, "width": 0.0}, {"num_classes": 2, "block_config": (1, 0, 1, 1)}],
)
def test_wrong_parameters_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        densenet121(**arguments)
