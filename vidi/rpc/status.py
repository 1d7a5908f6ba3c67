"""The one table between ViDi's errors and google.rpc.Status, in both directions."""

from __future__ import annotations

import re
from typing import Any, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from vidi.errors import (
    AlreadyExists,
    BundleError,
    Cancelled,
    Exhausted,
    Expired,
    FieldViolation,
    InternalError,
    InvalidInput,
    InvalidTensor,
    NotFound,
    PreconditionFailed,
    Unavailable,
    UnreadableImage,
    ViDiError,
)
from vidi.rpc.context import request_id

DOMAIN = "vidi"
INTERNAL_MESSAGE = "internal error; the server's log says where"

#: Details travel in HTTP/2 headers, of which clients take 8 KiB in all: long ones are cut.
MOST_VIOLATIONS = 12
LONGEST_MESSAGE = 1000
LONGEST_DETAIL = 160

#: First match wins.
TABLE: tuple[tuple[type[ViDiError], grpc.StatusCode], ...] = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (PreconditionFailed, grpc.StatusCode.FAILED_PRECONDITION),
    (Exhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Expired, grpc.StatusCode.DEADLINE_EXCEEDED),
    (Cancelled, grpc.StatusCode.CANCELLED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (BundleError, grpc.StatusCode.FAILED_PRECONDITION),
)
#: What gRPC itself says of a message above a limit, on either side.
_TOO_LARGE = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def by_number(number: int) -> grpc.StatusCode:
    """Return the status code of a number; UNKNOWN for what gRPC does not know."""
    return _BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN)


def code_of(error: BaseException) -> grpc.StatusCode:
    """Return the status code of an error; INTERNAL for what is not ViDi's."""
    return next((code for kind, code in TABLE if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def to_status(error: BaseException) -> status_pb2.Status:
    """Translate an error. INTERNAL never carries the error's own words, which may quote patient data."""
    code = code_of(error)
    if not isinstance(error, ViDiError) or code is grpc.StatusCode.INTERNAL:
        info = error_details_pb2.ErrorInfo(reason=InternalError.reason, domain=DOMAIN)
        current = request_id()
        message = f"{INTERNAL_MESSAGE} (request id {current})" if current else INTERNAL_MESSAGE
        return status_pb2.Status(code=code.value[0], message=message, details=[_packed(info)])
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if isinstance(error, InvalidInput) and error.violations:
        fields = [
            {"field": v.field[:LONGEST_DETAIL], "description": v.description[:LONGEST_DETAIL]}
            for v in error.violations[:MOST_VIOLATIONS]
        ]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    if isinstance(error, NotFound | AlreadyExists):
        details.append(
            error_details_pb2.ResourceInfo(resource_type=error.kind, resource_name=error.name[:LONGEST_DETAIL])
        )
    if isinstance(error, Exhausted | Unavailable):
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    message = str(error)[:LONGEST_MESSAGE]
    return status_pb2.Status(code=code.value[0], message=message, details=[_packed(d) for d in details])


def from_status(status: status_pb2.Status) -> ViDiError:
    """Return the error that a status stands for."""
    code = by_number(status.code)
    found: dict[type, Any] = {}
    for packed in status.details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.ResourceInfo,
            error_details_pb2.RetryInfo,
        ):
            if packed.Is(kind.DESCRIPTOR):
                found[kind] = kind.FromString(packed.value)
    info = found.get(error_details_pb2.ErrorInfo)
    reason = info.reason if info and info.domain == DOMAIN else None
    message = status.message or code.name
    resource = found.get(error_details_pb2.ResourceInfo)
    kind_name, name = (resource.resource_type, resource.resource_name) if resource else ("resource", "")
    retry = found.get(error_details_pb2.RetryInfo)
    wait = retry.retry_delay.ToMilliseconds() / 1000 if retry else 1.0
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE):
        bad = found.get(error_details_pb2.BadRequest)
        violations = tuple(FieldViolation(v.field, v.description) for v in bad.field_violations) if bad else ()
        kind = next((k for k in (InvalidTensor, UnreadableImage) if k.reason == reason), InvalidInput)
        return kind(message, violations=violations, reason=reason)
    if code is grpc.StatusCode.NOT_FOUND:
        return _worded(NotFound(kind_name, name), message, reason)
    if code is grpc.StatusCode.ALREADY_EXISTS:
        return _worded(AlreadyExists(kind_name, name, message), message, reason)
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return (BundleError if reason == BundleError.reason else PreconditionFailed)(message, reason=reason)
    too_large = _TOO_LARGE.search(message) if code is grpc.StatusCode.RESOURCE_EXHAUSTED else None
    if too_large:  # trying again would not help
        size, limit = too_large.groups()
        return InvalidInput(f"a message of {size} bytes where at most {limit} are taken", reason="MESSAGE_TOO_LARGE")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Exhausted(message, retry_after=wait, reason=reason)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Expired(message, reason=reason)
    if code is grpc.StatusCode.CANCELLED:
        return Cancelled(message, reason=reason)
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unavailable(message, retry_after=wait, reason=reason)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return PreconditionFailed(f"the server does not offer this call: {message}", reason="UNIMPLEMENTED")
    return InternalError(message if reason else f"{code.name}: {message}", reason=reason)


def from_rpc_error(error: grpc.RpcError) -> ViDiError:
    """Return the error that a failed call stands for, details included."""
    call: Any = error
    try:
        rich = rpc_status.from_call(cast(grpc.Call, _Call(call)))
    except ValueError:  # details that contradict the code: a proxy's, not ours
        rich = None
    return from_status(rich or status_pb2.Status(code=call.code().value[0], message=call.details() or ""))


class _Call:
    """What grpc_status reads: an AioRpcError keeps its trailing metadata as another type than it expects."""

    def __init__(self, error: Any) -> None:
        self._error = error

    def trailing_metadata(self) -> Any:
        return tuple(self._error.trailing_metadata() or ())

    def code(self) -> Any:
        return self._error.code()

    def details(self) -> Any:
        return self._error.details()


def _packed(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def _worded(error: ViDiError, message: str, reason: str | None) -> ViDiError:
    error.message = message
    if reason:
        error.reason = reason
    return error
