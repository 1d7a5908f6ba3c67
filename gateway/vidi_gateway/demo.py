"""`vidi demo`: the whole way once. Films by C-STORE, DICOM results back by C-STORE, clusters at the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vidi.errors import NotFound, Unavailable
from vidi.phantoms import QUIRKS, cohort, to_dicom
from vidi_gateway.store.site_key import SiteKey

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from vidi.client import AsyncClient, Film

PATIENT_AE, PHANTOM_AE = "VIDI", "VIDI_PHANTOM"
SENDER_AE, RECEIVER_AE = "DEMO_PACS", "DEMO_STORE"
PHANTOM_MODEL = "severity-phantom"
REAL_FILM = "RG1_UNCR.dcm"
DELIVERY_SECONDS = 60.0


@dataclass
class DemoFilm:
    """A film of the demo: a name for people, its DICOM file, where it is sent, and what is known of it."""

    name: str
    path: Path
    called_ae: str
    severity: str = ""
    film_id: str = ""
    film: Film | None = None
    received: Counter[str] = field(default_factory=Counter)


def real_film() -> Path:
    """Return the chest film that PyPI's pydicom-data ships (MIT licence).

    Raises
    ------
    NotFound
        When the package is not installed.
    """
    try:
        import data_store  # what the package pydicom-data is called when imported
    except ImportError:
        raise NotFound("package", "pydicom-data", hint="install vidi[test]") from None
    found = sorted(Path(next(iter(data_store.__path__))).rglob(REAL_FILM))
    if not found:
        raise NotFound("film", REAL_FILM, hint="this pydicom-data does not hold it")
    return found[0]


def write_films(folder: Path, count: int, seed: int) -> Iterator[DemoFilm]:
    """Write the real film's name and `count` phantoms, each with another photometric quirk; yield them."""
    yield DemoFilm("real chest film", real_film(), PATIENT_AE)
    folder.mkdir(parents=True, exist_ok=True)
    for i, phantom in enumerate(cohort(count, seed)):
        quirk = QUIRKS[i % len(QUIRKS)]
        path = folder / f"phantom-{i:02d}.dcm"
        path.write_bytes(to_dicom(phantom, quirk=quirk))
        yield DemoFilm(f"phantom {i:02d} ({quirk})", path, PHANTOM_AE, severity=phantom.severity)


