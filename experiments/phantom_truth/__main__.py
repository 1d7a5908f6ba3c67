"""The command line of the experiment; see the package."""

from __future__ import annotations

import time
from pathlib import Path

import typer
from PIL import Image
from rich.console import Console
from rich.progress import track

from experiments.phantom_truth.report import write
from experiments.phantom_truth.run import LABEL, TARGETS, Judged, Shown, judge
from experiments.phantom_truth.sheet import draw
from experiments.phantom_truth.summary import summarise
from vidi.bundle import discover
from vidi.errors import NotFound
from vidi.phantoms import cohort
from vidi.settings import default_model_dir
from vidi_explainer.engine import open_engine

#: Cohort of the explained phantoms; no model is trained, tuned, tested or scaled on it.
FILMS_SEED = 9401
#: Films on the contact sheet: the cohort's first ones, none chosen.
SHOWN = 8


def main(
    output: Path = typer.Option(..., "--output", "-o", help="Folder of phantom_truth.json, .md and .png."),
    model: str = typer.Option("severity-phantom", "--model", help=f"Bundle name; it has the class {LABEL}."),
    model_dir: Path | None = typer.Option(None, "--model-dir", help="Where bundles lie; else the starter bundles."),
    films: int = typer.Option(40, "--films", min=1, help="Severe phantoms to explain."),
    engine: str = typer.Option("deepshap", "--engine", help="Explainer engine."),
    seed: int = typer.Option(0, "--seed", min=0, max=1 << 30, help="Seed of the random maps and of the bootstrap."),
) -> None:
    """Measure whether the map of class severe lies where the opacity was drawn."""
    began = time.monotonic()
    bundles = discover(model_dir or default_model_dir())
    if model not in bundles:
        raise NotFound("model", model, hint="found: " + ", ".join(sorted(bundles)))
    bundle = bundles[model]
    if LABEL not in bundle.class_names:
        raise typer.BadParameter(f"{model} has no class {LABEL}: it has {', '.join(bundle.class_names)}")
    opened = open_engine(engine, bundle)
    phantoms = track(cohort(films, FILMS_SEED, {LABEL: 1.0}), "explaining", films, console=Console(stderr=True))
    judged, shown = list[Judged](), list[tuple[Judged, Shown]]()
    for film, picture in judge(bundle, opened, phantoms, seed=seed):
        judged.append(film)
        if len(shown) < SHOWN:
            shown.append((film, picture))
    about = {
        "model": f"{bundle.name} {bundle.version} ({bundle.digest})",
        "engine": f"{opened.name} {opened.version} ({opened.precision})",
        "films": f"{films} severe phantoms of cohort seed {FILMS_SEED}",
        "right": sum(film.favours == LABEL for film in judged),
        "seed": seed,
        "seconds": round(time.monotonic() - began),
    }
    summaries = {target.kind: summarise(judged, target.kind, seed=seed) for target in TARGETS}
    for path in write(output, about, judged, summaries):
        typer.echo(path)
    sheet = output / "phantom_truth.png"
    Image.fromarray(draw(shown, model=f"{bundle.name} {bundle.version}", scale=bundle.manifest.map_scale)).save(sheet)
    typer.echo(sheet)


if __name__ == "__main__":
    typer.run(main)
