"""The explanation cache: what was computed once for the same content is not computed again.

A cache never fails a call: whatever goes wrong in it reads as "not there". SQLite serves one machine, Redis a cluster;
one contract suite (tests/contract/cache) holds for both.
"""

from __future__ import annotations

from vidi.cache.base import CacheStats, ExplanationCache
from vidi.cache.opening import CacheSettings, open_cache
from vidi.cache.redis import RedisCache
from vidi.cache.single_flight import SingleFlight
from vidi.cache.sqlite import SqliteCache

__all__ = [
    "CacheSettings",
    "CacheStats",
    "ExplanationCache",
    "RedisCache",
    "SingleFlight",
    "SqliteCache",
    "open_cache",
]
