"""A bundle is what its digests say, or it is not loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from vidi import bundle as bundles
from vidi.api.common.v1 import common_pb2
from vidi.bundle_files import digest
from vidi.errors import BundleError, NotFound, PreconditionFailed
from vidi.manifest import digest_of


@pytest.fixture
def copy(model_dir: Path, tmp_path: Path) -> Path:
    """A bundle of one's own to damage."""
    return Path(shutil.copytree(model_dir / "tiny-pneumonia", tmp_path / "tiny-pneumonia"))


def _fields(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((path / "model.json").read_text())
    return fields


def _write(path: Path, fields: dict[str, Any], *, sealed: bool) -> None:
    if sealed:
        fields["digest"] = digest_of(fields)
    (path / "model.json").write_text(json.dumps(fields))


def test_a_bundle_knows_itself(model_dir: Path) -> None:
    bundle = bundles.load(model_dir / "tiny-pneumonia")
    assert bundle.class_names == ("normal", "pneumonia")
    assert bundle.background().shape == (8, 224, 224)
    assert bundle.background().dtype == np.uint8
    assert bundle.digest == digest_of(_fields(bundle.path))


def test_discovery_finds_all(model_dir: Path) -> None:
    assert sorted(bundles.discover(model_dir)) == ["tiny-pneumonia", "tiny-severity"]


@pytest.mark.parametrize("name", ["model.safetensors", "background.safetensors"])
def test_one_flipped_bit_is_refused_and_the_file_named(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[-100] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=name):
        bundles.load(copy)


def test_weights_exchanged_after_loading_are_refused(copy: Path) -> None:
    bundle = bundles.load(copy)
    data = bytearray(bundle.weights_path.read_bytes())
    data[-100] ^= 1
    bundle.weights_path.write_bytes(data)
    with pytest.raises(BundleError, match="changed or damaged"):
        bundle.state()


def test_an_edited_manifest_is_refused(copy: Path) -> None:
    fields = _fields(copy)
    fields["intended_use"]["age_max_years"] = 99.0
    _write(copy, fields, sealed=False)
    with pytest.raises(BundleError, match="its own digest"):
        bundles.load(copy)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "background.safetensors"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        bundles.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "newer"),
        ({"surprise": 1}, "surprise"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature|NaN"),
        ({"map_scale": float("nan")}, "map_scale|NaN"),
        ({"name": "../elsewhere"}, "name"),
        ({"batch_norm": False}, "contradict"),
        ({"classes": []}, "classes"),
        ({"background_size": 9}, "background"),
    ],
)
def test_a_sealed_but_wrong_manifest_is_refused(copy: Path, change: dict[str, Any], message: str) -> None:
    fields = _fields(copy) | change
    try:
        _write(copy, fields, sealed=True)
    except ValueError:  # NaN has no digest
        _write(copy, fields, sealed=False)
    with pytest.raises(BundleError, match=message):
        bundles.load(copy)


