"""Sending films to a node, as a modality does: for the demo, tests and the command line."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom import Dataset, dcmwrite

from vidi_gateway.dimse.scu import Address, Sender, Sent


def send_files(
    films: Sequence[Path | bytes | Dataset],
    host: str,
    port: int,
    called_ae: str = "VIDI",
    calling_ae: str = "MODALITY",
    *,
    progress: Callable[[int, Sent], None] | None = None,
    timeout: float = 60.0,
) -> list[Sent]:
    """Send DICOM instances by C-STORE over one association. Blocking.

    Parameters
    ----------
    films
        Part 10 files: paths, bytes or datasets with file meta information.
    host, port, called_ae, calling_ae
        The node, and who sends.
    progress
        Called with index and fate after each film.
    timeout
        Seconds to wait for an answer.

    Returns
    -------
    One fate per film, in order.

    Raises
    ------
    OSError
        When a file cannot be read.
    pydicom.errors.InvalidDicomError
        When a film is not a Part 10 file.
    """
    address = Address(host, port, called_ae, calling_ae, timeout)
    return Sender().send([_bytes(film) for film in films], address, progress)


def _bytes(film: Path | bytes | Dataset) -> bytes:
    if isinstance(film, Path):
        return film.read_bytes()
    if isinstance(film, bytes):
        return film
    buffer = io.BytesIO()
    dcmwrite(buffer, film, enforce_file_format=True)
    return buffer.getvalue()
