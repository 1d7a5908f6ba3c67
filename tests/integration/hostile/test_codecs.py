"""Compressed streams that were damaged by the hundred: the decoding sandbox refuses them or decodes them, and holds."""

from __future__ import annotations

import io
import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from vidi.errors import UnreadableImage
from vidi.imaging.sandbox import DecodeSandbox
from vidi.phantoms import PhantomSpec, make, to_dicom

LIMIT = 2 << 30
STREAMS = 60
HTJ2K = "1.2.840.10008.1.2.4.201"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One film in each compression. No free encoder for HTJ2K is at hand: JPEG 2000 goes to its decoder instead."""
    phantom = make(PhantomSpec(seed=3, severity="mild", height=128, width=128))
    found = {quirk: to_dicom(phantom, quirk) for quirk in ("rle", "jpeg_2000", "jpeg_ls")}
    folder = tmp_path_factory.mktemp("codecs")
    (folder / "plain.dcm").write_bytes(to_dicom(phantom))
    for name, option in (("jpeg_lossless", "+e1"), ("jpeg_baseline", "+eb"), ("jpeg_extended", "+ee")):
        path = folder / f"{name}.dcm"
        subprocess.run(["dcmcjpeg", option, str(folder / "plain.dcm"), str(path)], check=True, timeout=60)
        found[name] = path.read_bytes()
    ds = dcmread(io.BytesIO(found["jpeg_2000"]))
    ds.file_meta.TransferSyntaxUID = UID(HTJ2K)
    found["htj2k"] = _written(ds)
    return found


def _written(ds: object) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=False)  # type: ignore[attr-defined]
    return buffer.getvalue()


def damaged(stream: bytes, rng: random.Random) -> bytes:
    """A stream with bytes flipped, near its beginning above all, or cut, repeated, removed."""
    data = bytearray(stream)
    what = rng.randrange(6)
    if what == 0:
        return bytes(data[: rng.randrange(len(data))])
    if what == 1:
        at = rng.randrange(len(data))
        data[at : at + rng.randint(1, 64)] = rng.randbytes(rng.randint(0, 64))
        return bytes(data)
    if what == 2:
        at = rng.randrange(len(data))
        return bytes(data[:at] + data[at : at + 500] * 3 + data[at:])
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        at = rng.randrange(min(len(data), 200) if rng.random() < 0.7 else len(data))
        data[at] = rng.choice((0, 255, rng.randrange(256), data[at] ^ (1 << rng.randrange(8))))
    return bytes(data)


@pytest.mark.parametrize(
    "name", ["rle", "jpeg_2000", "jpeg_ls", "jpeg_lossless", "jpeg_baseline", "jpeg_extended", "htj2k"]
)
@pytest.mark.timeout(3000)
async def test_damaged_streams(films: dict[str, bytes], name: str, scale: int) -> None:
    rng = random.Random(name)
    ds = dcmread(io.BytesIO(films[name]))
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    seen: Counter[str] = Counter()
    async with DecodeSandbox(memory_bytes=LIMIT, timeout=20.0) as sandbox:
        for _ in range(STREAMS * scale):
            ds.PixelData = encapsulate([damaged(frame, rng)])
            try:
                await sandbox.decode(_written(ds))
                seen["decoded"] += 1
            except UnreadableImage as refused:  # an InternalError is a defect, and fails the test
                seen[refused.reason] += 1
            if sandbox.pid is not None:
                assert _peak(sandbox.pid) <= LIMIT
        if name != "htj2k":
            assert (await sandbox.decode(films[name])).pixels.shape == (128, 128)
    assert seen.total() == STREAMS * scale
    assert sum(seen.values()) > seen["decoded"], "some of it was really damaged"


def _peak(pid: int) -> int:
    """Most memory that the process has had resident, in bytes."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    lines = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(next(lines, "VmHWM: 0").split()[1]) << 10
