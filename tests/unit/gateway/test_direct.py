"""Writing past the page cache: the same bytes as through it, whatever their number and place in memory."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from pathlib import Path

import pytest

from vidi.errors import Exhausted
from vidi_gateway.store import direct
from vidi_gateway.store.files import FileStore, write_durable

SIZES = [0, 1, direct.FROM_BYTES - 1, direct.FROM_BYTES, direct.FROM_BYTES + 1, 3 * direct._CHUNK, (5 << 20) + 4097]


def written(path: Path, data: bytes | memoryview) -> bytes:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        direct.write_all(descriptor, data)
        assert not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT
    finally:
        os.close(descriptor)
    return path.read_bytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("offset", [0, 1, 4096])
def test_any_size_and_alignment(tmp_path: Path, size: int, offset: int) -> None:
    memory = mmap.mmap(-1, offset + size + 1)
    memory[:] = os.urandom(len(memory))
    view = memoryview(memory)[offset : offset + size]
    assert written(tmp_path / "view", view) == bytes(view)
    assert written(tmp_path / "readonly", view.toreadonly()) == bytes(view)
    assert written(tmp_path / "bytes", bytes(view)) == bytes(view)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_file_systems_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Some refuse the flag, some the first write."""
    data = os.urandom((2 << 20) + 5)
    real = os.write

    def refuse(descriptor: int, part: bytes) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(code, "no")
        return real(descriptor, part)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuse)
        assert written(tmp_path / "refused", data) == data
    monkeypatch.setattr(direct, "_O_DIRECT", 0)
    assert written(tmp_path / "absent", data) == data


def test_writes_that_are_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, real = os.urandom(3 << 20), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, part: real(descriptor, part[: max(len(part) // 3, 1)]))
    assert written(tmp_path / "film", data) == data


def test_a_full_disk() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="space"):
            direct.write_all(descriptor, b"\1" * (1 << 20))
    finally:
        os.close(descriptor)


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.write, 0

    def full(descriptor: int, part: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, part[: 64 << 10])

    store = FileStore(tmp_path)
    (tmp_path / "films").mkdir()
    write_durable(tmp_path / "films" / "a.dcm", b"before")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Exhausted):
        store.put_durable("films/a.dcm", b"\2" * (1 << 20))
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "films").iterdir()] == ["a.dcm"]
    assert store.get("films/a.dcm") == b"before"