async def run(output: Path, count: int, seed: int) -> int:
    """Run the demo into a folder; return the exit code."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from vidi import logs
    from vidi.client import AsyncClient
    from vidi.embedded import suite
    from vidi.settings import CommonSettings
    from vidi_gateway.dimse.receiver import Receiver

    console = Console()
    logs.configure(CommonSettings(log_level="ERROR"))
    started = time.monotonic()
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    run_folder = output / time.strftime("run-%Y%m%d-%H%M%S", time.gmtime())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("drawing phantoms", total=count + 1)
        films = []
        for film in write_films(run_folder / "films", count, seed):
            films.append(film)
            progress.advance(task)
        with Receiver(run_folder / "received", RECEIVER_AE) as receiver:
            store = {"name": "demo-store", "ae_title": RECEIVER_AE, "host": "127.0.0.1", "port": receiver.port}
            overrides: dict[str, Any] = {
                "data_dir": run_folder / "state",
                "ae_title": PATIENT_AE,
                "ae_models": {PHANTOM_AE: PHANTOM_MODEL},
                "allowed_peers": f"{SENDER_AE}@127.0.0.1",
                "destinations": (store | {"kinds": ("sr", "sc", "pm")},),
                "out_of_population": "mark",
                "settle_seconds": 0.0,
            }
            async with suite(**overrides) as running, AsyncClient(gateway=running.gateway) as client:
                site_key = SiteKey.open(run_folder / "state" / "site.key")
                await _send(films, running.endpoints["dimse"], site_key, progress)
                await _wait(client, films, progress)
                delivered = await _delivered(client, films, progress)
                report = await _cluster(client, films, run_folder)
            _count_received(films, receiver.directory)
    _print(console, films, report, run_folder, time.monotonic() - started)
    return 0 if delivered and all(f.film is not None and f.film.result is not None for f in films) else 1


async def _send(films: list[DemoFilm], node: str, site_key: SiteKey, progress: Progress) -> None:
    """Send every film by C-STORE, as a PACS would: one association a called AE title."""
    from pydicom import dcmread

    from vidi_gateway.dimse.scu import Outcome
    from vidi_gateway.dimse.sender import send_files

    address = urlsplit(f"dimse://{node}")  # "AET@host:port"
    task = progress.add_task("C-STORE to the gateway", total=len(films))
    for called in (PATIENT_AE, PHANTOM_AE):
        batch = [f for f in films if f.called_ae == called]
        for film in batch:
            header = dcmread(film.path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
            film.film_id = site_key.film_id(str(header.SOPInstanceUID))
        sent = await asyncio.to_thread(
            send_files,
            [f.path for f in batch],
            str(address.hostname),
            int(address.port or 0),
            called,
            SENDER_AE,
            progress=lambda *_: progress.advance(task),
        )
        for film, answer in zip(batch, sent, strict=True):
            if answer.outcome is not Outcome.SENT:
                raise Unavailable(f"C-STORE of {film.name} failed: {answer.error or answer.status}")


async def _wait(client: AsyncClient, films: list[DemoFilm], progress: Progress) -> None:
    """Wait until every film is final."""
    task = progress.add_task("classified, explained, reported", total=len(films))
    by_id = {f.film_id: f for f in films}
    async for film in client.watch(list(by_id)):
        if film.final:
            by_id[film.film_id].film = film
            progress.advance(task)


async def _delivered(client: AsyncClient, films: list[DemoFilm], progress: Progress) -> bool:
    """Wait until every result object was delivered; return whether that happened."""
    done = [f for f in films if f.film is not None and f.film.result is not None]
    task = progress.add_task("delivered to the storage SCP", total=len(done))
    deadline = time.monotonic() + DELIVERY_SECONDS
    for film in done:
        while True:
            current = await client.result(film.film_id)
            film.film = current
            states = [d.state for o in current.result.objects for d in o.deliveries] if current.result else []
            if states and all(state == "sent" for state in states):
                break
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.2)
        progress.advance(task)
    return True


async def _cluster(client: AsyncClient, films: list[DemoFilm], folder: Path) -> Path | None:
    """Cluster the phantoms that are done; write the clustering and the report."""
    labels = {f.film_id: f.severity for f in films if f.severity and f.film is not None and f.film.result is not None}
    if len(labels) < 2:
        return None
    made = await client.create_cohort(list(labels), display_name="Phantoms of known severity", labels=labels)
    outcome = await client.cluster_cohort(made.id, model=PHANTOM_MODEL)
    (folder / "clustering.json").write_text(json.dumps(outcome.to_json(), indent=1))
    report = folder / "report.html"
    report.write_bytes(outcome.report_html)
    return report


def _count_received(films: list[DemoFilm], folder: Path) -> None:
    """Count, per film, what the storage SCP received, by modality."""
    from pydicom import dcmread

    owner = {o.sop_instance_uid: f for f in films if f.film and f.film.result for o in f.film.result.objects}
    for path in folder.rglob("*.dcm"):
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "Modality"])
        film = owner.get(str(header.SOPInstanceUID))
        if film is not None:
            film.received[str(header.Modality)] += 1


def _print(console: Console, films: list[DemoFilm], report: Path | None, folder: Path, seconds: float) -> None:
    from rich.table import Table

    table = Table("film", "favours", "p", "residual", "known", "warnings", "received")
    for film in films:
        result = film.film.result if film.film else None
        if film.film is None or result is None:
            reason = f"{film.film.reason_code}: {film.film.reason}" if film.film else ""
            state = film.film.state if film.film else "lost"
            table.add_row(film.name, f"({state})", "", "", film.severity, reason, "")
            continue
        top = next(c for c in result.classes if c.name == result.prediction)
        table.add_row(
            film.name,
            result.prediction,
            f"{top.probability:.2f}",
            f"{max(c.additivity_residual for c in result.classes):.0e}",
            film.severity,
            ", ".join(w.code for w in result.warnings),
            " ".join(f"{n} {modality}" for modality, n in sorted(film.received.items())),
        )
    if not console.is_terminal:
        console.width = 160  # piped into a file there is no width to keep to
    console.print(table)
    console.print(
        "favours: the model's class with the highest probability p. residual: how far its map is from adding up."
    )
    console.print(f"{len(films)} films in {seconds:.0f} s. Results as DICOM: {folder / 'received'}", soft_wrap=True)
    if report:
        console.print(f"Clusters of the phantoms: {report}", soft_wrap=True)
    console.print("The real film is an adult's and the model learned from children: hence its warning.")
    console.print("ViDi assists; a radiologist decides. Not for diagnosis.")
