"""The reading list: studies in the order in which they are best read."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from vidi.errors import InvalidInput
from vidi_gateway.reading import Place, ReadingOrder, by_arrival, by_urgency, place
from vidi_gateway.store.worklist import ListedStudy, Worklist
from vidi_gateway.threads import Threads

#: Films that are looked at, the newest: a bound on memory, far above what a site reads in a week.
MAX_FILMS = 20_000


@dataclass(frozen=True)
class Row:
    """A study with its place.

    Attributes
    ----------
    position, arrival_position
        In reading order and in order of arrival, from 1.
    study
        The study.
    band
        Its urgency band; only a higher one overtakes.
    overtakable
        Whether it has not waited too long to be overtaken.
    """

    position: int
    arrival_position: int
    study: ListedStudy
    band: int
    overtakable: bool


@dataclass(frozen=True)
class Page:
    """A part of the list. `total` counts all studies of it; `next_token` is "" on the last page."""

    rows: tuple[Row, ...]
    total: int
    next_token: str


class ReadingList:
    """Puts studies in order.

    Parameters
    ----------
    worklist
        Where studies are.
    order
        The site's reading order.
    threads
        For blocking work.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self, worklist: Worklist, order: ReadingOrder, threads: Threads, clock: Callable[[], float] = time.time
    ) -> None:
        self._worklist = worklist
        self._order = order
        self._threads = threads
        self._clock = clock

    async def page(self, *, hours: float = 24.0, size: int = 100, token: str = "") -> Page:
        """Return a page of the list.

        Parameters
        ----------
        hours
            Only studies with a film of the last so many hours. What has been read is not known here.
        size
            Studies on a page.
        token
            `next_token` of the page before: it goes on where that ended, in the list as it is by now.

        Raises
        ------
        InvalidInput
            The token is not one of ours.
        """
        now = self._clock()
        after = _read_token(token)
        studies = await self._threads.run(self._worklist.studies, now - hours * 3600.0, MAX_FILMS)
        arrival = {s.key: i for i, s in enumerate(by_arrival(studies), 1)}
        rows = []
        for i, s in enumerate(by_urgency(studies, self._order, now), 1):
            where = place(s, self._order, now)
            if after is None or where > after:
                rows.append((where, Row(i, arrival[s.key], s, self._order.band(s.score), where.fresh)))
        chosen = rows[:size]
        more = len(rows) > size
        return Page(tuple(row for _, row in chosen), len(studies), _token(chosen[-1][0]) if more else "")


def _token(where: Place) -> str:
    values = [where.fresh, where.not_urgent, where.arrived, where.key]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _read_token(token: str) -> Place | None:
    if not token:
        return None
    try:
        fresh, band, arrived, key = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if not (isinstance(fresh, bool) and isinstance(key, str)):
            raise ValueError
        return Place(fresh, int(band), float(arrived), key)
    except (ValueError, TypeError, binascii.Error):
        raise InvalidInput("not a page token of this server", field="page_token") from None
