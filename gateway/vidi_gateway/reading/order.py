"""The reading order: order of arrival, with urgent entries pulled forward.

Sorted by a key of the entry alone, so that any selection from the list (what has not been read yet, one page of it) is
in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vidi_gateway.reading.weights import ReadingOrder


class Entry(Protocol):
    """What is put in order."""

    @property
    def key(self) -> str:
        """Tells entries apart."""

    @property
    def arrived(self) -> float:
        """When it came, in seconds since the epoch."""

    @property
    def score(self) -> float:
        """Its urgency, 0..1."""


E = TypeVar("E", bound=Entry)


@dataclass(frozen=True, order=True)
class Place:
    """Where an entry stands; smaller is read first.

    Attributes
    ----------
    fresh
        Whether it may still be overtaken: those that may not come first.
    not_urgent
        Urgency band, negative: the highest band first. 0 for what may not be overtaken.
    arrived, key
        Order of arrival; `key` decides between two that came at once.
    """

    fresh: bool
    not_urgent: int
    arrived: float
    key: str


def place(entry: Entry, order: ReadingOrder, now: float) -> Place:
    """Return where an entry stands.

    Parameters
    ----------
    entry
        What is put in order.
    order
        Bands, and how long an entry may be overtaken.
    now
        Seconds since the epoch.
    """
    fresh = now - entry.arrived <= order.max_overtaking_minutes * 60.0
    return Place(fresh, -order.band(entry.score) if fresh else 0, entry.arrived, entry.key)


def by_arrival(entries: Iterable[E]) -> list[E]:
    """Return entries in the order in which they came."""
    return sorted(entries, key=lambda e: (e.arrived, e.key))


def by_urgency(entries: Iterable[E], order: ReadingOrder, now: float) -> list[E]:
    """Return entries in reading order.

    No entry stands behind one that came later, unless that one is in a higher urgency band and the entry has not
    waited longer than `order.max_overtaking_minutes`.
    """
    return sorted(entries, key=lambda e: place(e, order, now))
