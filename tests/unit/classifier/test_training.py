"""Training learns, and keeps what it should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidi.imaging.preprocess import Preprocessing
from vidi_classifier.training.augment import Augmentation
from vidi_classifier.training.calibration import fit_temperature
from vidi_classifier.training.fit import fit, predict
from vidi_classifier.training.module import Schedule
from vidi_classifier.training.severity import phantoms

SMALL = Preprocessing(height=64, width=64)


def test_two_epochs_lower_the_loss() -> None:
    training, validation = phantoms(90, 1, SMALL, side=96), phantoms(24, 2, SMALL, side=96)
    assert not set(training.groups) & set(validation.groups)
    lines: list[str] = []
    fitted = fit(
        training,
        validation,
        num_classes=3,
        width=1 / 8,
        preprocessing=SMALL,
        schedule=Schedule(epochs=2, half_epochs=0, batch=8, learning_rate=3e-3),
        augmentation=None,
        seed=0,
        report=lines.append,
        progress=False,
    )
    first, second = fitted.history
    assert second["loss"] < 0.97 * first["loss"]
    assert len(lines) == 2
    assert "validation balanced accuracy" in lines[0]
    assert not fitted.network.training
    assert 0.05 <= fitted.temperature <= 20
    logits = predict(fitted.network, validation.grids, SMALL)
    assert logits.shape == (24, 3)
    assert np.isfinite(logits).all()


def test_only_full_resolution_epochs_are_kept() -> None:
    films = phantoms(24, 3, SMALL, side=96)
    fitted = fit(
        films,
        films,
        num_classes=3,
        width=1 / 16,
        preprocessing=SMALL,
        schedule=Schedule(epochs=2, half_epochs=1, batch=8, learning_rate=1e-3),
        augmentation=Augmentation(),
        seed=1,
        progress=False,
    )
    assert [h["epoch"] for h in fitted.history] == [0, 1]
    logits = torch.from_numpy(predict(fitted.network, films.grids, SMALL))
    labels = torch.from_numpy(films.labels)
    loss = float(
        torch.stack(
            [torch.nn.functional.cross_entropy(logits[labels == k], labels[labels == k]) for k in range(3)]
        ).mean()
    )
    assert loss == pytest.approx(fitted.history[1]["val_loss"], rel=0.02)


def test_temperature_finds_the_overconfidence_that_was_put_in() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (4000, 2))
    p = 1 / (1 + np.exp(honest[:, 0] - honest[:, 1]))
    labels = (rng.random(4000) < p).astype(np.int64)
    assert fit_temperature(3.0 * honest, labels) == pytest.approx(3.0, rel=0.1)


def test_augmentation_keeps_shape_and_range_and_changes_films() -> None:
    films = torch.rand(6, 1, 64, 48)
    changed = Augmentation()(films, torch.Generator().manual_seed(0))
    assert changed.shape == films.shape
    assert float(changed.min()) >= 0.0
    assert float(changed.max()) <= 1.0
    assert float((changed - films).abs().mean()) > 0.05
    again = Augmentation()(films, torch.Generator().manual_seed(0))
    assert torch.equal(changed, again)


def test_no_augmentation_is_the_identity() -> None:
    films = torch.rand(3, 1, 32, 32)
    nothing = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert torch.allclose(nothing(films), films, atol=1e-4)
