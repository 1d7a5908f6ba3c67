"""The benchmark's result for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table


def tables(outcome: dict[str, Any]) -> Iterator[Table | str]:
    """Return what to print of `vidi bench ingest`, in order.

    Parameters
    ----------
    outcome
        As `--json` prints it.
    """
    config, machine = outcome["config"], outcome["machine"]
    sides = ", ".join(f"{side} x {side}" for side in config["film_sides"])
    yield (
        f"{config['films_per_turn']} films a turn ({sides}, 16 bits); medians of {config['pairs']} pairs. "
        f"{machine['cpu']}, {machine['cores']} cores."
    )
    rates = Table("associations", "ViDi, films/s", "Orthanc, films/s", "ratio", title="acknowledged by C-STORE")
    cpu = Table("associations", "ViDi", "Orthanc", "sender", title="processor time, ms a film")
    for number in config["associations"]:
        suffix = "" if number == 1 else f"_{number}"
        ours, theirs = (outcome[f"details{suffix}"][name] for name in ("vidi", "orthanc"))
        rates.add_row(
            str(number),
            f"{outcome[f'films_per_second{suffix}']:.0f}",
            f"{outcome[f'orthanc_films_per_second{suffix}']:.0f}",
            f"{outcome[f'ratio_vs_orthanc{suffix}']:.2f}",
        )
        used = [ours["receiver_cpu_seconds_per_film"], theirs["receiver_cpu_seconds_per_film"]]
        used.append(ours["sender_cpu_seconds_per_film"])
        cpu.add_row(str(number), *("" if value is None else f"{1e3 * value:.1f}" for value in used))
    yield rates
    yield cpu
    yield ", ".join(f"{name.removesuffix('_ms')} {value} ms" for name, value in outcome["disk"].items())
    for name, receiver in config["receivers"].items():
        yield f"{name} {receiver['version']}: {receiver['guarantee']}"
