"""What only the SQLite cache does: bounded size, a damaged file, an unusable place, threads."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from vidi.cache import SqliteCache
from vidi.cache.frame import OVERHEAD

SIZE = 1000 - OVERHEAD


def key(i: int) -> str:
    return f"{i:064x}"


@pytest.mark.asyncio
async def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = SqliteCache(tmp_path / "c.sqlite", 3600, 3000)
    for i in range(3):
        await cache.put(key(i), bytes(SIZE))
    assert await cache.get(key(0)) is not None  # now used later than 1 and 2
    await cache.put(key(3), bytes(SIZE))
    assert [await cache.get(key(i)) is not None for i in range(4)] == [True, False, True, True]
    await cache.close()


@pytest.mark.asyncio
async def test_size_stays_under_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    cache = SqliteCache(path, 3600, 100_000)
    for i in range(300):
        await cache.put(key(i), bytes(SIZE * (1 + i % 3)))
    await cache.close()
    db = sqlite3.connect(path)
    total, count = db.execute("SELECT sum(length(value)), count(*) FROM entries").fetchone()
    db.close()
    assert 97_000 <= total <= 100_000
    assert count >= 33
    assert path.stat().st_size < 400_000


@pytest.mark.asyncio
async def test_value_above_the_cap_is_not_stored_and_evicts_nothing(tmp_path: Path) -> None:
    cache = SqliteCache(tmp_path / "c.sqlite", 3600, 1000)
    await cache.put(key(0), bytes(SIZE))
    await cache.put(key(1), bytes(SIZE + 1))
    assert await cache.get(key(1)) is None
    assert await cache.get(key(0)) == bytes(SIZE)
    assert cache.stats.writes == 1
    await cache.close()


@pytest.mark.asyncio
async def test_expired_values_make_room_before_live_ones(tmp_path: Path) -> None:
    now = [1000.0]
    cache = SqliteCache(tmp_path / "c.sqlite", 60, 2000, clock=lambda: now[0])
    await cache.put(key(0), bytes(SIZE))
    now[0] += 50
    await cache.put(key(1), bytes(SIZE))
    assert await cache.get(key(0)) is not None  # most recently used, but expires first
    now[0] += 20
    await cache.put(key(2), bytes(SIZE))
    assert [await cache.get(key(i)) is not None for i in range(3)] == [False, True, True]
    await cache.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty", "page", "foreign schema", "newer schema"])
async def test_damaged_file_is_rebuilt(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.sqlite"
    cache = SqliteCache(path, 3600, 1 << 20)
    for i in range(50):
        await cache.put(key(i), bytes(SIZE))
    await cache.close()
    good = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(b"this is not a database " * 1000)
    elif damage == "truncated":
        path.write_bytes(good[: len(good) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "page":
        path.write_bytes(good[:4096] + b"\xff" * (len(good) - 4096))
    else:
        path.unlink()
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE entries (a, b)")
        db.execute(f"PRAGMA user_version = {1 if damage == 'foreign schema' else 99}")
        db.commit()
        db.close()
    cache = SqliteCache(path, 3600, 1 << 20)
    await cache.get(key(0))
    await cache.put(key(77), b"fresh")
    assert await cache.get(key(77)) == b"fresh"
    assert cache.stats.errors == 0
    await cache.close()


@pytest.mark.asyncio
async def test_file_damaged_while_open_is_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    cache = SqliteCache(path, 3600, 1 << 20)
    await cache.put(key(0), b"value")
    other = sqlite3.connect(path)
    other.execute("DROP TABLE entries")
    other.commit()
    other.close()
    assert await cache.get(key(0)) is None
    await cache.put(key(0), b"again")
    assert await cache.get(key(0)) == b"again"
    await cache.close()


@pytest.mark.asyncio
async def test_unusable_place_never_raises_and_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = SqliteCache(tmp_path / "file" / "c.sqlite", 3600, 1 << 20)
    for _ in range(10):
        assert await cache.get(key(0)) is None
        await cache.put(key(0), b"value")
    assert cache.stats.errors == 3, "the breaker opened"
    assert cache.stats.skipped == 17
    await cache.close()


@pytest.mark.asyncio
async def test_locked_by_another_process_is_a_miss(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    cache = SqliteCache(path, 3600, 1 << 20)
    await cache.put(key(0), b"value")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    await cache.put(key(1), b"value")
    assert cache.stats.errors == 1
    other.execute("ROLLBACK")
    other.close()
    assert await cache.get(key(0)) == b"value", "the file was not thrown away"
    await cache.close()


def test_used_from_several_threads_and_loops(tmp_path: Path) -> None:
    cache = SqliteCache(tmp_path / "c.sqlite", 3600, 1 << 20)

    async def work(offset: int) -> list[bytes | None]:
        for i in range(offset, offset + 20):
            await cache.put(key(i), f"value {i}".encode())
        return [await cache.get(key(i)) for i in range(offset, offset + 20)]

    async def main() -> list[list[bytes | None]]:
        return await asyncio.gather(*(asyncio.to_thread(asyncio.run, work(20 * n)) for n in range(4)))

    results = asyncio.run(main())
    assert results == [[f"value {i}".encode() for i in range(20 * n, 20 * n + 20)] for n in range(4)]
    asyncio.run(cache.close())


@pytest.mark.asyncio
async def test_deleted_bytes_leave_the_files(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    cache = SqliteCache(path, 3600, 1 << 24)
    secret = b"a patient's anatomy" * 20_000
    for i in range(4):
        await cache.put(key(i), secret if i == 2 else bytes(SIZE))

    def found() -> bool:
        return any(b"a patient's anatomy" in file.read_bytes() for file in tmp_path.iterdir())

    assert found()
    assert await cache.delete([key(2)]) == 1
    assert not found()
    assert await cache.get(key(3)) == bytes(SIZE)
    await cache.close()


@pytest.mark.asyncio
async def test_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "c.sqlite"
    cache = SqliteCache(path, 3600, 1 << 20)
    await cache.put(key(0), b"value")
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    await cache.close()
