"""The edge of every server: request ids, validation, errors, logs and metrics, around each of ViDi's RPCs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from grpc_status import rpc_status

from vidi import logs, metrics
from vidi.errors import ViDiError
from vidi.rpc import context as calls
from vidi.rpc.status import by_number, code_of, to_status
from vidi.rpc.validation import validate

#: Health and reflection are grpcio's own; they are left as they are.
OURS = "/vidi."


class Edge(grpc.aio.ServerInterceptor):
    """Wraps every handler of ViDi's services."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Return the wrapped handler."""
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or not method.startswith(OURS):
            return handler
        codec = (handler.request_deserializer, handler.response_serializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_unary(method, handler.unary_unary, validate_one), *codec)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(_unary(method, handler.stream_unary, validate_each), *codec)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(_stream(method, handler.unary_stream, validate_one), *codec)
        # A bad message of a bidirectional stream becomes its own answer (vidi/rpc/streams.py): not checked here.
        return grpc.stream_stream_rpc_method_handler(_stream(method, handler.stream_stream, lambda r: r), *codec)


def validate_one(request: Any) -> Any:
    """Check a request and return it."""
    validate(request)
    return request


async def validate_each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Check every message of a stream as it comes."""
    async for request in requests:
        validate(request)
        yield request


def _unary(method: str, behaviour: Any, check: Callable[[Any], Any]) -> Any:
    async def wrapped(request: Any, context: Any) -> Any:
        with _Call(method, context) as call:
            try:
                return await behaviour(check(request), context)
            except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
                await call.fail(error)

    return wrapped


def _stream(method: str, behaviour: Any, check: Callable[[Any], Any]) -> Any:
    async def wrapped(request: Any, context: Any) -> AsyncIterator[Any]:
        with _Call(method, context) as call:
            try:
                # Closed at once when the caller leaves, not when it is collected: its items are cancelled then.
                async with aclosing(behaviour(check(request), context)) as responses:
                    async for response in responses:
                        yield response
            except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
                await call.fail(error)

    return wrapped


class _Call:
    """One call's bookkeeping."""

    def __init__(self, method: str, context: Any) -> None:
        self._method = method
        self._context = context
        self._code = grpc.StatusCode.OK
        self._log = logs.get("vidi.rpc")

    def __enter__(self) -> _Call:
        self._started = time.perf_counter()
        self._id = calls.begin(self._context.invocation_metadata())
        self._context.set_trailing_metadata(((calls.HEADER, self._id),))
        metrics.RPC_RUNNING.labels(self._method).inc()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            left = calls.remaining(self._context)
            expired = left is not None and left <= 0  # gRPC cancels the handler of an expired call
            self._code = grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
        seconds = time.perf_counter() - self._started
        metrics.RPC_RUNNING.labels(self._method).dec()
        metrics.RPCS.labels(self._method, self._code.name).inc()
        metrics.RPC_SECONDS.labels(self._method).observe(seconds)
        self._log.info("rpc", method=self._method, code=self._code.name, seconds=round(seconds, 4), request_id=self._id)

    async def fail(self, error: Exception) -> None:
        """Answer with the status of an error; raises to end the call."""
        if isinstance(error, grpc.aio.AbortError):  # a servicer's own abort, already answered
            self._code = by_number(self._context.code())
            raise error
        self._code = code_of(error)
        if not isinstance(error, ViDiError) or self._code is grpc.StatusCode.INTERNAL:
            kind = type(error).__name__
            self._log.error(
                "internal error", method=self._method, error=kind, at=logs.where(error), request_id=self._id
            )
        status = rpc_status.to_status(to_status(error))
        # An abort replaces the trailing metadata: the request id goes along.
        await self._context.abort(status.code, status.details, ((calls.HEADER, self._id), *status.trailing_metadata))
