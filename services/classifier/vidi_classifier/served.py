"""`vidi evaluate`: labelled films through a served model, over gRPC."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from vidi import bundle as bundles
from vidi import logs
from vidi.bundle import Bundle
from vidi.client import AsyncClient, ModelRef
from vidi.errors import InvalidInput, NotFound, UnreadableImage
from vidi.rpc.server import running
from vidi_classifier.evaluation import Selection, select, summarise
from vidi_classifier.films import LabelledFilm, Task, read_films
from vidi_classifier.service import SERVICE


async def evaluate_served(
    model: str, data: Path, task: Task, dataset: str, server: str, include_trained: bool, resamples: int = 1000
) -> dict[str, Any]:
    """Evaluate a served model.

    The split rule comes from the bundle in `VIDI_MODEL_DIR`, and its digest is pinned in every call: the model that
    answers is the one whose training patients are left out.

    Parameters
    ----------
    model
        Name; "": the default model.
    data, task, dataset
        See `vidi_classifier.films.read_films`.
    server
        Address of a running classifier or gateway; "": a classifier is started for this.
    include_trained
        Whether films of patients trained on count too.
    resamples
        Of the bootstrap that gives the intervals.

    Returns
    -------
    `vidi_classifier.evaluation.summarise`'s object and `model`, `version`, `digest`, `dataset`, `calibrated`, `failed`
    (films without an answer), `seconds`.

    Raises
    ------
    NotFound
        When the model is not there.
    InvalidInput
        When the films do not fit the task or the model.
    PreconditionFailed
        When the server has another model of that name.
    """
    settings = SERVICE.settings()
    # Standard output is the result's.
    logs.configure(settings.model_copy(update={"log_level": "WARNING"}))
    bundle = _bundle(settings.model_dir, model or settings.default_model)
    selection = select(read_films(data, task, dataset), bundle.manifest.split, include_trained=include_trained)
    start = time.perf_counter()
    async with _classifier(server) as address, AsyncClient(classifier=address) as client:
        answers = await _answers(client, bundle, selection.films)
    seconds = time.perf_counter() - start
    answered = [i for i in range(len(selection.films)) if i in answers]
    if not answered:
        raise UnreadableImage(f"none of {len(selection.films)} films got an answer", field="data")
    kept = Selection(
        tuple(selection.films[i] for i in answered), tuple(selection.parts[i] for i in answered), selection.left_out
    )
    probabilities = np.array([answers[i] for i in answered], np.float64)
    return {
        "model": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest,
        "dataset": dataset or "all",
        "calibrated": bundle.manifest.calibrated,
        "failed": len(selection.films) - len(answered),
        "seconds": seconds,
        **summarise(kept, probabilities, bundle.class_names, task, bundle.manifest.split, resamples=resamples),
    }


async def _answers(client: AsyncClient, bundle: Bundle, films: Sequence[LabelledFilm]) -> dict[int, list[float]]:
    """Probabilities by film index; films without an answer are missing, and said so."""
    console = Console(stderr=True)
    ref = ModelRef(bundle.name, bundle.version, bundle.digest)
    found: dict[int, list[float]] = {}
    with Progress(console=console) as progress:
        bar = progress.add_task("classifying", total=len(films))
        async for answer in client.classify_many([film.path for film in films], model=ref):
            try:
                found[answer.index] = [score.probability for score in answer.unwrap().scores]
            except (InvalidInput, NotFound) as error:
                if isinstance(error, NotFound) and error.kind != "file":
                    raise
                progress.console.print(f"{films[answer.index].path.name}: {error}", markup=False)
            progress.advance(bar)
    return found


@asynccontextmanager
async def _classifier(server: str) -> AsyncIterator[str]:
    if server:
        yield server
        return
    async with running(SERVICE, SERVICE.settings(port=0)) as started:
        yield started.address


def _bundle(model_dir: Path, name: str) -> Bundle:
    found = bundles.discover(model_dir)
    if name not in found:
        raise NotFound("model", name, hint="in VIDI_MODEL_DIR: " + ", ".join(sorted(found)))
    return found[name]
