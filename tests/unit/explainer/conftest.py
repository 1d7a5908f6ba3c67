"""A small real model, and an engine whose exact answer is known on paper."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vidi.bundle import Bundle
from vidi.errors import Cancelled
from vidi.models.tiny import SEVERITIES, write_tiny_bundle
from vidi_explainer.attribution import Attribution, assemble
from vidi_explainer.engine import Engine, open_engine
from vidi_explainer.targets import Target


class LinearEngine:
    """DeepSHAP of a linear model, w (x - mean of the references), with a gate to hold it and a count of its calls.

    Held at the gate, it stops when asked to if `obeys`.
    """

    name = "linear"
    version = "1"
    precision = "float64"
    arithmetic = "on paper"
    references = 4
    concurrency = 1

    def __init__(self, bundle: Bundle) -> None:
        self._classes = bundle.class_names
        rng = np.random.default_rng(0)
        shape = (bundle.preprocessing.height, bundle.preprocessing.width)
        self.weights = rng.standard_normal((len(self._classes), 3, *shape))
        self.mean_reference = np.broadcast_to(rng.random(shape), (3, *shape))
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self.calls = 0
        self.failures = 0
        self.obeys = False

    def explain(
        self,
        grid: npt.NDArray[np.float32],
        target: Target,
        *,
        channels: bool = False,
        per_reference: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> Attribution:
        self.calls += 1
        self.entered.release()
        while not self.open.wait(0.01):
            if self.obeys and cancelled is not None and cancelled():
                raise Cancelled("asked to stop")
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the engine broke")
        change = np.broadcast_to(grid.astype(np.float64), self.mean_reference.shape) - self.mean_reference
        base = self.weights.reshape(len(self._classes), -1) @ self.mean_reference.ravel()
        attributions = self.weights * change
        logits = base + attributions.sum(axis=(1, 2, 3))
        plan = target.plan(self._classes)
        return assemble(plan, plan.combine(attributions), logits, base, channels=channels)

    def logits(self, grids: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = np.einsum("kchw,nhw->nk", self.weights, grids.astype(np.float64))
        return found


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are so small that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Three classes, 64 x 64 pixels, three references. Never write into it."""
    directory = tmp_path_factory.mktemp("explainer") / "tiny"
    return write_tiny_bundle(directory, "tiny", SEVERITIES, seed=3, references=3, size=64)


@pytest.fixture(scope="session")
def engine(bundle: Bundle) -> Engine:
    return open_engine("shap", bundle)


@pytest.fixture
def linear(bundle: Bundle) -> Engine:
    return LinearEngine(bundle)


@pytest.fixture
def film() -> npt.NDArray[np.float32]:
    return np.random.default_rng(7).random((64, 64), dtype=np.float32)
