"""What a service is to the rest: a name, settings and a way to open it. Found through entry points (`vidi.services`).

A service module is light to import (no torch, no faiss, no pydicom): heavy things are imported inside `open`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from vidi.errors import NotFound

if TYPE_CHECKING:
    from vidi.settings import ServiceSettings

GROUP = "vidi.services"


@dataclass(frozen=True)
class Mounted:
    """An opened service, ready to be served.

    Attributes
    ----------
    add_to
        Registers the servicers on a `grpc.aio.Server`.
    names
        Full names of the gRPC services ("vidi.api.explainer.v1.ExplainerService"), for health and reflection.
    drain
        Called once on shutdown before the server stops: stop taking work from elsewhere (DIMSE, HTTP).
    endpoints
        Addresses other than gRPC that the service listens on, by name ("http": "http://127.0.0.1:8080"), for people.
    """

    add_to: Callable[[Any], None]
    names: tuple[str, ...]
    drain: Callable[[], Any] | None = None
    endpoints: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """A service of the suite.

    Attributes
    ----------
    name
        "classifier", "explainer", "clusterer", "gateway".
    settings
        Returns the settings from the environment (`VIDI_...`), with keyword overrides.
    open
        Opens the service: loads models, connects stores; closes them on exit.
    """

    name: str
    settings: Callable[..., ServiceSettings]
    open: Callable[[Any], AbstractAsyncContextManager[Mounted]]


def find(name: str) -> Service:
    """Return an installed service by name.

    Raises
    ------
    NotFound
        When it is not installed; the hint names the extra.
    """
    for entry in entry_points(group=GROUP, name=name):
        service = entry.load()
        assert isinstance(service, Service)
        return service
    raise NotFound("service", name, hint=f"install vidi[{name}]")
