"""The file store and the site key."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vidi.errors import Exhausted, InvalidInput, NotFound, PreconditionFailed
from vidi_gateway.store.files import FileStore
from vidi_gateway.store.site_key import SiteKey


def test_put_is_durable_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data are synced before the name exists, the name before put returns."""
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def traced_fsync(descriptor: int) -> None:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        events.append("sync directory" if os.path.isdir(target) else "sync file")
        fsync(descriptor)

    def traced_replace(source: Path, target: Path) -> None:
        events.append("rename")
        replace(source, target)

    store = FileStore(tmp_path)
    store.put_durable("films/ab/first.dcm", b"0")
    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "replace", traced_replace)
    store.put_durable("films/ab/second.dcm", b"data")
    assert events == ["sync file", "rename", "sync directory"]
    assert store.get("films/ab/second.dcm") == b"data"
    assert sorted(p.name for p in (tmp_path / "films/ab").iterdir()) == ["first.dcm", "second.dcm"]


def test_a_failed_put_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(tmp_path)
    store.put_durable("a/b", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exhausted) as e:
        store.put_durable("a/b", b"new")
    assert e.value.reason == "STORE_FULL"
    assert store.get("a/b") == b"old"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../b", "a//b", "", "A", "a\0b", ".hidden", "a/.b", "a\n"])
def test_no_key_leads_outside(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidInput):
        FileStore(tmp_path).put_durable(key, b"x")


def test_what_is_not_there(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.delete("a/b")
    with pytest.raises(NotFound):
        store.get("a/b")


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    path = tmp_path / "data" / "site.key"
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: SiteKey.open(path).film_id("1.2.3"), range(16)))
    assert len(ids) == 1
    film_id = ids.pop()
    assert len(film_id) == 32 and film_id[0] == "f"
    assert SiteKey.open(path).film_id("1.2.3", "x") != film_id
    assert SiteKey(b"other" * 8).film_id("1.2.3") != film_id
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    path.write_bytes(b"short")
    with pytest.raises(PreconditionFailed):
        SiteKey.open(path)
