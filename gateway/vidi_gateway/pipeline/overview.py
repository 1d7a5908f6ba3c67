"""How the gateway is doing, from the journal: read at most every few seconds, for metrics and for the status."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vidi_gateway.pipeline.sources import SourceNames
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.activity import Activity
from vidi_gateway.store.files import Store
from vidi_gateway.store.records import DeliveryState

#: Counts of sources go so far back.
DAY_SECONDS = 86_400.0
CACHE_SECONDS = 5.0


@dataclass(frozen=True)
class Source:
    """One source.

    Attributes
    ----------
    name
        See `SourceNames`.
    last_film
        When its last film came, in seconds since the epoch; None: never.
    films
        Films of the last day by the state they are in.
    refusals
        Of the last day by reason: films refused, and instances, requests and associations that were turned away.
    """

    name: str
    last_film: float | None
    films: dict[str, int]
    refusals: dict[str, int]


@dataclass(frozen=True)
class Overview:
    """How the gateway is doing.

    Attributes
    ----------
    at
        When it was read, in seconds since the epoch.
    unfinished
        Analyses that wait or are being worked on.
    oldest_unfinished
        When the oldest film came that is not done, in seconds since the epoch; None: there is none.
    undelivered
        Objects by destination and state: pending, sent and not confirmed, dead.
    free_bytes
        Of the disk that films and results are on.
    sources
        By name.
    """

    at: float
    unfinished: int
    oldest_unfinished: float | None
    undelivered: dict[tuple[str, DeliveryState], int]
    free_bytes: int
    sources: tuple[Source, ...]

    def dead_letters(self) -> dict[str, int]:
        """Objects by destination that are not tried any more."""
        return {name: count for (name, state), count in self.undelivered.items() if state is DeliveryState.DEAD}


class Overviews:
    """Reads overviews, and keeps the last for a few seconds. Blocking; safe from many threads."""

    def __init__(
        self,
        settings: GatewaySettings,
        activity: Activity,
        store: Store,
        clock: Callable[[], float] = time.time,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        self._settings = settings
        self._activity = activity
        self._store = store
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._names = SourceNames(settings)
        self._lock = threading.Lock()
        self._kept: Overview | None = None

    def get(self) -> Overview:
        """Return how the gateway is doing."""
        with self._lock:
            now = self._clock()
            if self._kept is None or not 0.0 <= now - self._kept.at < self._cache_seconds:
                self._kept = self._read(now)
            return self._kept

    def silent(self, overview: Overview) -> list[tuple[str, float]]:
        """Return the sources from which no film has come for too long, with the hours since the last one."""
        limit = self._settings.source_silence_hours
        if not limit:
            return []
        hours = [
            (s.name, (overview.at - s.last_film) / 3600.0)
            for s in overview.sources
            if s.last_film is not None and self._names.is_steady(s.name)
        ]
        return [(name, silent) for name, silent in hours if silent >= limit]

    def _read(self, now: float) -> Overview:
        last: dict[str, float] = {}
        films: dict[str, dict[str, int]] = {}
        refusals: dict[str, dict[str, int]] = {}
        for source, at in self._activity.last_films().items():
            name = self._names.name(source)
            last[name] = max(last.get(name, 0.0), at)
        for row in self._activity.films_since(now - DAY_SECONDS):
            _add(films, self._names.name(row.source), row.state, row.count)
            if row.reason:
                _add(refusals, self._names.name(row.source), row.reason, row.count)
        for row in self._activity.turned_away_since(now - DAY_SECONDS):
            _add(refusals, self._names.name(row.source), row.reason, row.count)
        unfinished, oldest = self._activity.queue()
        names = sorted(last.keys() | films.keys() | refusals.keys())
        return Overview(
            at=now,
            unfinished=unfinished,
            oldest_unfinished=oldest,
            undelivered=self._activity.outbox(d.name for d in self._settings.destinations),
            free_bytes=self._store.free_bytes(),
            sources=tuple(Source(n, last.get(n), films.get(n, {}), refusals.get(n, {})) for n in names),
        )


def _add(counts: dict[str, dict[str, int]], name: str, key: str, count: int) -> None:
    of_source = counts.setdefault(name, {})
    of_source[key] = of_source.get(key, 0) + count
