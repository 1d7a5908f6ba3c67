"""`vidi process`: films in, DICOM results and pictures out, in one shot."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vidi.errors import InvalidInput, NotFound, ViDiError

if TYPE_CHECKING:
    from vidi.client import AsyncClient, Film

SUFFIXES = {".dcm", ".dicom", ".png", ".jpg", ".jpeg"}
MAX_BYTES = 64 << 20
SOME_NOT_DONE = 3


@dataclass
class Item:
    """One input and what came of it."""

    path: Path
    folder: Path
    film_id: str = ""
    line: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether results exist."""
        return bool(self.line.get("status") == "done")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def process(
        paths: list[Path] = typer.Argument(..., help="DICOM, PNG or JPEG films, or folders of them.", exists=True),
        output: Path = typer.Option(..., "--output", "-o", help="Folder for the results; made if missing."),
        model: str = typer.Option("", "--model", help="Model name; the server's default otherwise."),
        server: str = typer.Option(
            "", "--server", help="gRPC address of a running gateway; otherwise a suite is started."
        ),
        as_json: bool = typer.Option(
            False, "--json", help="One JSON object a film on standard output, then a summary."
        ),
    ) -> None:
        """Classify and explain films and write their results; with more than one film also cluster them.

        Films outside a model's intended use are marked, not refused, when the suite is started here.
        """
        output.mkdir(parents=True, exist_ok=True)
        code = asyncio.run(run(paths, output, model, server, as_json))
        if code:
            raise typer.Exit(code)


def discover(paths: Iterable[Path]) -> list[Path]:
    """Return the films named by `paths`: files as they are, folders searched for files that look like films."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = (p for p in sorted(path.rglob("*")) if p.is_file() and not p.name.startswith("."))
            found.update(dict.fromkeys(p for p in inside if p.suffix.lower() in SUFFIXES or is_part10(p)))
        else:
            found[path] = None
    return list(found)


def is_part10(path: Path) -> bool:
    """Whether a file starts as a DICOM Part 10 file does (PS3.10 section 7.1)."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_film(path: Path) -> bytes:
    """Read a film as DICOM Part 10; PNG and JPEG are wrapped in a generated DX with a pseudonymous patient.

    Raises
    ------
    UnreadableImage
        When it is neither DICOM, PNG nor JPEG, or cannot be decoded.
    InvalidInput
        When it is larger than 64 MiB.
    """
    from vidi.imaging.dx import wrap_image

    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InvalidInput(f"{size / (1 << 20):.0f} MiB; at most {MAX_BYTES >> 20} MiB are read")
    data = path.read_bytes()
    return data if data[128:132] == b"DICM" else wrap_image(data)


@asynccontextmanager
async def connected(server: str, **overrides: Any) -> AsyncIterator[AsyncClient]:
    """Yield a client of a running gateway, or of a suite with temporary state that ends with the context."""
    from vidi.client import AsyncClient

    if server:
        async with AsyncClient(gateway=server) as client:
            yield client
        return
    from vidi.embedded import suite

    with tempfile.TemporaryDirectory(prefix="vidi-") as folder:
        # Everything is here already: nothing of a study is still to come.
        settled = {"settle_seconds": 0.0} | overrides
        async with suite(data_dir=Path(folder), **settled) as running, AsyncClient(gateway=running.gateway) as client:
            yield client


