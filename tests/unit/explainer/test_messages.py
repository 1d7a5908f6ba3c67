"""Content keys and float16 maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vidi.bundle import Bundle
from vidi_explainer.engine import open_engine
from vidi_explainer.messages import explanation_key, to_float16
from vidi_explainer.targets import Target, TargetKind


@dataclass(frozen=True)
class Described:
    """What a key reads of an engine."""

    name: str = "shap"
    version: str = "1"
    precision: str = "float32"


def changed(bundle: Bundle, **fields: Any) -> Bundle:
    return Bundle(bundle.path, bundle.manifest.model_copy(update=fields))


def other_pixels(grid: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    other = grid.copy()
    other[0, 0] = np.nextafter(other[0, 0], np.float32(2))
    return other


SHA = "sha256:" + "0" * 64
CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "model": lambda a: {"bundle": changed(a["bundle"], digest=SHA)},
    "weights": lambda a: {"bundle": changed(a["bundle"], weights_sha256=SHA)},
    "background": lambda a: {"bundle": changed(a["bundle"], background_sha256=SHA)},
    "preprocessing": lambda a: {
        "bundle": changed(
            a["bundle"], preprocessing=a["bundle"].manifest.preprocessing.model_copy(update={"geometry": "letterbox"})
        )
    },
    "classes": lambda a: {"bundle": changed(a["bundle"], classes=a["bundle"].manifest.classes[::-1])},
    "engine": lambda a: {"engine": Described(name="deepshap")},
    "engine version": lambda a: {"engine": Described(version="2")},
    "precision": lambda a: {"engine": Described(precision="bfloat16")},
    "target": lambda a: {"target": Target(TargetKind.CLASS_VS_MEAN)},
    "one pixel by one bit": lambda a: {"grid": other_pixels(a["grid"])},
    "shape": lambda a: {"grid": a["grid"].reshape(32, 128)},
    "channels": lambda a: {"channels": True},
}


def key(arguments: dict[str, Any]) -> str:
    return explanation_key(**arguments)


@pytest.fixture
def arguments(bundle: Bundle, film: npt.NDArray[np.float32]) -> dict[str, Any]:
    return {"bundle": bundle, "engine": Described(), "target": Target(), "grid": film, "channels": False}


@pytest.mark.parametrize("change", list(CHANGES))
def test_everything_that_matters_is_in_the_key(arguments: dict[str, Any], change: str) -> None:
    assert key({**arguments, **CHANGES[change](arguments)}) != key(arguments)


def test_class_order_of_a_comparison_is_in_the_key(arguments: dict[str, Any]) -> None:
    one = Target(TargetKind.CLASS_VS_CLASS, "mild", "severe")
    other = replace(one, class_a="severe", class_b="mild")
    assert key({**arguments, "target": one}) != key({**arguments, "target": other})


def test_equal_content_has_an_equal_key(arguments: dict[str, Any]) -> None:
    layout = np.asfortranarray(arguments["grid"])
    assert key({**arguments, "grid": layout, "engine": Described()}) == key(arguments)
    assert len(key(arguments)) == 64


def test_key_is_taken_from_a_real_engine(arguments: dict[str, Any]) -> None:
    import shap

    engine = open_engine("shap", arguments["bundle"])
    described = Described("shap", shap.__version__, "float32")
    assert key({**arguments, "engine": engine}) == key({**arguments, "engine": described})


@given(arrays(np.float32, (5, 7), elements=st.floats(-(2.0**60), 2.0**60, width=32)))
def test_float16_keeps_three_digits(map_: npt.NDArray[np.float32]) -> None:
    half, scale = to_float16(map_)
    assert half.dtype == np.float16
    assert np.isfinite(half).all()
    back = half.astype(np.float64) * scale
    largest = float(np.abs(map_).max())
    np.testing.assert_allclose(back, map_, rtol=2.0**-11, atol=largest * 2.0**-38)


def test_float16_of_nothing() -> None:
    half, scale = to_float16(np.zeros((3, 3), np.float32))
    assert scale == 1.0
    assert not half.any()
