"""What a cache is, and what both caches share: framing, counting, the circuit breaker, and never failing."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from vidi import logs
from vidi.cache import frame
from vidi.cache.breaker import Breaker

T = TypeVar("T")
_log = logs.get(__name__)


@dataclass
class CacheStats:
    """Counts since the cache was opened.

    Attributes
    ----------
    hits, misses
        Lookups that found and did not find their value. A failed lookup counts as a miss too.
    writes
        Values stored.
    deleted
        Values deleted on demand.
    errors
        Operations that failed (not reachable, too slow, disk full).
    corrupt
        Values that were found damaged and removed.
    skipped
        Operations not tried because the breaker was open.
    """

    hits: int = 0
    misses: int = 0
    writes: int = 0
    deleted: int = 0
    errors: int = 0
    corrupt: int = 0
    skipped: int = 0


class ExplanationCache(Protocol):
    """Serialized explanations by content key. Its methods never raise (cancellation apart)."""

    @property
    def stats(self) -> CacheStats:
        """Counts since the cache was opened."""

    async def get(self, key: str) -> bytes | None:
        """Return the value stored under `key`, byte for byte, or None."""

    async def put(self, key: str, value: bytes) -> None:
        """Store `value` under `key`, in place of an older one. It may be dropped."""

    async def delete(self, keys: Sequence[str]) -> int | None:
        """Delete what is stored under `keys`; return how many values that were, None when nobody knows: try again."""

    async def close(self) -> None:
        """Close. Afterwards nothing is found and nothing stored."""


class GuardedCache(ABC):
    """An `ExplanationCache` over a store that may fail.

    Parameters
    ----------
    name
        For the log.
    ttl
        Seconds until a value expires, more than 0.
    timeout
        Longest time for one operation in seconds; None: none.
    breaker
        Holds calls back from a store that keeps failing.
    """

    def __init__(self, name: str, *, ttl: float, timeout: float | None, breaker: Breaker | None) -> None:
        if not ttl > 0:
            raise ValueError(f"ttl {ttl}: must be more than 0")
        self._name = name
        self._ttl = ttl
        self._timeout = timeout
        self._breaker = breaker or Breaker()
        self._closed = False
        self._stats = CacheStats()

    @property
    def stats(self) -> CacheStats:
        """Counts since the cache was opened."""
        return self._stats

    async def get(self, key: str) -> bytes | None:
        """Return the value stored under `key`, byte for byte, or None."""
        value = await self._attempt(lambda: self._verified(key))
        if value is None:
            self._stats.misses += 1
        else:
            self._stats.hits += 1
        return value

    async def put(self, key: str, value: bytes) -> None:
        """Store `value` under `key`, in place of an older one. It may be dropped."""
        if await self._attempt(lambda: self._write(key, frame.seal(key, value))):
            self._stats.writes += 1

    async def delete(self, keys: Sequence[str]) -> int | None:
        """Delete what is stored under `keys`; return how many values that were, None when nobody knows: try again."""
        deleted = await self._attempt(lambda: self._remove(keys)) if keys else 0
        self._stats.deleted += deleted or 0
        return deleted

    async def close(self) -> None:
        """Close. Afterwards nothing is found and nothing stored."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._shut()
        except Exception as error:  # noqa: BLE001 - a cache that cannot be closed must not hinder the shutdown
            _log.warning("closing failed", cache=self._name, error=type(error).__name__)

    async def _verified(self, key: str) -> bytes | None:
        framed = await self._read(key)
        value = None if framed is None else frame.unseal(key, framed)
        if framed is not None and value is None:
            self._stats.corrupt += 1
            _log.warning("removed a damaged value", cache=self._name)
            await self._remove([key])
        return value

    async def _attempt(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Return the operation's result; None when it failed, took too long or was held back."""
        if not self._may_call():
            return None
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        result: T | None = None
        failure: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout):
                result = await operation()
        except Exception as error:  # noqa: BLE001 - whatever a cache does wrong, the call goes on without it
            failure = error
        if task and task.cancelling() > cancelled_before:
            # asyncio.wait_for of Python 3.11, used inside redis, can swallow a cancellation: it must not be lost.
            raise asyncio.CancelledError
        if failure is None:
            self._succeeded()
        else:
            self._failed(failure)
        return result

    def _may_call(self) -> bool:
        if self._closed:
            return False
        if self._breaker.allows():
            return True
        self._stats.skipped += 1
        return False

    def _failed(self, error: Exception) -> None:
        self._stats.errors += 1
        was_open = self._breaker.is_open
        self._breaker.failed()
        if self._breaker.is_open and not was_open:
            _log.warning("cache does not work; going on without it", cache=self._name, error=type(error).__name__)

    def _succeeded(self) -> None:
        if self._breaker.is_open:
            _log.info("cache works again", cache=self._name)
        self._breaker.succeeded()

    @abstractmethod
    async def _read(self, key: str) -> bytes | None:
        """Return the framed value; None when absent or expired."""

    @abstractmethod
    async def _write(self, key: str, framed: bytes) -> bool:
        """Store a framed value; return whether it was stored."""

    @abstractmethod
    async def _remove(self, keys: Sequence[str]) -> int:
        """Remove values; return how many there were."""

    @abstractmethod
    async def _shut(self) -> None:
        """Release everything."""
