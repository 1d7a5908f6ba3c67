"""Commands of the classifier: `vidi train` and `vidi evaluate`. Light to import."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

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
