"""Pulls, for programs: make, watch, cancel, resume."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vidi.errors import NotFound
from vidi_gateway.handlers.films import Films
from vidi_gateway.pull.archives import move_to
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.pulls import Item, ItemState, Pull, Pulls, Query, Target
from vidi_gateway.threads import Threads


class PullHandler:
    """Makes pulls and says where they stand. All methods run in the gateway's event loop.

    Parameters
    ----------
    settings
        Archives and models.
    pulls
        The pull tables.
    films
        Asked whether a model exists.
    audit
        Hears of every order.
    threads
        For blocking work.
    on_change
        Called when something may have to be fetched.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        pulls: Pulls,
        films: Films,
        audit: Audit,
        threads: Threads,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._pulls = pulls
        self._films = films
        self._audit = audit
        self._threads = threads
        self._on_change = on_change
        self._archives = {a.name: a for a in settings.archives}

    async def create(
        self, archive: str, what: Query | Sequence[Target], *, model: str = "", display_name: str = "", source: str = ""
    ) -> Pull:
        """Store a pull; it is fetched in the background.

        Parameters
        ----------
        archive
            Name of an archive in the settings.
        what
            A query, or a list.
        model
            Model line; "": the site's default.
        display_name
            For people; no patient data.
        source
            Who asks for it, for the audit trail.

        Raises
        ------
        NotFound
            No such archive or model.
        InvalidInput
            The list is empty or names something twice; NO_AE_FOR_MODEL.
        """
        if archive not in self._archives:
            raise NotFound("archive", archive, hint="VIDI_ARCHIVES names those that films may be fetched from")
        await self._films.check(model)
        line = model or self._settings.default_model
        move_to(self._archives[archive], self._settings, line)
        pull_id = await self._threads.run(self._pulls.create, display_name, archive, line, what)
        await self._noted("pull started", pull_id, archive, source)
        self._on_change()
        return await self.get(pull_id)

    async def get(self, pull_id: str) -> Pull:
        """See `Pulls.get`."""
        return await self._threads.run(self._pulls.get, pull_id)

    async def page(self, limit: int, before: float | None = None) -> list[Pull]:
        """See `Pulls.page`."""
        return await self._threads.run(self._pulls.page, limit, before)

    async def items(self, pull_id: str, limit: int, after: int = -1, state: ItemState | None = None) -> list[Item]:
        """See `Pulls.items`.

        Raises
        ------
        NotFound
            No such pull.
        """
        await self.get(pull_id)
        return await self._threads.run(self._pulls.items, pull_id, limit, after, state)

    async def cancel(self, pull_id: str, source: str = "") -> Pull:
        """See `Pulls.cancel`."""
        await self._threads.run(self._pulls.cancel, pull_id)
        pull = await self.get(pull_id)
        await self._noted("pull cancelled", pull_id, pull.peer, source)
        return pull

    async def resume(self, pull_id: str, source: str = "") -> Pull:
        """See `Pulls.resume`."""
        await self._threads.run(self._pulls.resume, pull_id)
        pull = await self.get(pull_id)
        await self._noted("pull resumed", pull_id, pull.peer, source)
        self._on_change()
        return pull

    async def _noted(self, event: str, pull_id: str, archive: str, source: str) -> None:
        detail = {"pull": pull_id}
        await self._threads.run(self._audit.note, event, source=source, outcome=archive, detail=detail)
