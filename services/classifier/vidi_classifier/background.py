"""Other DeepSHAP references for a bundle: the films that its model learned from, and the bundle that follows."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np

from vidi.background import Films, References
from vidi.bundle import Bundle, replace_background
from vidi.errors import InvalidInput, PreconditionFailed
from vidi.settings import default_model_dir
from vidi_classifier.films import TASK_CLASSES, divide, read_films
from vidi_classifier.training.card import card
from vidi_classifier.training.grids import read_grids
from vidi_classifier.training.severity import CLASSES, TRAINING_SEED, phantoms

_SUFFIX = re.compile(r"-bg[0-9a-f]{8}$")


def training_films(bundle: Bundle, data: Path) -> Films:
    """Read the films of the patients that a model was trained on; never those held out or in validation.

    Parameters
    ----------
    bundle
        The model; its classes say which task the labels are of, its split rule who was trained on.
    data
        Directory with manifest.csv and images/, see `vidi_classifier.films`.

    Raises
    ------
    InvalidInput
        When no task has the model's classes, or none of the films was trained on.
    UnreadableImage
        When a file is no film.
    """
    names, rule = bundle.class_names, bundle.manifest.split
    task = next((task for task, classes in TASK_CLASSES.items() if set(classes) == set(names)), None)
    if task is None:
        raise InvalidInput(f"{bundle.name}: films are not labelled with its classes {', '.join(names)}", field="data")
    films = [film for film in read_films(data, task) if film.dataset in rule.datasets]
    films = [film for film, part in zip(films, divide(films, rule), strict=True) if part == "training"]
    if not films:
        raise InvalidInput(f"{data}: holds no film that {bundle.name} was trained on", field="data")
    grids = read_grids([film.path for film in films], bundle.preprocessing, what="training films")
    return Films(grids, np.array([names.index(film.label) for film in films], np.int64), names, patients=True)


def training_phantoms(bundle: Bundle, count: int) -> Films:
    """Draw phantoms of the cohort that a phantom model was trained on.

    Raises
    ------
    InvalidInput
        When the model did not learn from this project's phantoms.
    """
    names = tuple(c.name for c in CLASSES)
    if bundle.manifest.intended_use.subjects != ("phantom",) or bundle.class_names != names:
        raise InvalidInput(f"{bundle.name} did not learn from phantoms of {', '.join(names)}", field="phantoms")
    drawn = phantoms(count, TRAINING_SEED, bundle.preprocessing)
    return Films(drawn.grids, drawn.labels, names, patients=False)


def rewrite(bundle: Bundle, references: References, output: Path, command: str) -> Bundle:
    """Write a bundle with other references and a card that says so.

    The version gets a suffix that follows from the references. The map scale is dropped: it was measured with the old
    ones, and maps against others are of another size.

    Parameters
    ----------
    bundle
        The bundle as it is.
    references
        The new references, on its grid.
    output
        Where the new bundle goes; `bundle.path` replaces it.
    command
        The command line that made the references, for the card.

    Raises
    ------
    PreconditionFailed
        When films of patients would go among the bundles that ship with ViDi, or servers would find two bundles of one
        name.
    BundleError
        When the bundle is damaged.
    """
    shows_patients = references.recipe.holds_patient_films
    place, source = output.resolve(), bundle.path.resolve()
    if shows_patients and place.parent == default_model_dir().resolve():
        raise PreconditionFailed(f"{output}: bundles that ship with ViDi hold no films of patients")
    if place != source and place.parent == source.parent:
        raise PreconditionFailed(
            f"{output}: lies beside the bundle that it copies, and servers refuse two bundles of one name"
        )
    licence = bundle.manifest.training_data_licence
    if shows_patients:
        licence += ". NOT TO BE PASSED ON: the references of this bundle show films of patients"
    mark = hashlib.sha256(np.ascontiguousarray(references.images).data).hexdigest()[:8]
    done = replace_background(
        bundle.path,
        output,
        references.images,
        version=f"{_SUFFIX.sub('', bundle.version)}-bg{mark}",
        training_data_licence=licence,
        map_scale=0.0,
        **references.fields,
    )
    origin = f"{bundle.name} {bundle.version}, {bundle.digest}"
    (done.path / "README.md").write_text(card(done, command, origin), encoding="utf-8")
    return done
