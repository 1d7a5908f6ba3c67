"""The current call: its request id and how long it may take."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

HEADER = "x-request-id"
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_current: ContextVar[str] = ContextVar("vidi_request_id", default="")


def request_id() -> str:
    """Return the id of the request being served, or "" outside of one."""
    return _current.get()


def begin(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Take the caller's request id if it is a sane one, else make one, and make it the current one."""
    offered = next((value for key, value in metadata or () if key == HEADER), "")
    chosen = offered if isinstance(offered, str) and _SANE.fullmatch(offered) else secrets.token_hex(8)
    _current.set(chosen)
    return chosen


def remaining(context: Any) -> float | None:
    """Return the seconds until the call's deadline (may be negative), or None when it has none."""
    left = context.time_remaining()
    return None if left is None else float(left)
