"""`vidi up`, `vidi serve`: run the suite, or one service of it."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer


class ServiceName(StrEnum):
    """What `vidi serve` can run."""

    CLASSIFIER = "classifier"
    EXPLAINER = "explainer"
    CLUSTERER = "clusterer"
    GATEWAY = "gateway"
    WORKER = "worker"


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def up(
        data_dir: Path | None = typer.Option(None, "--data-dir", help="Where state lives (VIDI_DATA_DIR)."),
        model_dir: Path | None = typer.Option(None, "--model-dir", help="Where model bundles lie (VIDI_MODEL_DIR)."),
        model: str | None = typer.Option(None, "--model", help="Default model (VIDI_DEFAULT_MODEL)."),
        ephemeral: bool = typer.Option(False, "--ephemeral-ports", help="Let the system choose all ports."),
    ) -> None:
        """Run everything in one process on loopback: no Redis, PostgreSQL or docker needed. Ctrl-C stops it."""
        overrides = {"data_dir": data_dir, "model_dir": model_dir, "default_model": model}
        asyncio.run(_up(not ephemeral, {k: v for k, v in overrides.items() if v is not None}))

    @app.command()
    def serve(
        service: ServiceName = typer.Argument(..., help="Which service to run."),
        host: str | None = typer.Option(None, "--host", help="Address to listen on (VIDI_HOST)."),
        port: int | None = typer.Option(None, "--port", help="gRPC port (VIDI_PORT)."),
    ) -> None:
        """Run one service, set up by VIDI_ variables, until SIGTERM."""
        from vidi.rpc.server import serve as serve_rpc
        from vidi.service import find

        found = find(service.value)
        overrides = {k: v for k, v in {"host": host, "port": port}.items() if v is not None}
        asyncio.run(serve_rpc(found, found.settings(**overrides)))


async def _up(fixed_ports: bool, overrides: dict[str, Any]) -> None:
    import signal

    from vidi import logs
    from vidi.embedded import suite
    from vidi.settings import CommonSettings

    logs.configure(CommonSettings(**overrides))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with suite(fixed_ports=fixed_ports, **overrides) as running:
        for name, address in {**running.addresses, **running.endpoints}.items():
            typer.echo(f"{name:<12}{address}")
        typer.echo("ready; Ctrl-C stops it", err=True)
        await stop.wait()
        typer.echo("stopping", err=True)
