"""Progress of the long parts, on standard error: standard output belongs to the result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def shown(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """Return the items one by one while a progress bar counts them; `total` where they have no length."""
    return track(items, what, total=total, console=Console(stderr=True))
