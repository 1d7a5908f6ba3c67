"""The command line of the experiment; see the package."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from experiments.references.report import write
from experiments.references.run import NEAR, Grid, run
from vidi.bundle import Bundle, discover
from vidi.errors import NotFound
from vidi.phantoms import cohort
from vidi.settings import default_model_dir
from vidi_classifier.background import training_films, training_phantoms
from vidi_explainer.engine import open_engine
from vidi_explainer.map_scale import read_films, unseen_films

#: Cohort of the explained phantoms; no model is trained, tuned, tested or scaled on it.
FILMS_SEED = 9301


def main(
    output: Path = typer.Option(..., "--output", "-o", help="Folder of references.json, .md and .svg."),
    model: str = typer.Option("severity-phantom", "--model", help="Bundle name."),
    model_dir: Path | None = typer.Option(None, "--model-dir", help="Where bundles lie; else the starter bundles."),
    data: Path | None = typer.Option(
        None, "--data", help="Directory with manifest.csv and images/, for a model of patients; phantoms otherwise."
    ),
    films: int = typer.Option(20, "--films", min=1, help="Films to explain."),
    pool: int = typer.Option(720, "--pool", min=2, help="Training phantoms that references are made of."),
    largest: int = typer.Option(64, "--largest", min=2, help="References of the largest set, a power of two."),
    minimum: int = typer.Option(3, "--minimum", min=1, help="Fewest films that a centroid averages."),
    engine: str = typer.Option("deepshap", "--engine", help="Explainer engine."),
    seed: int = typer.Option(0, "--seed", min=0, max=(1 << 30) - 2, help="Seed of the sets."),
) -> None:
    """Measure how maps change with the number of references and with how they are made."""
    if largest & (largest - 1):
        raise typer.BadParameter("--largest is a power of two")
    began = time.monotonic()
    bundles = discover(model_dir or default_model_dir())
    if model not in bundles:
        raise NotFound("model", model, hint="found: " + ", ".join(sorted(bundles)))
    bundle = bundles[model]
    references = training_phantoms(bundle, pool) if data is None else training_films(bundle, data)
    opened = open_engine(engine, bundle)
    curves, between = run(
        bundle,
        references,
        _films(bundle, data, films),
        engine=engine,
        largest=largest,
        minimum=minimum,
        seed=seed,
    )
    about = {
        "model": f"{bundle.name} {bundle.version} ({bundle.digest})",
        "engine": f"{opened.name} {opened.version} ({opened.precision})",
        "films": f"{films} explained " + ("phantoms" if data is None else "films of patients not trained on"),
        "pool": f"references made of {len(references.grids)} {references.noun}",
        "minimum": minimum,
        "near": NEAR,
        "seed": seed,
        "seconds": round(time.monotonic() - began),
    }
    for path in write(output, about, curves, between):
        typer.echo(path)


def _films(bundle: Bundle, data: Path | None, count: int) -> list[Grid]:
    """Films that the model has not learned from, on its grid."""
    greys = (
        (film.grey() for film in cohort(count, FILMS_SEED))
        if data is None
        else read_films(unseen_films(data, bundle.manifest.split, count))
    )
    return [bundle.preprocessing.to_grid(grey)[0] for grey in greys]


if __name__ == "__main__":
    typer.run(main)
