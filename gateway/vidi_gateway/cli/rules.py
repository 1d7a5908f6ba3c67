"""`vidi gateway rules`: check a rules file, and try it on films, without a running gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer


def register(group: typer.Typer) -> None:
    """Add the commands."""
    rules = typer.Typer(name="rules", help="Check the site's rules, and try them on films.", no_args_is_help=True)
    group.add_typer(rules)

    @rules.command()
    def check(
        file: Path = typer.Argument(..., help="Rules file (TOML)."),
        as_json: bool = typer.Option(False, "--json", help="One JSON object."),
    ) -> None:
        """Check a rules file against the settings (destinations) and the bundles of VIDI_MODEL_DIR (models)."""
        from vidi.errors import InvalidInput
        from vidi_gateway.rules import Rules
        from vidi_gateway.settings import GatewaySettings

        settings = GatewaySettings()
        try:
            loaded = Rules.load(file, settings)
            models = _intended_uses(settings.model_dir)
            loaded.check_models(models)
        except InvalidInput as e:
            wrong = [vars(v) for v in e.violations] or [{"field": "", "description": e.message}]
            typer.echo(json.dumps({"valid": False, "violations": wrong}) if as_json else e.message)
            raise typer.Exit(1) from None
        if as_json:
            typer.echo(json.dumps({"valid": True, "rules": list(loaded.names), "models": sorted(loaded.models)}))
            return
        typer.echo(f"{file.name}: in order; its destinations and models are there. Rules: {', '.join(loaded.names)}")
        for name in _unweighed(models, loaded):
            typer.echo(f"  reading order: class {name} weighs nothing")

    @rules.command("try")
    def try_films(
        films: list[Path] = typer.Argument(..., help="DICOM files."),
        file: Path | None = typer.Option(None, "--rules", "-r", help="Rules file; else VIDI_RULES_FILE."),
        source: str = typer.Option("http", "--source", help="How they would come, such as dimse:ROOM1@10.0.0.5."),
        called: str = typer.Option("", "--called", help="AE title that would be called."),
        model: str = typer.Option("", "--model", help="Model that the sender would ask for by name."),
        as_json: bool = typer.Option(False, "--json", help="One JSON object a film."),
    ) -> None:
        """Say what would happen to films, and why; nothing is sent or kept. Exit code 3: some could not be read."""
        from vidi.errors import InvalidInput
        from vidi.imaging.headers import quiet_pydicom
        from vidi_gateway.rules import Rules
        from vidi_gateway.settings import GatewaySettings

        quiet_pydicom()
        settings = GatewaySettings()
        loaded = Rules.load(file or settings.rules_file, settings)
        uses = _intended_uses(settings.model_dir)
        unreadable = False
        for path in films:
            try:
                run = _try(settings, loaded, uses, path, source, called, model)
            except (OSError, InvalidInput) as e:
                unreadable = True
                message = e.message if isinstance(e, InvalidInput) else str(e.strerror)
                typer.echo(json.dumps({"input": str(path), "error": message}) if as_json else f"{path}\n  {message}")
                continue
            if as_json:
                typer.echo(json.dumps({"input": str(path), **run.to_json()}))
            else:
                typer.echo("\n".join([str(path), *(f"  {line}" for line in run.words())]))
        if unreadable:
            raise typer.Exit(3)


def _try(settings: Any, rules: Any, uses: dict[str, Any], path: Path, source: str, called: str, model: str) -> Any:
    """Dry run of one file; the population is asked where the model's bundle is on this machine."""
    from vidi_gateway.handlers.rules import offline
    from vidi_gateway.pipeline.header import read_header
    from vidi_gateway.rules.dry_run import with_population

    header = read_header(path.read_bytes())
    run = offline(settings, rules, header, source=source, called=called, model=model)
    manifest = uses.get(run.routing.model) if run.routing else None
    return with_population(run, header, manifest.intended_use, settings.out_of_population) if manifest else run


def _intended_uses(model_dir: Path) -> dict[str, Any]:
    """Manifests of the bundles of this machine, by name."""
    from vidi.bundle import discover

    return {name: bundle.manifest for name, bundle in discover(model_dir).items()}


def _unweighed(manifests: dict[str, Any], rules: Any) -> list[str]:
    """Classes of the models that rules name which pull nothing forward, by "model: class"."""
    return [
        f"{name}: {c.name!r}"
        for name in sorted(rules.models & manifests.keys())
        for c in manifests[name].classes
        if not rules.reading_order.weight(c.name, c.code.scheme, c.code.value)
    ]
