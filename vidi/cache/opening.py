"""Which cache a process uses, from its settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from vidi.cache.base import ExplanationCache
from vidi.cache.redis import RedisCache
from vidi.cache.sqlite import SqliteCache
from vidi.settings import MIB, CommonSettings


class CacheSettings(CommonSettings):
    """Settings of the explanation cache (`VIDI_...`)."""

    redis_url: SecretStr = Field(
        default=SecretStr(""), description="Redis >= 7 or Valkey; empty: a SQLite file in data_dir."
    )
    redis_timeout_seconds: float = Field(default=0.25, gt=0, description="Longest wait for Redis, per operation.")
    cache_ttl_seconds: float = Field(default=30 * 86400.0, gt=0, description="After which an explanation is forgotten.")
    cache_max_bytes: int = Field(
        default=1024 * MIB, ge=0, description="Size of the SQLite cache; Redis has its maxmemory."
    )

    @property
    def cache_path(self) -> Path:
        """The SQLite file."""
        return self.data_dir / "cache" / "explanations.sqlite"


def open_cache(settings: CacheSettings) -> ExplanationCache:
    """Return the cache that the settings ask for. Nothing is connected before its first use.

    Raises
    ------
    ValueError
        When the Redis URL is not one.
    """
    url = settings.redis_url.get_secret_value()
    if url:
        return RedisCache(url, settings.cache_ttl_seconds, settings.redis_timeout_seconds)
    return SqliteCache(settings.cache_path, settings.cache_ttl_seconds, settings.cache_max_bytes)
