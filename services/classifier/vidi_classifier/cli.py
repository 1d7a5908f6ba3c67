"""Commands of the classifier: `vidi train`, `vidi evaluate` and `vidi background`. Light to import."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from vidi.background import References
    from vidi.bundle import Bundle
    from vidi.manifest import BackgroundStrategy

SOME_FAILED = 3


class Task(StrEnum):
    """What `vidi evaluate` asks."""

    PNEUMONIA = "pneumonia"
    COVID = "covid"
    SEVERITY = "severity"


class PrecisionChoice(StrEnum):
    """Arithmetic of training."""

    AUTO = "auto"
    FLOAT32 = "32-true"
    BFLOAT16 = "bf16-mixed"


class Strategy(StrEnum):
    """How DeepSHAP references are made (`vidi.background`)."""

    KMEANS = "kmeans"
    KMEANS_BY_CLASS = "kmeans-by-class"
    KMEDOIDS = "kmedoids"
    SYNTHETIC = "synthetic"
    BLURRED_MEAN = "blurred-mean"


_OUTPUT = typer.Option(..., "--output", "-o", help="The bundle's directory; an old bundle there is replaced.")
_VERSION = typer.Option("1.0.0", "--bundle-version", help="Version of the bundle.")
_BATCH = typer.Option(16, "--batch", min=2, help="Films a step.")
_RATE = typer.Option(1e-3, "--learning-rate", min=1e-6, help="Peak learning rate.")
_WIDTH = typer.Option(0.25, "--width", min=0.03, max=1.0, help="Channel multiplier of VGG-19.")
_SEED = typer.Option(0, "--seed", min=0, help="Seed of all randomness.")
_THREADS = typer.Option(0, "--threads", min=0, help="Threads; 0: torch's choice.")
_PRECISION = typer.Option(PrecisionChoice.AUTO, "--precision", help="auto: bfloat16 where the processor has AMX.")
_PROGRESS = typer.Option(True, "--progress/--no-progress", help="Show progress bars.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    train = typer.Typer(no_args_is_help=True, help="Train a starter model and write its bundle (needs vidi[train]).")
    train.command("pneumonia")(train_pneumonia)
    train.command("severity-phantom")(train_severity)
    app.add_typer(train, name="train")
    app.command("evaluate")(evaluate)
    app.command("background")(background)


def train_pneumonia(
    data: Path = typer.Option(
        ..., "--data", help="Directory with manifest.csv and images/.", exists=True, file_okay=False
    ),
    output: Path = _OUTPUT,
    version: str = _VERSION,
    epochs: int = typer.Option(12, "--epochs", min=1, help="Epochs in all."),
    half_epochs: int = typer.Option(6, "--half-epochs", min=0, help="First epochs, at half the resolution."),
    batch: int = _BATCH,
    learning_rate: float = _RATE,
    width: float = _WIDTH,
    seed: int = _SEED,
    threads: int = _THREADS,
    precision: PrecisionChoice = _PRECISION,
    progress: bool = _PROGRESS,
) -> None:
    """Normal against pneumonia, from the films of the data set "kermany"."""
    from vidi_classifier.training import pneumonia
    from vidi_classifier.training.held_out import film_metrics, finish, measure_films
    from vidi_classifier.training.module import Schedule

    _threads(threads)
    bundle = pneumonia.train(
        data,
        output,
        version=version,
        schedule=Schedule(
            epochs=epochs, half_epochs=_half(half_epochs, epochs), batch=batch, learning_rate=learning_rate
        ),
        width=width,
        seed=seed,
        precision=precision.value,
        report=_say,
        progress=progress,
    )
    result = measure_films(bundle, data, "pneumonia")
    done = finish(bundle, film_metrics(result), _command("pneumonia", epochs, half_epochs, batch, seed, "--data DIR"))
    low, high = result["balanced_accuracy_ci"]
    _say(
        f"held out: {result['n']} films, balanced accuracy {result['balanced_accuracy']:.4f} ({low:.4f} to {high:.4f})"
    )
    _say(f"{done.path}: {done.name} {done.version} {done.digest}")


def train_severity(
    output: Path = _OUTPUT,
    version: str = _VERSION,
    films: int = typer.Option(720, "--films", min=400, help="Training phantoms."),
    epochs: int = typer.Option(18, "--epochs", min=1, help="Epochs in all."),
    half_epochs: int = typer.Option(11, "--half-epochs", min=0, help="First epochs, at half the resolution."),
    batch: int = _BATCH,
    learning_rate: float = _RATE,
    width: float = _WIDTH,
    seed: int = _SEED,
    threads: int = _THREADS,
    precision: PrecisionChoice = _PRECISION,
    progress: bool = _PROGRESS,
) -> None:
    """Mild, medium and severe, from synthetic films that are drawn on the spot."""
    from vidi_classifier.training import severity
    from vidi_classifier.training.held_out import finish, measure_phantoms
    from vidi_classifier.training.module import Schedule

    _threads(threads)
    bundle = severity.train(
        output,
        version=version,
        schedule=Schedule(
            epochs=epochs, half_epochs=_half(half_epochs, epochs), batch=batch, learning_rate=learning_rate
        ),
        films=films,
        width=width,
        seed=seed,
        precision=precision.value,
        report=_say,
        progress=progress,
    )
    metrics = measure_phantoms(bundle, max(300, films // 3))
    command = _command("severity-phantom", epochs, half_epochs, batch, seed, f"--films {films}")
    done = finish(bundle, metrics, command)
    for metric in metrics:
        _say(f"held out: {metric.name} {metric.value:.4f}")
    _say(f"{done.path}: {done.name} {done.version} {done.digest}")


def evaluate(
    model: str = typer.Option("", "--model", help="Model name; the default model otherwise."),
    data: Path = typer.Option(
        ..., "--data", help="Directory with manifest.csv and images/.", exists=True, file_okay=False
    ),
    task: Task = typer.Option(..., "--task", help="Which labels to ask for."),
    dataset: str = typer.Option("", "--dataset", help="Only films of this data set (manifest column dataset)."),
    server: str = typer.Option(
        "", "--server", help="Address of a running classifier or gateway; otherwise one is started."
    ),
    include_trained: bool = typer.Option(False, "--include-trained", help="Also films of patients trained on."),
    resamples: int = typer.Option(1000, "--resamples", min=20, help="Of the bootstrap that gives the intervals."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object on standard output."),
) -> None:
    """Measure a served model on films of patients that it was not trained on."""
    import asyncio

    from vidi_classifier.served import evaluate_served

    result = asyncio.run(evaluate_served(model, data, task.value, dataset, server, include_trained, resamples))
    typer.echo(json.dumps(result) if as_json else _table(result))
    if result["failed"]:
        raise typer.Exit(SOME_FAILED)


def background(
    model: str = typer.Option("", "--model", help="Bundle name; the default model otherwise."),
    strategy: Strategy = typer.Option(
        Strategy.KMEANS,
        "--strategy",
        help="Means of alike films (kmeans, kmeans-by-class), films themselves (kmedoids: of patients, for your site "
        "alone), normal phantoms (synthetic) or one blurred mean.",
    ),
    count: int = typer.Option(0, "--count", min=0, max=4096, help="References; 0: 8, or 1 for blurred-mean."),
    data: Path | None = typer.Option(
        None, "--data", help="Directory with manifest.csv and images/: films that the model was trained on."
    ),
    phantoms: int = typer.Option(0, "--phantoms", min=0, help="Training phantoms to draw, in place of --data."),
    seed: int = typer.Option(0, "--seed", min=0, max=(1 << 30) - 1, help="Seed of the strategy."),
    output: Path | None = typer.Option(
        None,
        "--output",
        "-o",
        help="Directory of the new bundle, not beside its original; an old bundle there is replaced.",
    ),
    in_place: bool = typer.Option(False, "--in-place", help="Change the bundle itself, in place of --output."),
    model_dir: Path | None = typer.Option(None, "--model-dir", help="Where bundles lie; VIDI_MODEL_DIR otherwise."),
) -> None:
    """Give a copy of a bundle other DeepSHAP references (needs vidi[train])."""
    if (output is None) != in_place:
        raise typer.BadParameter("give either --output or --in-place")
    sources = (data is not None) + (phantoms > 0)
    if sources != (strategy is not Strategy.SYNTHETIC):
        raise typer.BadParameter("give either --data or --phantoms; neither of them for synthetic")
    from vidi.bundle import discover
    from vidi.errors import NotFound
    from vidi_classifier.background import rewrite
    from vidi_classifier.settings import ClassifierSettings

    settings = ClassifierSettings() if model_dir is None else ClassifierSettings(model_dir=model_dir)
    bundles = discover(settings.model_dir)
    name = model or settings.default_model
    if name not in bundles:
        raise NotFound("model", name, hint="loaded: " + ", ".join(sorted(bundles)))
    bundle = bundles[name]
    number = count or (1 if strategy is Strategy.BLURRED_MEAN else 8)
    references = _references(bundle, strategy.value, number, data, phantoms, seed)
    source = "" if strategy is Strategy.SYNTHETIC else f" --phantoms {phantoms}" if phantoms else " --data DIR"
    command = (
        f"vidi background --model {name} --strategy {strategy} --count {number}{source} --seed {seed} --output DIR"
    )
    done = rewrite(bundle, references, output or bundle.path, command)
    typer.echo(f"references: {references.description}")
    typer.echo(f"{done.path}: {done.name} {done.version} {done.digest}")
    if references.recipe.holds_patient_films:
        typer.echo("It shows films of patients: it must not leave the site that holds them.")
    typer.echo(
        "It has no map scale: the old one was measured with other references. Measure it before use: "
        f"vidi map-scale --model-dir {done.path.parent} --model {name} (--data DIR or --phantoms 60)"
    )


def _references(
    bundle: Bundle, strategy: BackgroundStrategy, count: int, data: Path | None, phantoms: int, seed: int
) -> References:
    from vidi.background import from_films, from_phantoms
    from vidi_classifier.background import training_films, training_phantoms

    if strategy == "synthetic":
        return from_phantoms(bundle.preprocessing, count=count, seed=seed)
    films = training_films(bundle, data) if data is not None else training_phantoms(bundle, phantoms)
    return from_films(strategy, films, count=count, seed=seed)


def _table(result: dict[str, Any]) -> str:
    """Return an evaluation for people."""
    lines = [
        f"{result['model']} {result['version']}: {result['n']} films of {result['patients']} patients, "
        f"task {result['task']}, positive: {result['positive']}",
        f"left out, of patients trained on or tuned with: {result['left_out']}; without an answer: {result['failed']}",
    ]
    for name in ("balanced_accuracy", "accuracy", "auroc", "f1", "precision", "recall", "ece"):
        low, high = result[f"{name}_ci"]
        lines.append(f"{name:18} {result[name]:.4f}   95 % {low:.4f} to {high:.4f}")
    return "\n".join(lines)


def _half(half_epochs: int, epochs: int) -> int:
    """At least the last epoch runs at full resolution: only such weights are kept."""
    return min(half_epochs, epochs - 1)


def _threads(count: int) -> None:
    if count:
        import torch

        torch.set_num_threads(count)


def _command(what: str, epochs: int, half_epochs: int, batch: int, seed: int, more: str) -> str:
    words = (
        f"vidi train {what} --output DIR --epochs {epochs} --half-epochs {half_epochs} --batch {batch} --seed {seed}"
    )
    return f"{words} {more}"


def _say(line: str) -> None:
    typer.echo(line, err=True)