def test_another_preprocessing_than_this_one_is_refused(copy: Path) -> None:
    fields = _fields(copy)
    fields["preprocessing"]["mean"] = [0.5, 0.5, 0.5]
    _write(copy, fields, sealed=True)
    with pytest.raises(BundleError, match="preprocessing"):
        bundles.load(copy)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe", b'{"format": 1', b"[" * 100_000])
def test_what_is_no_manifest_is_refused(copy: Path, text: bytes) -> None:
    (copy / "model.json").write_bytes(text)
    with pytest.raises(BundleError, match=r"model\.json"):
        bundles.load(copy)


def test_a_pickle_is_never_opened(copy: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    (copy / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    fields = _fields(copy)
    fields["weights_sha256"] = digest((copy / "model.safetensors").read_bytes())
    _write(copy, fields, sealed=True)
    with pytest.raises(BundleError, match="not a safetensors file"):
        bundles.load(copy).state()
    assert not (tmp_path / "sprung").exists()


def test_references_of_another_shape_are_refused(copy: Path) -> None:
    data = safetensors.numpy.save({"background": np.zeros((8, 32, 32), np.uint8)})
    (copy / "background.safetensors").write_bytes(data)
    fields = _fields(copy)
    fields["background_sha256"] = digest(data)
    _write(copy, fields, sealed=True)
    with pytest.raises(BundleError, match="background"):
        bundles.load(copy)


def test_one_damaged_bundle_stops_the_discovery(copy: Path) -> None:
    shutil.copytree(copy, copy.parent / "other")
    (copy / "model.safetensors").write_bytes(b"")
    with pytest.raises(BundleError, match=r"tiny-pneumonia.model\.safetensors"):
        bundles.discover(copy.parent)


def test_two_bundles_of_one_name_are_refused(copy: Path) -> None:
    shutil.copytree(copy, copy.parent / "other")
    with pytest.raises(BundleError, match="second bundle"):
        bundles.discover(copy.parent)


def test_an_empty_directory_is_no_model_directory(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no model bundle"):
        bundles.discover(tmp_path)
    with pytest.raises(BundleError, match="no such directory"):
        bundles.discover(tmp_path / "nowhere")


def test_an_update_gives_another_digest_and_keeps_the_weights(copy: Path) -> None:
    before = bundles.load(copy)
    after = bundles.update_manifest(copy, map_scale=0.25)
    assert after.manifest.map_scale == 0.25
    assert after.digest != before.digest
    assert after.manifest.weights_sha256 == before.manifest.weights_sha256
    assert bundles.load(copy).digest == after.digest


def test_an_update_with_an_unknown_field_changes_nothing(copy: Path) -> None:
    before = bundles.load(copy)
    with pytest.raises(BundleError, match="map_skale"):
        bundles.update_manifest(copy, map_skale=0.25)
    assert bundles.load(copy).digest == before.digest


def test_references_resolve_by_name_version_and_digest(model_dir: Path) -> None:
    models = bundles.discover(model_dir)
    bundle = models["tiny-severity"]
    assert bundles.resolve(models, common_pb2.ModelRef(), "tiny-severity") is bundle
    assert bundles.resolve(models, bundles.to_ref(bundle), "tiny-pneumonia") is bundle
    with pytest.raises(NotFound, match=r"no model named 'other'.*tiny-pneumonia"):
        bundles.resolve(models, common_pb2.ModelRef(name="other"), "tiny-severity")
    with pytest.raises(PreconditionFailed, match="version"):
        bundles.resolve(models, common_pb2.ModelRef(name=bundle.name, version="9"), "")
    pinned = common_pb2.ModelRef(name=bundle.name, digest=models["tiny-pneumonia"].digest)
    with pytest.raises(PreconditionFailed, match="digest"):
        bundles.resolve(models, pinned, "")


def test_the_api_sees_the_whole_bundle(model_dir: Path) -> None:
    bundle = bundles.load(model_dir / "tiny-severity")
    model = bundles.to_proto(bundle, "tiny-severity")
    assert model.ref.digest == bundle.digest
    assert [(c.index, c.name, c.code.value, c.code.scheme) for c in model.classes] == [
        (0, "mild", "255604002", "SCT"),
        (1, "medium", "6736007", "SCT"),
        (2, "severe", "24484000", "SCT"),
    ]
    assert list(model.intended_use.subjects) == ["phantom"]
    assert not model.intended_use.HasField("age_min_years")
    assert (model.input_height, model.input_width, model.background_size) == (224, 224, 8)
    assert model.is_default
    assert not bundles.to_proto(bundle, "tiny-pneumonia").is_default


RECIPE = {"strategy": "kmeans", "count": 8, "seed": 0, "smallest": 50, "holds_patient_films": False}


def test_a_bundle_from_before_recipes_keeps_its_digest(model_dir: Path, copy: Path) -> None:
    before = bundles.load(copy)
    assert before.manifest.background_recipe is None
    assert "background_recipe" not in _fields(copy)
    assert bundles.update_manifest(copy).digest == before.digest == bundles.load(model_dir / "tiny-pneumonia").digest


def test_a_recipe_is_part_of_the_digest_and_comes_back(copy: Path) -> None:
    before = bundles.load(copy)
    after = bundles.update_manifest(copy, background_recipe=RECIPE | {"classes": ["normal", "pneumonia"] * 4})
    assert after.digest != before.digest
    recipe = bundles.load(copy).manifest.background_recipe
    assert recipe is not None
    assert (recipe.strategy, recipe.smallest, recipe.classes[1]) == ("kmeans", 50, "pneumonia")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 7}, "other references"),
        ({"classes": ["normal"]}, "other references"),
        ({"classes": ["covid"] * 8}, "lacks"),
        ({"strategy": "guesswork"}, "strategy"),
        ({"surprise": 1}, "surprise"),
        ({"smallest": 0}, "smallest"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(copy: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        bundles.update_manifest(copy, background_recipe=RECIPE | change)


def test_other_references_leave_the_weights_alone(copy: Path, tmp_path: Path) -> None:
    before = bundles.load(copy)
    references = before.background()[:3] // 2
    after = bundles.replace_background(copy, tmp_path / "other", references, map_scale=0.5)
    np.testing.assert_array_equal(after.background(), references)
    assert (after.manifest.background_size, after.manifest.map_scale) == (3, 0.5)
    assert after.digest != before.digest
    assert after.weights_path.read_bytes() == before.weights_path.read_bytes()
    assert bundles.load(copy).digest == before.digest, "the original stays"
    assert bundles.replace_background(copy, copy, references).digest == bundles.load(copy).digest != before.digest


def test_references_that_do_not_fit_write_nothing(copy: Path, tmp_path: Path) -> None:
    for references in (np.zeros((2, 32, 32), np.uint8), np.zeros((2, 224, 224), np.float32)):
        with pytest.raises(BundleError, match="uint8"):
            bundles.replace_background(copy, tmp_path / "other", references)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="map_skale"):
        bundles.replace_background(copy, tmp_path / "other", np.zeros((2, 224, 224), np.uint8), map_skale=1.0)
    assert not (tmp_path / "other").exists()