async def run(paths: list[Path], output: Path, model: str, server: str, as_json: bool) -> int:
    """Process films; return the exit code."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from vidi import logs
    from vidi.settings import CommonSettings

    films = discover(paths)
    if not films:
        raise NotFound("film", ", ".join(map(str, paths)), hint="the folders hold no DICOM, PNG or JPEG file")
    logs.configure(CommonSettings(log_level="ERROR"))
    items = [Item(path, folder) for path, folder in zip(films, _folders(films, output), strict=True)]
    started = time.monotonic()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with connected(server, out_of_population="mark") as client:
        await client.model(model)  # an unknown model is said once, not for every film
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("films", total=len(items))
            async for item in _process(client, items, model):
                progress.advance(task)
                if as_json:
                    typer.echo(json.dumps(item.line))
        summary = _summary(items)
        summary |= await _cluster(client, items, model, output)
        summary["seconds"] = round(time.monotonic() - started, 3)
    if as_json:
        typer.echo(json.dumps({"summary": summary}))
    else:
        _table(items, summary)
    return 0 if summary["done"] == len(items) else SOME_NOT_DONE


async def _process(client: AsyncClient, items: list[Item], model: str) -> AsyncIterator[Item]:
    """Submit all films, then yield each as soon as it is final."""
    waiting: dict[str, list[Item]] = {}
    for item in items:
        try:
            receipt = await client.submit(read_film(item.path), model=model)
        except (ViDiError, OSError) as error:
            reason = error.reason if isinstance(error, ViDiError) else "UNREADABLE_FILE"
            message = str(error) if isinstance(error, ViDiError) else (error.strerror or "cannot be read")
            item.line = _line(item, "refused" if isinstance(error, InvalidInput) else "failed", f"{reason}: {message}")
            yield item
            continue
        if not receipt.film_id:  # not a film at all, such as a report
            item.line = _line(item, "refused", f"{receipt.reason_code}: {receipt.reason}")
            yield item
            continue
        item.film_id = receipt.film_id
        waiting.setdefault(receipt.film_id, []).append(item)
    if not waiting:
        return
    async for film in client.watch(list(waiting), model=model):
        if film.final:
            for item in waiting.pop(film.film_id, []):
                await _finish(client, item, film)
                yield item


async def _finish(client: AsyncClient, item: Item, film: Film) -> None:
    """Write a final film's results and fill in its line."""
    if film.result is None:
        status = "refused" if film.state == "refused" else "failed"
        item.line = _line(item, status, f"{film.reason_code}: {film.reason}")
        return
    item.folder.mkdir(parents=True, exist_ok=True)
    result, files, overlay = film.result, [], None
    for entry in result.objects:
        data = await client.download(film.film_id, entry.sop_instance_uid, entry.kind)
        path = item.folder / _file_name(entry.kind, entry.class_name, entry.sign)
        path.write_bytes(data)
        if entry.kind == "png":
            overlay = str(path)
        else:
            files.append(str(path))
    item.line = _line(item, "done", "") | {
        "model": result.model.name,
        "model_digest": result.model.digest,
        "prediction": result.prediction,
        "probabilities": {c.name: c.probability for c in result.classes},
        "calibrated": result.calibrated,
        "additivity_residual": {c.name: c.additivity_residual for c in result.classes},
        "warnings": [{"code": note.code, "message": note.message} for note in result.warnings],
        "cache_hit": result.cache_hit,
        "results": files,
        "overlay": overlay,
    }


def _line(item: Item, status: str, reason: str) -> dict[str, Any]:
    return {"input": str(item.path), "status": status, "reason": reason, "film_id": item.film_id}


def _file_name(kind: str, class_name: str, sign: str) -> str:
    if kind == "pm":
        return f"map-{class_name}-{sign}.dcm"
    return {"sr": "report-sr.dcm", "sc": "overlay-sc.dcm", "png": "overlay.png", "ko": "rejection-ko.dcm"}[kind]


def _folders(films: list[Path], output: Path) -> list[Path]:
    """One folder a film, named after its file; a number is added where names collide."""
    seen: Counter[str] = Counter()
    folders = []
    for film in films:
        seen[film.stem] += 1
        suffix = "" if seen[film.stem] == 1 else f"-{seen[film.stem]}"
        folders.append(output / f"{film.stem}{suffix}")
    return folders


def _summary(items: list[Item]) -> dict[str, Any]:
    counts = Counter(item.line["status"] for item in items)
    return {"films": len(items), **{status: counts[status] for status in ("done", "refused", "failed")}}


async def _cluster(client: AsyncClient, items: list[Item], model: str, output: Path) -> dict[str, str]:
    """Cluster the films that are done, when there is more than one, and write the clustering and the report."""
    film_ids = list(dict.fromkeys(item.film_id for item in items if item.done))
    if len(film_ids) < 2:
        return {}
    cohort = await client.create_cohort(film_ids, display_name="vidi process")
    outcome = await client.cluster_cohort(cohort.id, model=model)
    clustering, report = output / "clustering.json", output / "report.html"
    clustering.write_text(json.dumps(outcome.to_json(), indent=1))
    report.write_bytes(outcome.report_html)
    return {"clustering": str(clustering), "report": str(report)}


def _table(items: list[Item], summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("film", "status", "model favours", "probability", "residual", "notes")
    for item in items:
        line = item.line
        if not item.done:
            table.add_row(item.path.name, line["status"], "", "", "", line["reason"])
            continue
        top = line["prediction"]
        notes = ", ".join(w["code"] for w in line["warnings"])
        residual = max(line["additivity_residual"].values())
        table.add_row(item.path.name, "done", top, f"{line['probabilities'][top]:.3f}", f"{residual:.1e}", notes)
    console = Console(file=sys.stdout)
    console.print(table)
    counts = ", ".join(f"{summary[status]} {status}" for status in ("done", "refused", "failed"))
    console.print(f"{counts} in {summary['seconds']:.1f} s")
    if "report" in summary:
        console.print(f"report: {summary['report']}", soft_wrap=True)
    console.print("Not for diagnosis: a radiologist decides.")
