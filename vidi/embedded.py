"""The whole suite in one process, over real gRPC on loopback: `vidi up`, `vidi process`, tests.

A laptop runs the code path of a cluster: every call between services goes through a socket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from vidi.rpc.server import Running, running
from vidi.service import find

#: The suite's own ports, all on loopback (`vidi up`).
FIXED_PORTS: Mapping[str, int] = {"gateway": 50050, "classifier": 50051, "explainer": 50052, "clusterer": 50053}

#: Started in this order: the gateway needs the others' addresses.
BACKENDS = ("classifier", "explainer", "clusterer")


@dataclass(frozen=True)
class Suite:
    """A running suite.

    Attributes
    ----------
    addresses
        gRPC address by service name ("127.0.0.1:50052").
    endpoints
        The gateway's other addresses by name ("http", "dimse").
    """

    addresses: dict[str, str]
    endpoints: dict[str, str] = field(default_factory=dict)

    @property
    def gateway(self) -> str:
        """gRPC address of the gateway, through which every RPC of the suite can be called."""
        return self.addresses["gateway"]


@asynccontextmanager
async def suite(
    *, fixed_ports: bool = False, services: tuple[str, ...] = (*BACKENDS, "gateway"), **overrides: Any
) -> AsyncIterator[Suite]:
    """Run the suite until the context ends.

    Parameters
    ----------
    fixed_ports
        Listen on `FIXED_PORTS`, HTTP 8080 and DIMSE 11112; otherwise on ports that the system chooses.
    services
        Which services to run; the gateway needs all of `BACKENDS`.
    overrides
        Settings for every service that has them, such as `data_dir`, `model_dir`, `default_model`.

    Raises
    ------
    Unavailable
        When a port is taken.
    BundleError
        When a model bundle is damaged.
    """
    async with AsyncExitStack() as stack:
        addresses: dict[str, str] = {}
        endpoints: dict[str, str] = {}
        for name in services:
            extra: dict[str, Any] = {"port": FIXED_PORTS[name] if fixed_ports else 0}
            if name == "gateway":
                extra |= {f"{backend}_address": addresses[backend] for backend in BACKENDS}
                if not fixed_ports:
                    extra |= {"dimse_port": 0, "http_port": 0}
            service = find(name)
            started: Running = await stack.enter_async_context(
                running(service, service.settings(**{**extra, **overrides}))
            )
            addresses[name] = started.address
            endpoints |= dict(started.endpoints)
        yield Suite(addresses, endpoints)
