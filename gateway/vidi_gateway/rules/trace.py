"""How the rules came to their decision, in words: for dry runs."""

from __future__ import annotations

from dataclasses import dataclass

from vidi.imaging.notes import Refusal
from vidi_gateway.rules.routing import Routing


@dataclass(frozen=True)
class Step:
    """One rule that was looked at.

    Attributes
    ----------
    rule
        Its name.
    matched
        Whether it took the film.
    reasons
        Why not, in words that repeat no value of the header; empty when it did.
    """

    rule: str
    matched: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trace:
    """The decision, and the rules in the order in which they were looked at; later ones were not."""

    decision: Routing | Refusal
    steps: tuple[Step, ...]
