"""The explanation cache in Redis (>= 7) or Valkey: shared by all replicas. A Redis that is down or slow fails no call.

Its size is the server's own matter: `maxmemory` with `maxmemory-policy allkeys-lru`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from vidi.cache.base import GuardedCache
from vidi.cache.breaker import Breaker

PREFIX = "vidi:explanation:"


class RedisCache(GuardedCache):
    """An `ExplanationCache` in Redis. It belongs to the event loop that uses it first.

    Parameters
    ----------
    url
        "redis://[user:password@]host:port/db", "rediss://..." or "unix://...". Connected at first use.
    ttl
        Seconds until a value expires, more than 0.
    timeout
        Longest time for one operation in seconds, connecting included.
    """

    def __init__(self, url: str, ttl: float, timeout: float = 0.25, *, breaker: Breaker | None = None) -> None:
        super().__init__("redis", ttl=ttl, timeout=timeout, breaker=breaker)
        self._client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # Trying again is the next call's matter; here it would only lengthen this one.
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
        )

    async def _read(self, key: str) -> bytes | None:
        value = await self._client.get(PREFIX + key)
        return value if isinstance(value, bytes) else None

    async def _write(self, key: str, framed: bytes) -> bool:
        return bool(await self._client.set(PREFIX + key, framed, px=max(1, math.ceil(self._ttl * 1000))))

    async def _remove(self, keys: Sequence[str]) -> int:
        return int(await self._client.delete(*(PREFIX + key for key in keys)))

    async def _shut(self) -> None:
        await self._client.aclose()
