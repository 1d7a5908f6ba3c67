"""Nodes that the gateway knows by name, asked from where the gateway stands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vidi.errors import InvalidInput, NotFound, ViDiError
from vidi_gateway.dicomweb.client import WebClient
from vidi_gateway.dimse.query import Querier
from vidi_gateway.dimse.scu import ping
from vidi_gateway.matches import Level
from vidi_gateway.nodes import RemoteNode
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.threads import in_daemon

#: Keys that name no patient: whoever reaches the API may not look for a person by it.
KEYS = frozenset(
    {
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "StudyDate",
        "SeriesDate",
        "ModalitiesInStudy",
        "Modality",
        "BodyPartExamined",
    }
)


@dataclass(frozen=True)
class Echo:
    """Whether a node answers, after how many seconds; `error` says why not."""

    ok: bool
    seconds: float
    error: str = ""


class Nodes:
    """Archives and destinations by name; an archive comes first where both share one.

    Parameters
    ----------
    settings
        Which there are.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        destinations: dict[str, RemoteNode] = {d.name: d for d in settings.destinations}
        self._nodes = destinations | {a.name: a for a in settings.archives}

    async def echo(self, name: str) -> Echo:
        """Return whether a node answers: C-ECHO, or a query by DICOMweb.

        Raises
        ------
        NotFound
            No node has this name.
        """
        node = self._node(name)
        started = time.monotonic()
        try:
            await in_daemon(self._echo, node)
            error = ""
        except ViDiError as e:
            error = f"{e.message} ({e.reason})"
        return Echo(not error, round(time.monotonic() - started, 3), error)

    async def query(self, name: str, level: Level, keys: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
        """Return what a node has.

        Parameters
        ----------
        name
            The node.
        level, keys
            What to look for; only by `KEYS`.
        limit
            At most so many.

        Raises
        ------
        NotFound
            No node has this name.
        InvalidInput
            KEY_NOT_ALLOWED.
        Unavailable, PreconditionFailed
            What the node says.
        """
        node = self._node(name)
        for keyword in keys:
            if keyword not in KEYS:
                message = f"by this API one looks for {', '.join(sorted(KEYS))} only"
                raise InvalidInput(message, field="keys", reason="KEY_NOT_ALLOWED")
        return await in_daemon(self._find, node, level, keys, limit)

    def _node(self, name: str) -> RemoteNode:
        if name not in self._nodes:
            raise NotFound("node", name, hint="VIDI_ARCHIVES and VIDI_DESTINATIONS name those that the gateway knows")
        return self._nodes[name]

    def _echo(self, node: RemoteNode) -> None:
        if node.protocol == "dimse":
            ping(node.dimse_address(self._settings.ae_title))
            return
        with WebClient(node.web_address()) as client:
            next(client.find(Level.STUDY, {}, limit=1), None)

    def _find(self, node: RemoteNode, level: Level, keys: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
        opened = (
            Querier(node.dimse_address(self._settings.ae_title))
            if node.protocol == "dimse"
            else WebClient(node.web_address())
        )
        with opened as asked:
            return [m.to_json() for m in asked.find(level, keys, limit=limit)]
