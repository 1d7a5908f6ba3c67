"""Channels to the services at their addresses, and errors that say which of them it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import grpc

from vidi.api.classifier.v1 import classifier_pb2_grpc
from vidi.api.clusterer.v1 import clusterer_pb2_grpc
from vidi.api.explainer.v1 import explainer_pb2_grpc
from vidi.api.gateway.v1 import gateway_pb2_grpc
from vidi.errors import Expired, InvalidInput, Unavailable, ViDiError
from vidi.rpc.channel import open_channel
from vidi.rpc.context import HEADER
from vidi.rpc.status import from_rpc_error
from vidi.settings import MIB

T = TypeVar("T")
ServiceName = Literal["classifier", "explainer", "clusterer", "gateway"]

STUBS: dict[ServiceName, Callable[[Any], Any]] = {
    "classifier": classifier_pb2_grpc.ClassifierServiceStub,
    "explainer": explainer_pb2_grpc.ExplainerServiceStub,
    "clusterer": clusterer_pb2_grpc.ClustererServiceStub,
    "gateway": gateway_pb2_grpc.StudyServiceStub,
}
#: The gateway takes films of up to 64 MiB.
GATEWAY_BYTES = 65 * MIB


class Connection:
    """Where the services are. The gateway passes calls through to the other three.

    Parameters
    ----------
    classifier, explainer, clusterer
        "host:port" of a service, for calling it directly; "" goes through the gateway.
    gateway
        "host:port" of a gateway.
    timeout
        Seconds that a call may take unless it says otherwise; None: no deadline.
    max_message_bytes
        Largest message that the services take, in bytes.

    Raises
    ------
    InvalidInput
        When there is no address at all.
    """

    def __init__(
        self,
        *,
        classifier: str = "",
        explainer: str = "",
        clusterer: str = "",
        gateway: str = "",
        timeout: float | None = 300.0,
        max_message_bytes: int = 16 * MIB,
    ) -> None:
        given: dict[ServiceName, str] = {"classifier": classifier, "explainer": explainer, "clusterer": clusterer}
        self._addresses: dict[ServiceName, str] = {name: address or gateway for name, address in given.items()}
        self._addresses["gateway"] = gateway
        if not any(self._addresses.values()):
            raise InvalidInput("give the address of a gateway, or of the services to be called")
        self._gateway = gateway
        self._timeout = timeout
        self._max_message_bytes = max_message_bytes
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stubs: dict[ServiceName, Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channels; running calls end with `Cancelled`."""
        channels = list(self._channels.values())
        self._channels.clear()
        self._stubs.clear()
        await asyncio.gather(*(channel.close() for channel in channels))

    def _stub(self, service: ServiceName) -> Any:
        """Return the stub of a service; its channel is opened in the running loop at the first call."""
        if service not in self._stubs:
            address = self._addresses[service]
            if not address:
                raise InvalidInput(f"no address for the {service}: give {service}=... or gateway=...")
            if address not in self._channels:
                size = GATEWAY_BYTES if address == self._gateway else self._max_message_bytes
                self._channels[address] = open_channel(address, max_message_bytes=max(size, self._max_message_bytes))
            self._stubs[service] = STUBS[service](self._channels[address])
        return self._stubs[service]

    def _deadline(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else timeout

    async def _answer(self, service: ServiceName, call: Awaitable[T]) -> T:
        """Await a call; its errors become ViDi's."""
        try:
            return await call
        except grpc.RpcError as error:
            raise self._translated(service, error) from None

    async def _answers(self, service: ServiceName, calls: Any) -> AsyncGenerator[Any, None]:
        """Iterate over a streamed answer; its errors become ViDi's, and leaving early cancels the call."""
        try:
            async for item in calls:
                yield item
        except grpc.RpcError as error:
            raise self._translated(service, error) from None
        finally:
            calls.cancel()

    def _translated(self, service: ServiceName, error: Any) -> ViDiError:
        known = from_rpc_error(error)
        if any(key == HEADER for key, _ in error.trailing_metadata() or ()):
            return known  # the server's own words
        where = f"the {service} at {self._addresses[service]}"
        if isinstance(known, Unavailable):
            return Unavailable(f"{where} cannot be reached: {known}", reason="UNREACHABLE")
        if isinstance(known, Expired):
            return Expired(f"{where} did not answer before the deadline")
        return known
