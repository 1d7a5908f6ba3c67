"""For those who run the gateway: how it is doing, and the switch that stops delivery."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.pipeline.overview import Overview, Overviews
from vidi_gateway.store.controls import Controls, DeliveryState, Switch
from vidi_gateway.threads import Threads


@dataclass(frozen=True)
class Status:
    """How the gateway is doing.

    Attributes
    ----------
    delivery
        How the switch stands.
    banner
        What must be seen at the top of every page; "" when nothing must.
    warnings
        What somebody should look at, in words.
    overview
        The numbers.
    """

    delivery: Switch
    banner: str
    warnings: tuple[str, ...]
    overview: Overview


class Operations:
    """Status and switch.

    Parameters
    ----------
    overviews, controls
        Where they are read and thrown.
    changes
        Wakes the delivery when it may go on.
    threads
        For blocking work.
    low_disk_bytes
        Free space below which films are refused.
    """

    def __init__(
        self, overviews: Overviews, controls: Controls, changes: Changes, threads: Threads, low_disk_bytes: int
    ) -> None:
        self._overviews = overviews
        self._controls = controls
        self._changes = changes
        self._threads = threads
        self._low_disk_bytes = low_disk_bytes

    async def status(self) -> Status:
        """Return how the gateway is doing; the numbers may be a few seconds old, the switch is not."""
        switch = await self._threads.run(self._controls.delivery)
        overview = await self._threads.run(self._overviews.get)
        return Status(switch, banner(switch), tuple(self._warnings(overview)), overview)

    async def delivery(self) -> Switch:
        """Return how the switch stands."""
        return await self._threads.run(self._controls.delivery)

    async def set_delivery(self, state: DeliveryState, actor: str) -> Switch:
        """Stop delivery in every process, or let it go on. See `Controls.set_delivery`."""
        switch = await self._threads.run(self._controls.set_delivery, state, actor)
        self._changes.notify()
        return switch

    def _warnings(self, overview: Overview) -> list[str]:
        said = [f"no film for {hours:.1f} hours from {name}" for name, hours in self._overviews.silent(overview)]
        said += [
            f"{count} objects for {name} are set aside as dead letters"
            for name, count in overview.dead_letters().items()
        ]
        if overview.free_bytes < self._low_disk_bytes:
            said.append("the disk is nearly full: films are refused")
        return said


def banner(switch: Switch) -> str:
    """Return what is to be said at the top of every page of how the switch stands."""
    if switch.running:
        return ""
    since = dt.datetime.fromtimestamp(switch.since, dt.UTC)
    return (
        f"Delivery of results was stopped at {since:%Y-%m-%d %H:%M} UTC by {switch.actor or 'an operator'}. "
        "Films are still taken and processed; nothing is sent until it is started again."
    )
