"""`vidi classify`, `vidi explain`, `vidi cluster`: call a running suite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vidi.commands import quality
from vidi.commands.process import SOME_NOT_DONE, discover
from vidi.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vidi.client import AsyncClient, Explanation

ADDRESS = "127.0.0.1:50050"

_PATHS = typer.Argument(..., help="DICOM, PNG or JPEG films, or folders of them.", exists=True)
_MODEL = typer.Option("", "--model", help="Model name; the server's default otherwise.")
_SERVER = typer.Option(ADDRESS, "--server", help="gRPC address of a running gateway.", envvar="VIDI_SERVER")
_JSON = typer.Option(False, "--json", help="JSON on standard output.")


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def classify(paths: list[Path] = _PATHS, model: str = _MODEL, server: str = _SERVER, as_json: bool = _JSON) -> None:
        """Classify films. DICOM is decoded here: only pixels are sent."""
        _finish(asyncio.run(_each(paths, server, _classify(model), as_json)))

    @app.command()
    def explain(
        paths: list[Path] = _PATHS,
        output: Path | None = typer.Option(None, "--output", "-o", help="Folder for one NPZ file a film."),
        assess: bool = typer.Option(
            False, "--quality", help="Measure how good each explanation is: takes as long as some ten explanations."
        ),
        seed: int = typer.Option(0, "--seed", min=0, help="Seed of all randomness of --quality."),
        model: str = _MODEL,
        server: str = _SERVER,
        as_json: bool = _JSON,
    ) -> None:
        """Explain films: the exact float32 map of every class, as NPZ; or say how good the explanation is; or both."""
        if output is None and not assess:
            raise typer.BadParameter("give --output, or --quality, or both")
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
        _finish(asyncio.run(_each(paths, server, _explain(model, output, seed if assess else None), as_json)))

    @app.command()
    def cluster(
        paths: list[Path] = _PATHS,
        k: int = typer.Option(0, "--k", min=0, help="Number of clusters; 0: chosen by a sweep."),
        seed: int = typer.Option(0, "--seed", min=0, help="Seed of all randomness."),
        model: str = _MODEL,
        server: str = _SERVER,
        as_json: bool = _JSON,
    ) -> None:
        """Explain films and cluster their explanations; the clustering is kept by the server."""
        _finish(asyncio.run(_cluster(paths, server, model, k, seed, as_json)))


def read_pixels(path: Path) -> npt.NDArray[np.float32]:
    """Read a film's pixels, float32 (height, width) in 0..1; headers stay here.

    Raises
    ------
    UnreadableImage
        When it is neither DICOM, PNG nor JPEG, or cannot be decoded.
    """
    from vidi.imaging.encoded import decode_encoded

    data = path.read_bytes()
    if data[128:132] == b"DICM":
        from vidi.imaging.dicom import decode_dicom

        return decode_dicom(data).pixels
    return decode_encoded(data)


Call = Callable[["AsyncClient", Path], Coroutine[Any, Any, dict[str, Any]]]


def _classify(model: str) -> Call:
    async def call(client: AsyncClient, path: Path) -> dict[str, Any]:
        outcome = await client.classify(read_pixels(path), model=model)
        return {
            "model": outcome.model.name,
            "prediction": outcome.top_name,
            "probabilities": {s.name: s.probability for s in outcome.scores},
            "calibrated": outcome.calibrated,
        }

    return call


def _explain(model: str, output: Path | None, seed: int | None) -> Call:
    """Explain into a folder, unless None; assess with a seed, unless None."""

    async def call(client: AsyncClient, path: Path) -> dict[str, Any]:
        film = read_pixels(path)
        line: dict[str, Any] = {}
        if output is not None:
            line |= _saved(await client.explain(film, model=model), output / f"{path.stem}.npz")
        if seed is not None:
            assessment = await client.assess(film, model=model, seed=seed)
            line |= {"model": assessment.model.name, "quality": assessment.to_json()}
        return line

    return call


def _saved(outcome: Explanation, file: Path) -> dict[str, Any]:
    import numpy as np

    maps = {f"map_{a.name}": a.map for a in outcome.attributions}
    np.savez_compressed(file, attribution_vector=outcome.attribution_vector, **maps)  # type: ignore[arg-type]
    return {
        "model": outcome.model.name,
        "favorable": {a.name: a.favorable_sum for a in outcome.attributions},
        "glum": {a.name: a.glum_sum for a in outcome.attributions},
        "additivity_residual": {a.name: a.additivity_residual for a in outcome.attributions},
        "cache_hit": outcome.cache_hit,
        "maps": str(file),
    }


async def _each(paths: Iterable[Path], server: str, call: Call, as_json: bool) -> int:
    """Call for every film, one line each; return how many failed."""
    from vidi.client import AsyncClient

    failed = 0
    async with AsyncClient(gateway=server) as client:
        for path in discover(paths):
            try:
                line = {"input": str(path), "status": "done", "reason": "", **await call(client, path)}
            except InvalidInput as error:
                line = {"input": str(path), "status": "refused", "reason": f"{error.reason}: {error}"}
            failed += line["status"] != "done"
            typer.echo(json.dumps(line) if as_json else _plain(line))
    return failed


def _plain(line: dict[str, Any]) -> str:
    if line["status"] != "done":
        return f"{line['input']}: {line['status']}: {line['reason']}"
    if "probabilities" in line:
        scores = ", ".join(f"{name} {p:.3f}" for name, p in line["probabilities"].items())
        return f"{line['input']}: model favours {line['prediction']} ({scores}); not for diagnosis"
    parts = []
    if "favorable" in line:
        favorable, glum = line["favorable"], line["glum"]
        sums = ", ".join(f"{name} {favorable[name]:+.2f} {glum[name]:+.2f}" for name in favorable)
        parts.append(f"{line['input']}: favorable and glum logits: {sums}; {line['maps']}")
    if "quality" in line:
        parts.append(f"{line['input']}: {quality.table(line['quality'])}")
    return "\n".join(parts)


async def _cluster(paths: Iterable[Path], server: str, model: str, k: int, seed: int, as_json: bool) -> int:
    import numpy as np
    from rich.progress import track

    from vidi.client import AsyncClient

    films = discover(paths)
    failed: list[str] = []
    explained: dict[str, Explanation] = {}
    labels: list[str] = []
    async with AsyncClient(gateway=server) as client:
        for path in track(films, "explaining", disable=as_json):
            try:
                explained[str(path)] = explanation = await client.explain(read_pixels(path), model=model)
            except InvalidInput as error:
                failed.append(str(path))
                typer.echo(f"{path}: {error.reason}: {error}", err=True)
                continue
            labels.append(explanation.attributions[int(np.argmax(explanation.logits))].name)
        if len(explained) < 2:
            raise NotFound("cohort", f"{len(explained)} films", hint="clustering needs at least two explained films")
        ids = [f"film-{i:06d}" for i in range(len(explained))]
        vectors = np.stack([e.attribution_vector for e in explained.values()])
        provenance = next(iter(explained.values())).provenance
        if not k:
            sweep = await client.sweep_k(
                vectors, provenance, ids=ids, labels=labels, label_source="predicted", seed=seed
            )
            k = sweep.recommended_k
            typer.echo(f"k = {k}: {sweep.reason}", err=True)
        fitted = await client.fit(vectors, provenance, k=k, ids=ids, labels=labels, label_source="predicted", seed=seed)
    if as_json:
        typer.echo(json.dumps({**fitted.to_json(), "films": dict(zip(ids, explained, strict=True))}))
    else:
        names = dict(zip(ids, explained, strict=True))
        typer.echo(f"clustering {fitted.id}: {fitted.count} films in {fitted.k} clusters; favoured classes as labels")
        for cluster in fitted.clusters:
            mix = ", ".join(f"{count} {label}" for label, count in cluster.labels)
            typer.echo(f"  {cluster.index}: {cluster.size} films ({mix}); typical: {names[cluster.medoid_ids[0]]}")
    return len(failed)


def _finish(failed: int) -> None:
    if failed:
        raise typer.Exit(SOME_NOT_DONE)
