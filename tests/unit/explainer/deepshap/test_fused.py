"""Fused steps against the same operations one after the other."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from vidi_explainer.deepshap.crew import Crew, Workspace
from vidi_explainer.deepshap.fused import FusedConvolution, FusedInput, Layout, Multipliers
from vidi_explainer.deepshap.ops import Convolution, MaxPool, Relu

HALVES = MaxPool((2, 2), (2, 2), (0, 0), (1, 1))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def convolution(out: int, channels: int, generator: torch.Generator) -> Convolution:
    weight = torch.randn(out, channels, 3, 3, generator=generator) / (3 * channels**0.5)
    return Convolution(weight, None, (1, 1), (1, 1), (1, 1), 1)


def activations(count: int, channels: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Values with the odd cases of the rules: equal pixels, windows of one value, differences around the thresholds."""
    values = torch.randn(count, channels, size, size, generator=generator)
    values[:, :, :4, :4] = 0.5
    values[:, :, 4:6] = -1.0
    return values.contiguous(memory_format=torch.channels_last)


def near(film: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Make some references equal to the film, or nearly."""
    made = references.clone(memory_format=torch.channels_last)
    made[:, :, 6:8] = film[:, :, 6:8]
    made[:, :, 8:9] = film[:, :, 8:9] + 5e-7
    made[:, :, 9:10] = film[:, :, 9:10] + 5e-6
    return made


def relative(found: torch.Tensor, right: torch.Tensor) -> float:
    return float((found.double() - right.double()).norm() / right.double().norm())


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(
    ("half", "direct", "tolerance"), [(False, False, 2e-6), (True, False, 3e-2), (True, True, 5e-3)],
    ids=["float32", "bfloat16 tiles", "bfloat16 convolution"],
)  # fmt: skip
@pytest.mark.parametrize(("size", "out", "channels"), [(28, 32, 16), (12, 16, 48)])
def test_convolution_and_rules(
    generator: torch.Generator, size: int, out: int, channels: int, half: bool, direct: bool, tolerance: float,
    pooled: bool, threads: int,
) -> None:  # fmt: skip
    operation = convolution(out, channels, generator)
    film = activations(1, channels, size, generator)
    references = near(film, activations(3, channels, size, generator))
    inner = size // 2 if pooled else size  # 14 and 6 are no whole number of tiles
    above = torch.randn(6, out, inner, inner, generator=generator)
    back = operation.backward(above.double().float(), [torch.Size((1, channels, inner, inner))])[0]
    if pooled:
        back = HALVES.attribute(back, film.relu(), references.relu())
    right = Relu().attribute(back, film, references)

    workspace, crew = Workspace(), Crew(threads)
    below = Layout.tiled(size, size, channels)
    step = FusedConvolution(
        operation, pooled=pooled, height=size, width=size, below=below, half=half, direct=direct, crew=crew
    )
    laid = Multipliers.of(above, step.above, workspace, step.dtype)
    found = step.run(laid, film, references, workspace)
    assert relative(found.plain(), right) < tolerance
    outside = found.data.float().clone()
    outside[:, 1 : 1 + size, 1 : 1 + size] = 0
    assert not outside.any()


@pytest.mark.parametrize("channels", [True, False])
@pytest.mark.parametrize(("half", "tolerance"), [(False, 2e-6), (True, 5e-3)])
def test_input(generator: torch.Generator, channels: bool, half: bool, tolerance: float) -> None:
    scale = (1 / 0.229, 1 / 0.224, 1 / 0.225)
    operation = convolution(32, 3, generator)
    grey = torch.rand(3, 1, 20, 24, generator=generator)
    films = (grey * torch.tensor(scale).view(1, 3, 1, 1) - 1.5).contiguous(memory_format=torch.channels_last)
    film, references = films[:1], films[1:]
    above = torch.randn(6, 32, 20, 24, generator=generator)
    (back,) = operation.backward(above, [film.shape])
    right = (back * (film - references).repeat_interleave(3, 0)).permute(0, 2, 3, 1)
    workspace = Workspace()
    step = FusedInput(operation, height=20, width=24, scale=scale, half=half, crew=Crew(2))
    laid = Multipliers.of(above, step.above, workspace, step.dtype)
    found = step.run(laid, film, references, workspace, channels=channels)
    assert relative(found, right if channels else right.sum(-1, keepdim=True)) < tolerance


def test_a_crew_does_all_of_every_range_once() -> None:
    done = np.zeros((2, 1000), int)

    def work(ranges: list[tuple[int, int]], part: int) -> None:
        for row, (first, last) in enumerate(ranges):
            done[row, first:last] += 1

    for threads in (1, 2, 7):
        done[:] = 0
        Crew(threads).share([(0, 1000), (3, 5)], work)
        assert (done[0] == 1).all() and done[1].sum() == 2 and (done[1, 3:5] == 1).all()


def test_a_crew_hands_errors_on() -> None:
    def work(ranges: list[tuple[int, int]], part: int) -> None:
        if part == 1:
            raise RuntimeError("a part failed")

    with pytest.raises(RuntimeError, match="a part failed"):
        Crew(2).share([(0, 10)], work)


def test_a_crew_returns_only_when_nobody_works_any_more() -> None:
    started, ended = threading.Event(), threading.Event()

    def work(ranges: list[tuple[int, int]], part: int) -> None:
        if part == 0:
            assert started.wait(60)
            raise KeyboardInterrupt
        started.set()
        time.sleep(0.2)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        Crew(2).share([(0, 10)], work)
    assert ended.is_set()


def test_a_workspace_reuses_what_was_given_back() -> None:
    workspace = Workspace()
    first = workspace.take(1000, torch.float32)
    address = first.data_ptr()
    second = workspace.take(1000, torch.float32)
    assert second.data_ptr() != address
    workspace.give(first)
    assert workspace.take(10, torch.bfloat16).data_ptr() == address
    workspace.give_all()
    assert {workspace.take(900, torch.float32).data_ptr() for _ in range(2)} == {address, second.data_ptr()}
