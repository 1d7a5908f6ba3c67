from __future__ import annotations

import asyncio
import os
import signal
import struct
from collections.abc import Callable

import numpy as np
import pytest

from vidi.errors import InternalError, UnreadableImage
from vidi.imaging import wire
from vidi.imaging.dicom import decode_dicom
from vidi.imaging.dx import Grey, Labels, write_dx
from vidi.imaging.sandbox import DecodeSandbox
from vidi.phantoms import PhantomFilm, to_dicom


async def test_decodes_like_the_decoder_and_survives_bad_films(
    phantom: PhantomFilm, plain: bytes, real_film: Callable[[str], bytes]
) -> None:
    async with DecodeSandbox() as sandbox:
        for data in (plain, to_dicom(phantom, "padding"), real_film("RG1_J2KI.dcm")):
            film, wanted = await sandbox.decode(data), decode_dicom(data)
            np.testing.assert_array_equal(film.pixels, wanted.pixels)
            assert (film.valid is None) == (wanted.valid is None)
            if film.valid is not None:
                np.testing.assert_array_equal(film.valid, wanted.valid)
            assert (film.bits, film.notes, film.pixel_digest) == (wanted.bits, wanted.notes, wanted.pixel_digest)
            assert film.header == wanted.header
        pid = sandbox.pid
        for bad in (b"text", plain[:-1000], plain[:500]):
            with pytest.raises(UnreadableImage):
                await sandbox.decode(bad)
        assert sandbox.pid == pid  # errors cost no restart
        assert (await sandbox.decode(plain)).pixels.shape == (256, 224)


async def test_a_crash_costs_one_film(plain: bytes, real_film: Callable[[str], bytes]) -> None:
    async with DecodeSandbox() as sandbox:
        await sandbox.decode(plain)
        first = sandbox.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # so that the film is surely under way
        pending = asyncio.create_task(sandbox.decode(real_film("RG1_J2KR.dcm")))
        await asyncio.sleep(0.1)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(UnreadableImage) as caught:
            await pending
        assert caught.value.reason == "DECODER_CRASHED"
        assert (await sandbox.decode(plain)).pixels.shape == (256, 224)
        assert sandbox.pid != first


async def test_a_death_between_films_costs_nothing_after(plain: bytes) -> None:
    async with DecodeSandbox() as sandbox:
        await sandbox.decode(plain)
        assert sandbox.pid is not None
        os.kill(sandbox.pid, signal.SIGKILL)
        await asyncio.sleep(0.5)
        assert (await sandbox.decode(plain)).pixels.shape == (256, 224)


async def test_a_hang_ends_and_a_cancelled_caller_leaves_nothing_behind(plain: bytes, phantom: PhantomFilm) -> None:
    async with DecodeSandbox(timeout=60.0) as sandbox:
        await sandbox.decode(plain)
        assert sandbox.pid is not None
        os.kill(sandbox.pid, signal.SIGSTOP)
        sandbox._timeout = 0.5
        with pytest.raises(UnreadableImage) as caught:
            await sandbox.decode(plain)
        assert caught.value.reason == "DECODER_TIMEOUT"
        sandbox._timeout = 60.0
        await sandbox.decode(plain)
        assert sandbox.pid is not None
        os.kill(sandbox.pid, signal.SIGSTOP)
        pending = asyncio.create_task(sandbox.decode(plain))
        await asyncio.sleep(0.1)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        # The next film gets its own reply, not that of the one before.
        wanted = decode_dicom(to_dicom(phantom, "bits_8"))
        assert (await sandbox.decode(to_dicom(phantom, "bits_8"))).pixel_digest == wanted.pixel_digest


async def test_memory_is_limited(plain: bytes) -> None:
    huge = write_dx(
        np.zeros((6000, 6000), np.uint16),
        grey=Grey(windows=((2048.0, 4096.0),)),
        labels=Labels("P1", quality_control=True),
        uid_seed="huge",
    )
    async with DecodeSandbox(memory_bytes=448 << 20) as sandbox:
        with pytest.raises(UnreadableImage) as caught:
            await sandbox.decode(huge)
        assert caught.value.reason in ("DECODER_MEMORY", "DECODER_CRASHED")
        assert (await sandbox.decode(plain)).pixels.shape == (256, 224)


async def test_closing_ends_the_process(plain: bytes) -> None:
    sandbox = DecodeSandbox()
    await sandbox.decode(plain)
    pid = sandbox.pid
    assert pid is not None
    await sandbox.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(InternalError):
        await sandbox.decode(plain)


async def test_a_decoder_that_does_not_start(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    async with DecodeSandbox() as sandbox:
        with pytest.raises(InternalError):
            await sandbox.decode(plain)


def test_no_credentials_reach_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    from vidi.imaging.sandbox import _environment

    monkeypatch.setenv("VIDI_DATABASE_URL", "postgresql://user:secret@host/db")
    assert "secret" not in str(_environment())


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\0\0\0\x02{}",
        struct.pack(">I", 1 << 30),
        b"\0\0\0\x04nope",
        b"".join(wire.pack_error("", "")),
    ],
)
def test_a_reply_of_another_format_is_a_defect(reply: bytes, plain: bytes) -> None:
    with pytest.raises(InternalError):
        wire.unpack(reply, plain)


def test_a_reply_is_checked(plain: bytes) -> None:
    film = decode_dicom(plain)
    good = b"".join(wire.pack_film(film))
    np.testing.assert_array_equal(wire.unpack(good, plain).pixels, film.pixels)
    for bad in (good[:-4], good + b"\0", good[:-4] + b"\xff\xff\xff\x7f", good.replace(b"[256, 224]", b"[-56, 224]")):
        with pytest.raises(InternalError):
            wire.unpack(bad, plain)
    with pytest.raises(UnreadableImage) as caught:
        wire.unpack(b"".join(wire.pack_error("damaged", "PIXEL_FORMAT")), plain)
    assert caught.value.reason == "PIXEL_FORMAT"
