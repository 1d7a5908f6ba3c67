"""The whole benchmark: the same films to both receivers, by turns, gathered into one object."""

from __future__ import annotations

import secrets
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from vidi.errors import InvalidInput, ViDiError
from vidi_gateway.bench import disk
from vidi_gateway.bench.films import Film, films
from vidi_gateway.bench.peers import Orthanc, Receiver, ViDi
from vidi_gateway.bench.sender import send

SUCCESS = 0x0000


@dataclass(frozen=True)
class Config:
    """What is measured.

    Attributes
    ----------
    films
        Films that each receiver gets in one turn; at least as many as associations.
    sides
        Heights, and widths, of the films in pixels, taken in turn; 16 bits a pixel.
    pairs
        Turns of each receiver, for each number of associations.
    associations
        Numbers of associations at a time.
    directory
        Where both receivers keep their state: on the disk that is to be measured. None: the system's temporary folder.
    database_url
        ViDi's journal in PostgreSQL; "": in SQLite.
    """

    films: int = 48
    sides: tuple[int, ...] = (1536, 1760, 2048)
    pairs: int = 7
    associations: tuple[int, ...] = (1, 8)
    directory: Path | None = None
    database_url: str = ""


@dataclass(frozen=True)
class Turn:
    """One receiver's turn: films a second, and processor time of receiver and sender in seconds a film."""

    rate: float
    association_seconds: float
    receiver_cpu: float | None
    sender_cpu: float


def measure(config: Config) -> dict[str, Any]:
    """Measure everything; progress goes to standard error.

    Returns
    -------
    The benchmark's part of `vidi bench ingest --json`.

    Raises
    ------
    InvalidInput
        When there are fewer films than associations.
    PreconditionFailed
        When there is no Orthanc.
    Unavailable
        When a receiver does not start, or ends an association.
    ViDiError
        When a film was not acknowledged with Success, or is not there afterwards.
    """
    if config.films < max(config.associations):
        raise InvalidInput("at least one film for each association", field="films")
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vidi-bench-", dir=config.directory)))
        cost = disk.probe(root / "probe")
        receivers: list[Receiver] = [ViDi(root / "vidi", config.database_url), Orthanc(root / "orthanc")]
        before = {}
        for receiver in receivers:
            stack.enter_context(receiver)
            before[receiver.name] = receiver.count()
        turns = _turns(receivers, config)
        sent = (1 + config.pairs) * len(config.associations) * config.films
        for receiver in receivers:
            there = receiver.count() - before[receiver.name]
            if there != sent:
                raise ViDiError(f"{receiver.name} acknowledged {sent} films, and has {there}")
        return {
            "config": _configuration(config, receivers),
            **_results(turns, config.associations),
            "films_there_afterwards": {receiver.name: sent for receiver in receivers},
            "disk": cost,
        }


def _turns(receivers: Sequence[Receiver], config: Config) -> dict[tuple[str, int], list[Turn]]:
    """Send; every other round goes backwards, so that nobody always follows the same. The first round warms up."""
    turns: dict[tuple[str, int], list[Turn]] = {}
    rounds = [(n, i) for i in range(config.pairs + 1) for n in config.associations]
    for associations, index in track(rounds, "rounds of films", console=Console(stderr=True)):
        batch = list(films(config.films, config.sides, secrets.token_hex(8)))
        for receiver in receivers if index % 2 else reversed(receivers):
            turn = _turn(receiver, batch, associations)
            if index:
                turns.setdefault((receiver.name, associations), []).append(turn)
    return turns


def _turn(receiver: Receiver, batch: Sequence[Film], associations: int) -> Turn:
    cpu = receiver.cpu_seconds()
    sent = send(batch, receiver.port, receiver.ae_title, associations)
    after = receiver.cpu_seconds()
    if sent.statuses != {SUCCESS: len(batch)}:
        raise ViDiError(f"{receiver.name} did not take all films: {sent.statuses}")
    used = None if cpu is None or after is None else (after - cpu) / len(batch)
    return Turn(len(batch) / sent.seconds, sent.association_seconds, used, sent.cpu_seconds / len(batch))


def _results(turns: dict[tuple[str, int], list[Turn]], associations: Sequence[int]) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    for number in associations:
        suffix = "" if number == 1 else f"_{number}"
        ours, theirs = turns[ViDi.name, number], turns[Orthanc.name, number]
        ratios = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
        measured[f"films_per_second{suffix}"] = _median([t.rate for t in ours])
        measured[f"orthanc_films_per_second{suffix}"] = _median([t.rate for t in theirs])
        # What slows a whole round down falls out of its ratio.
        measured[f"ratio_vs_orthanc{suffix}"] = _median(ratios)
        measured[f"details{suffix}"] = {
            "ratios": [round(r, 2) for r in ratios],
            **{name: _details(found) for name, found in ((ViDi.name, ours), (Orthanc.name, theirs))},
        }
    return measured


def _details(turns: Sequence[Turn]) -> dict[str, Any]:
    cpu = [t.receiver_cpu for t in turns if t.receiver_cpu is not None]
    return {
        "films_per_second": [round(t.rate, 1) for t in turns],
        "association_seconds": _median([t.association_seconds for t in turns]),
        "receiver_cpu_seconds_per_film": _median(cpu) if cpu else None,
        "sender_cpu_seconds_per_film": _median([t.sender_cpu for t in turns]),
    }


def _median(values: Sequence[float]) -> float:
    return float(f"{statistics.median(values):.4g}")


def _configuration(config: Config, receivers: Sequence[Receiver]) -> dict[str, Any]:
    return {
        "films_per_turn": config.films,
        "film_sides": list(config.sides),
        "film_megabytes": [round(2 * side * side / 1e6, 1) for side in config.sides],
        "pairs": config.pairs,
        "associations": list(config.associations),
        "sender": "a C-STORE SCU with films encoded beforehand; associations are open before the clock starts",
        "transfer_syntax": "explicit VR little endian",
        "receivers": {receiver.name: {"version": receiver.version(), **receiver.config()} for receiver in receivers},
        "libraries": {name: version(name) for name in ("pynetdicom", "pydicom", "sqlalchemy")},
    }
