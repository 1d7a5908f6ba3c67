"""Films that fall into kinds, so that it is known which of them look alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

Crowd = Callable[..., npt.NDArray[np.uint8]]


@pytest.fixture
def crowd() -> Crowd:
    """Films, uint8 (n, side, side): film i is of kind i % kinds, with grain of its own."""

    def make(n: int, kinds: int = 4, side: int = 56, seed: int = 0) -> npt.NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        models = rng.integers(40, 220, (kinds, side, side))
        noise = rng.normal(0, 20, (n, side, side))
        return np.clip(models[np.arange(n) % kinds] + noise, 0, 255).astype(np.uint8)

    return make
