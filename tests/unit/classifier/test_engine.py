"""The engine: films in, probabilities out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from vidi.api.common.v1 import common_pb2
from vidi.bundle import discover, update_manifest
from vidi.errors import BundleError, InvalidInput
from vidi.models import load_network
from vidi.models.tiny import write_tiny_bundle
from vidi_classifier.engine import Engine


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Engine:
    return Engine.open(model_dir, "tiny-pneumonia", "cpu")


def test_an_answer_is_the_networks(engine: Engine) -> None:
    bundle = engine.resolve(common_pb2.ModelRef(name="tiny-severity"))
    grid = bundle.background()[0] / np.float32(255)
    scores = engine.classify(bundle, grid)
    network = load_network(bundle)
    with torch.inference_mode():
        logits = network(torch.from_numpy(bundle.preprocessing.to_input(grid[None])))[0]
    assert np.array_equal(scores.logits, logits.numpy())
    assert scores.probabilities == pytest.approx(torch.softmax(logits.double(), 0).numpy())
    assert scores.probabilities.sum() == pytest.approx(1.0)
    assert scores.top == int(logits.argmax())


def test_the_temperature_softens_probabilities_and_no_logit(tmp_path: Path) -> None:
    plain = write_tiny_bundle(tmp_path / "a", "a", size=64)
    write_tiny_bundle(tmp_path / "b", "b", size=64)
    warm = update_manifest(tmp_path / "b", temperature=4.0, calibrated=True)
    engine = Engine(discover(tmp_path), "a")
    film = plain.background()[1] / np.float32(255)
    cold_scores, warm_scores = engine.classify(plain, film), engine.classify(warm, film)
    assert np.array_equal(cold_scores.logits, warm_scores.logits)
    z = warm_scores.logits.astype(np.float64)
    odds = np.log(warm_scores.probabilities[0] / warm_scores.probabilities[1])
    assert odds == pytest.approx((z[0] - z[1]) / 4.0)


def test_an_answer_does_not_depend_on_its_company(engine: Engine) -> None:
    bundle = engine.models["tiny-pneumonia"]
    films = bundle.background() / np.float32(255)
    alone = [engine.classify(bundle, film).logits for film in films]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda film: engine.classify(bundle, film).logits, films))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_films_of_any_size_are_resized(engine: Engine) -> None:
    bundle = engine.models["tiny-pneumonia"]
    rng = np.random.default_rng(0)
    for shape in ((16, 16), (224, 224), (300, 511)):
        assert engine.classify(bundle, rng.random(shape)).probabilities.sum() == pytest.approx(1.0)
    with pytest.raises(InvalidInput, match="16 pixels"):
        engine.classify(bundle, rng.random((15, 300)))


def test_a_damaged_bundle_stops_the_start(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "good", "good", size=64)
    write_tiny_bundle(tmp_path / "bad", "bad", size=64)
    (tmp_path / "bad" / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(BundleError, match=r"bad.model\.safetensors"):
        Engine.open(tmp_path, "good", "cpu")
