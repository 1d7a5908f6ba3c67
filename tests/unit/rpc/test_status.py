"""The error table, in both directions."""

from __future__ import annotations

import contextvars

import grpc
import pytest
from google.rpc import status_pb2

from vidi import errors
from vidi.rpc import status
from vidi.rpc.context import begin

V = errors.FieldViolation

ERRORS: list[tuple[errors.ViDiError, grpc.StatusCode]] = [
    (errors.InvalidInput("bad", violations=(V("a.b", "no"), V("c[2]", "too long"))), grpc.StatusCode.INVALID_ARGUMENT),
    (errors.UnreadableImage("truncated", field="image"), grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound("model", "x", hint="known: y"), grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists("film", "f1", "other pixels"), grpc.StatusCode.ALREADY_EXISTS),
    (errors.PreconditionFailed("not loaded", reason="DIGEST"), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.BundleError("damaged"), grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Exhausted("full", retry_after=2.25), grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Expired("late"), grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.Cancelled("gone"), grpc.StatusCode.CANCELLED),
    (errors.Unavailable("down", retry_after=0.5, reason="PORT_TAKEN"), grpc.StatusCode.UNAVAILABLE),
    (errors.InternalError("secret cause"), grpc.StatusCode.INTERNAL),
]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda x: type(x).__name__)
def test_errors_survive_the_way_there_and_back(error: errors.ViDiError, code: grpc.StatusCode) -> None:
    there = status.to_status(error)
    back = status.from_status(status_pb2.Status.FromString(there.SerializeToString()))
    assert there.code == code.value[0]
    assert back.reason == error.reason
    assert type(back) is type(error)
    if code is not grpc.StatusCode.INTERNAL:
        assert str(back) == str(error)
    for name in ("violations", "kind", "name", "retry_after"):
        assert getattr(back, name, None) == getattr(error, name, None)


def test_every_error_type_has_a_place_in_the_table() -> None:
    def below(kind: type[errors.ViDiError]) -> list[type[errors.ViDiError]]:
        return [kind, *(k for sub in kind.__subclasses__() for k in below(sub))]

    placed = tuple(kind for kind, _ in status.TABLE)
    # The API's own types: what a service keeps to itself and lets out by mistake is INTERNAL, whatever its name.
    kinds = [kind for kind in below(errors.ViDiError)[1:] if kind.__module__ == errors.__name__]
    assert len(kinds) >= 12
    for kind in kinds:
        assert issubclass(kind, placed) or kind is errors.InternalError


@pytest.mark.parametrize(
    "error", [errors.InternalError("DOE^JANE"), KeyError("DOE^JANE"), errors.ViDiError("DOE^JANE")]
)
def test_internal_errors_tell_nothing_but_the_request_id(error: Exception) -> None:
    context = contextvars.copy_context()
    chosen = context.run(begin, (("x-request-id", "req-7"),))
    told = context.run(status.to_status, error)
    assert "DOE" not in str(told)
    assert told.code == grpc.StatusCode.INTERNAL.value[0]
    assert chosen == "req-7"
    assert "req-7" in told.message


def test_a_status_fits_into_headers_however_long_the_error_is() -> None:
    violations = tuple(V("f" * 500, "d" * 500) for _ in range(1000))
    told = status.to_status(errors.InvalidInput("m" * 100_000, violations=violations))
    assert told.ByteSize() < 6000
    assert status.to_status(errors.NotFound("model", "n" * 100_000)).ByteSize() < 6000


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_a_bare_status_of_any_code_is_an_error_of_vidi(code: grpc.StatusCode) -> None:
    known = status.from_status(status_pb2.Status(code=code.value[0], message="words of a proxy"))
    assert isinstance(known, errors.ViDiError)
    assert "words of a proxy" in str(known)


def test_details_of_other_domains_do_not_become_reasons() -> None:
    told = status.to_status(errors.NotFound("model", "x"))
    from google.rpc import error_details_pb2

    del told.details[:]
    told.details.add().Pack(error_details_pb2.ErrorInfo(reason="API_KEY_INVALID", domain="googleapis.com"))
    assert status.from_status(told).reason == "NOT_FOUND"
