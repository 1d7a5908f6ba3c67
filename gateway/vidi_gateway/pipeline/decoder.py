"""Stored films, decoded once for all steps of a workflow."""

from __future__ import annotations

from collections import OrderedDict

from vidi.imaging.dicom import Film
from vidi.imaging.sandbox import DecodeSandbox
from vidi_gateway.store.files import Store
from vidi_gateway.threads import Threads

CACHE_BYTES = 256 << 20


class Decoder:
    """Reads films from the store and decodes them in the sandbox, keeping the last few.

    Steps pass on keys only; a step that runs again after a restart decodes again.
    """

    def __init__(self, store: Store, sandbox: DecodeSandbox, threads: Threads, cache_bytes: int = CACHE_BYTES) -> None:
        self._store = store
        self._sandbox = sandbox
        self._threads = threads
        self._limit = cache_bytes
        self._films: OrderedDict[str, Film] = OrderedDict()

    async def film(self, key: str) -> Film:
        """Return a decoded film.

        Raises
        ------
        UnreadableImage
            It cannot be decoded within the limits.
        NotFound
            It is not in the store.
        """
        if key in self._films:
            self._films.move_to_end(key)
            return self._films[key]
        film = await self._sandbox.decode(await self._threads.run(self._store.get, key))
        self._films[key] = film
        while len(self._films) > 1 and sum(f.pixels.nbytes for f in self._films.values()) > self._limit:
            self._films.popitem(last=False)
        return film

    def forget(self, key: str) -> None:
        """Let go of a film that is done."""
        self._films.pop(key, None)
