"""Commands of the explainer: `vidi map-scale`. Light to import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from vidi.bundle import Bundle
    from vidi_explainer.map_scale import Scale
    from vidi_explainer.settings import ExplainerSettings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("map-scale")(map_scale)


def map_scale(
    model: str = typer.Option("", "--model", help="Bundle name; the default model otherwise."),
    data: Path | None = typer.Option(
        None, "--data", help="Directory with manifest.csv and images/: films that the model was not trained on."
    ),
    films: int = typer.Option(60, "--films", min=1, help="Films taken from --data, one a patient."),
    phantoms: int = typer.Option(0, "--phantoms", min=0, help="Phantoms to draw, in place of --data."),
    model_dir: Path | None = typer.Option(None, "--model-dir", help="Where bundles lie; VIDI_MODEL_DIR otherwise."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Measure only; leave the bundle as it is."),
) -> None:
    """Measure the fixed colour scale of a model's maps and write it into its bundle (which gets a new digest)."""
    if (data is None) == (phantoms == 0):
        raise typer.BadParameter("give either --data or --phantoms")
    from vidi.bundle import discover
    from vidi.errors import NotFound
    from vidi_explainer.settings import ExplainerSettings

    settings = ExplainerSettings() if model_dir is None else ExplainerSettings(model_dir=model_dir)
    bundles = discover(settings.model_dir)
    name = model or settings.default_model
    if name not in bundles:
        raise NotFound("model", name, hint="loaded: " + ", ".join(sorted(bundles)))
    scale = _measure(bundles[name], settings, data, films, phantoms)
    typer.echo(
        f"{name}: map scale {scale.value:.4g} logits a pixel over {scale.films} films; "
        f"largest additivity residual {scale.worst_residual:.1e}"
    )
    if not dry_run:
        from vidi.bundle import update_manifest

        done = update_manifest(bundles[name].path, map_scale=float(f"{scale.value:.4g}"))
        typer.echo(f"{done.path}: {done.name} {done.version} {done.digest}")


def _measure(bundle: Bundle, settings: ExplainerSettings, data: Path | None, films: int, phantoms: int) -> Scale:
    from rich.console import Console
    from rich.progress import track

    from vidi_explainer.engine import open_engine
    from vidi_explainer.map_scale import measure, phantom_films, read_films, unseen_films
    from vidi_explainer.options import engine_options

    if data is not None:
        count, source = films, read_films(unseen_films(data, bundle.manifest.split, films))
    else:
        count, source = phantoms, phantom_films(phantoms)
    engine = open_engine(settings.explainer_engine, bundle, engine_options(settings))
    return measure(
        engine, bundle, track(source, f"explaining {count} films", total=count, console=Console(stderr=True))
    )
