"""Files without a name until they are durable."""

from __future__ import annotations

import errno
import gc
import mmap
import os
from pathlib import Path

import pytest

from vidi.errors import Exhausted
from vidi_gateway.store import direct, staging
from vidi_gateway.store.files import FileStore


def content(size: int) -> memoryview:
    memory = mmap.mmap(-1, size + 1)
    memory[:] = os.urandom(size + 1)
    return memoryview(memory)[:size]


def names(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


@pytest.mark.parametrize("size", [1, 4096, 4097, (3 << 20) + 77])
@pytest.mark.parametrize("step", [1 << 20, 700_001])
def test_written_while_it_comes(tmp_path: Path, size: int, step: int) -> None:
    store, data = FileStore(tmp_path), content(size)
    staged = store.stage()
    assert staged is not None
    for end in range(step, size, step):
        staged.advance(data[:end])
    assert names(tmp_path) == [], "it has no name yet"
    store.keep("films/ab/film.dcm", staged, data.toreadonly())
    assert names(tmp_path) == ["films/ab/film.dcm"]
    assert store.get("films/ab/film.dcm") == bytes(data)


def test_directories_are_made_ahead(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for _ in range(2):
        store.prepare("films")
    assert len(list((tmp_path / "films").iterdir())) == 256
    store.put_durable("films/fe/film.dcm", b"x")
    assert names(tmp_path) == ["films/fe/film.dcm"]


def test_it_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    store, data = FileStore(tmp_path), content(10_000)
    store.put_durable("films/film.dcm", b"before")
    staged = store.stage()
    assert staged is not None
    store.keep("films/film.dcm", staged, data)
    assert names(tmp_path) == ["films/film.dcm"] and store.get("films/film.dcm") == bytes(data)


def test_what_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    store, data = FileStore(tmp_path), content(2 << 20)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        staged = store.stage()
        assert staged is not None
        staged.advance(data)
        staged.discard()
        staged.discard()
        forgotten = store.stage()
        assert forgotten is not None
        del forgotten
    gc.collect()
    assert names(tmp_path) == [] and len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("early", [True, False])
def test_a_full_disk_is_said_when_it_is_to_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    store, data, real = FileStore(tmp_path), content((2 << 20) + 5), os.write
    left = [1 << 20 if early else 2 << 20]

    def fills(descriptor: int, part: memoryview) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(descriptor, part[: left[0]])
        left[0] -= count
        return count

    staged = store.stage()
    assert staged is not None
    monkeypatch.setattr(os, "write", fills)
    staged.advance(data)
    assert (staged.error is not None) == early
    with pytest.raises(Exhausted) as e:
        store.keep("films/film.dcm", staged, data)
    assert e.value.reason == "STORE_FULL"
    assert names(tmp_path) == []


def test_disks_without_direct_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, data, real = FileStore(tmp_path), content((2 << 20) + 5), os.write

    def refuse(descriptor: int, part: memoryview) -> int:
        if staged is not None and staged._direct:
            raise OSError(errno.EINVAL, "no")
        return real(descriptor, part)

    staged = store.stage()
    assert staged is not None
    monkeypatch.setattr(os, "write", refuse)
    staged.advance(data[: 1 << 20])
    store.keep("films/a.dcm", staged, data)
    assert store.get("films/a.dcm") == bytes(data)
    monkeypatch.undo()
    monkeypatch.setattr(direct, "_O_DIRECT", 0)
    other = store.stage()
    assert other is not None
    other.advance(data)
    store.keep("films/b.dcm", other, data)
    assert store.get("films/b.dcm") == bytes(data)


def test_systems_without_such_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "no")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert FileStore(tmp_path).stage() is None
    monkeypatch.setattr(staging, "_O_TMPFILE", 0)
    assert FileStore(tmp_path).stage() is None
