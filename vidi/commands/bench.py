"""`vidi bench`: performance as ratios, measured side by side in one run.

Services bring theirs through the entry point group `vidi.benchmarks`: functions `register(group)` that add a command
each and are as light to import as those of `vidi.commands`.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vidi.benchmarks import outcome
from vidi.errors import NotFound

if TYPE_CHECKING:
    from vidi.client import AsyncClient

GROUP = "vidi.benchmarks"
CACHED_CALLS = 300
PAIRS = 7


def register(app: typer.Typer) -> None:
    """Add the command with its own and the services' benchmarks."""
    group = typer.Typer(
        help="Measure performance as ratios against a named rival in the same run.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("rpc")(rpc)
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        entry.load()(group)
    app.add_typer(group, name="bench")


def rpc(
    model: str = typer.Option("", "--model", help="Model name; the default model otherwise."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object on standard output."),
) -> None:
    """Time cached Explain calls, and what the gateway adds to a film's time."""
    measured = outcome("rpc", asyncio.run(_rpc(model)))
    if as_json:
        typer.echo(json.dumps(measured))
        return
    for key, value in measured.items():
        typer.echo(f"{key}: {value}")


async def _rpc(model: str) -> dict[str, Any]:
    """Cached Explain over gRPC, and what the gateway adds to a film's time.

    The overhead compares, in `PAIRS` interleaved pairs of films that no cache has seen, a film's way by the gateway
    (submit, decode, gate, classify, explain, result objects) with calling classifier and explainer directly.
    """
    from vidi import logs
    from vidi.client import AsyncClient
    from vidi.embedded import suite
    from vidi.phantoms import cohort, to_dicom
    from vidi.settings import CommonSettings

    logs.configure(CommonSettings(log_level="ERROR"))
    films = list(cohort(PAIRS + 1, 11))
    with tempfile.TemporaryDirectory(prefix="vidi-bench-") as folder:
        async with suite(data_dir=Path(folder), out_of_population="mark", settle_seconds=0.0) as running:
            addresses = running.addresses
            direct = AsyncClient(classifier=addresses["classifier"], explainer=addresses["explainer"])
            async with direct, AsyncClient(gateway=running.gateway) as gateway:
                cached = await _cached(direct, films[0].grey(), model)
                ratios, seconds = [], []
                for film in films[1:]:
                    started = time.perf_counter()
                    await _through(gateway, to_dicom(film), model)
                    middle = time.perf_counter()
                    await direct.classify(film.grey(), model=model)
                    await direct.explain(film.grey(), model=model, bypass_cache=True)
                    ended = time.perf_counter()
                    ratios.append((middle - started) / (ended - middle) - 1.0)
                    seconds.append(ended - middle)
    return {
        "config": {"model": model or "default", "cached_calls": CACHED_CALLS, "pairs": PAIRS},
        "cached_p50_ms": round(statistics.median(cached) * 1e3, 3),
        "cached_p99_ms": round(statistics.quantiles(cached, n=100)[98] * 1e3, 3),
        "gateway_overhead": round(statistics.median(ratios), 4),
        "direct_seconds": round(statistics.median(seconds), 3),
    }


async def _cached(client: AsyncClient, grey: Any, model: str) -> list[float]:
    await client.explain(grey, model=model)
    times = []
    for _ in range(CACHED_CALLS):
        started = time.perf_counter()
        answer = await client.explain(grey, model=model)
        times.append(time.perf_counter() - started)
        assert answer.cache_hit
    return times


async def _through(client: AsyncClient, dicom: bytes, model: str) -> None:
    receipt = await client.submit(dicom, model=model)
    async for film in client.watch([receipt.film_id], model=model):
        if film.final and film.state != "done":
            raise NotFound("result", film.film_id, hint=f"the film ended as {film.state}: {film.reason_code}")
