"""The network that is measured: a trained full-width VGG-19, made once into a folder that is kept between runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import vidi
from vidi.bundle import Bundle, load, write_bundle
from vidi.errors import BundleError, InvalidInput
from vidi.imaging.preprocess import Preprocessing
from vidi.manifest import IntendedUse, Metric, ModelClass, PreprocessingSpec, SplitRule
from vidi.models import vgg19
from vidi.models.save import compact_state
from vidi.models.tiny import SEVERITIES
from vidi.settings import CommonSettings
from vidi_explainer.bench import trunk
from vidi_explainer.bench.films import ALIKE, HELD_OUT_SEED, TRAINING_SEED, labelled, references
from vidi_explainer.bench.training import Plan, accuracy, fine_tune

#: Changes with whatever changes the network or its references: an older one in the cache is made anew.
VERSION = "1"
REFERENCES = 64
#: The benchmark's classes by their number.
CLASSES: dict[int, tuple[ModelClass, ...]] = {2: (SEVERITIES[0], SEVERITIES[2]), 3: SEVERITIES}


def default_cache() -> Path:
    """Where networks are kept: under VIDI_DATA_DIR, .state of a source checkout, or the user's data folder."""
    settings = CommonSettings()
    checkout = Path(vidi.__file__).resolve().parent.parent
    if "data_dir" not in settings.model_fields_set and (checkout / "pyproject.toml").is_file():
        return checkout / ".state" / "bench"
    return settings.data_dir / "bench"


def trained(cache: Path, classes: int, plan: Plan | None = None) -> Bundle:
    """Return the trained network, from the cache or made now (some minutes; progress on standard error).

    Parameters
    ----------
    cache
        Where it is kept.
    classes
        2 (mild, severe) or 3 (mild, medium, severe).
    plan
        How it is fine-tuned; None: the defaults.

    Raises
    ------
    InvalidInput
        When there is no such number of classes.
    PreconditionFailed
        When the trained trunk cannot be got.
    """
    if classes not in CLASSES:
        raise InvalidInput(f"the benchmark's network has {' or '.join(map(str, CLASSES))} classes", field="classes")
    path = cache / f"vgg19-{classes}-classes"
    bundle = _kept(path, VERSION)
    return bundle if bundle is not None else _make(path, cache, CLASSES[classes], plan or Plan())


def with_references(bundle: Bundle, count: int, cache: Path) -> Bundle:
    """Return a bundle with the first `count` references only, kept in `cache`.

    Raises
    ------
    InvalidInput
        When the bundle has fewer.
    """
    all_of_them = bundle.background()
    if count > len(all_of_them):
        raise InvalidInput(f"{bundle.name} has {len(all_of_them)} references, not {count}", field="references")
    if count == len(all_of_them):
        return bundle
    path = cache / f"{bundle.name}-{count}-references"
    kept = _kept(path, bundle.version)
    same_weights = kept is not None and kept.manifest.weights_sha256 == bundle.manifest.weights_sha256
    if kept is not None and same_weights and np.array_equal(kept.background(), all_of_them[:count]):
        return kept
    fields = bundle.manifest.model_dump(
        exclude={"digest", "weights_sha256", "background_sha256", "background_size", "background_description"}
    )
    description = f"The first {count} of: {bundle.manifest.background_description}"
    return write_bundle(
        path,
        state=bundle.state(),
        background=all_of_them[:count],
        fields={**fields, "background_description": description},
    )


def _kept(path: Path, version: str) -> Bundle | None:
    try:
        bundle = load(path)
    except BundleError:
        return None
    return bundle if bundle.version == version else None


def _make(path: Path, cache: Path, classes: tuple[ModelClass, ...], plan: Plan) -> Bundle:
    blocks = trunk.read(trunk.fetch(cache))
    preprocessing = Preprocessing()
    names = tuple(c.name for c in classes)
    training = labelled(plan.films, TRAINING_SEED, names, preprocessing)
    held_out = labelled(plan.held_out, HELD_OUT_SEED, names, preprocessing)
    network = vgg19(len(classes), head="gap")
    trunk.load_into(network.features, blocks, preprocessing)
    fine_tune(network, training, preprocessing, plan)
    state = compact_state(network)
    # Measured on what is stored, whose weights are rounded.
    network.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    share = accuracy(network, held_out, preprocessing)
    return write_bundle(
        path,
        state=state,
        background=references(training.grids, REFERENCES),
        fields={
            "name": path.name,
            "version": VERSION,
            "arch": "vgg19",
            "width": 1.0,
            "batch_norm": False,
            "head": "gap",
            "classes": classes,
            "preprocessing": PreprocessingSpec.of(preprocessing),
            "intended_use": IntendedUse(
                statement="Measurements of ViDi's explainer only: it learned from drawings, nothing about patients.",
                source_population="Synthetic chest films drawn by vidi.phantoms; no patients",
                subjects=("phantom",),
            ),
            "training_data": (
                f"Blocks 1 to 4: the VGG-16 trunk of {trunk.PACKAGE} {trunk.VERSION}, deepened. Block 5 and the head: "
                f"fine-tuned on {plan.films} synthetic chest films (vidi.phantoms, cohort seed {TRAINING_SEED})"
            ),
            "training_data_licence": f"MIT ({trunk.PACKAGE}); Apache-2.0 (phantoms, drawn by this project)",
            "split": SplitRule(
                description=f"Cohorts of vidi.phantoms: seed {TRAINING_SEED} for training, {HELD_OUT_SEED} held out.",
                held_out_percent=100,
                validation_percent=0,
            ),
            "metrics": (
                Metric(name="accuracy", value=share, split=f"{plan.held_out} phantoms of cohort seed {HELD_OUT_SEED}"),
            ),
            "background_description": (
                f"{REFERENCES} references, each the mean of a training phantom and the {ALIKE - 1} most like it"
            ),
        },
    )
