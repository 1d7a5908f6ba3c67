"""What can go wrong, by type. Raised where it is known, translated once at the edge (vidi/rpc/status.py).

    ViDiError
     +-- InvalidInput              the caller's data or parameters are wrong
     |    +-- InvalidTensor        a Tensor whose bytes, shape, dtype or values do not fit
     |    +-- UnreadableImage      not an image, truncated, or beyond the limits
     +-- NotFound                  no such model, film, cohort, clustering, job, object
     +-- AlreadyExists             the same name with other content
     +-- PreconditionFailed        the request is valid, the state is not (a pinned digest is not loaded)
     +-- Exhausted                 a queue, disk or quota is full: try again later
     +-- Expired                   the deadline passed before the work started
     +-- Cancelled                 the caller gave up
     +-- Unavailable               a service that is needed does not answer: try again later
     +-- BundleError               a model bundle is damaged, incomplete or from a newer version
     +-- InternalError             a defect of ViDi's own

Messages are written for the person who reads them and carry no patient data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldViolation:
    """One field that is wrong: `field` as a dotted path of the request, `description` for people."""

    field: str
    description: str


class ViDiError(Exception):
    """Base of all of ViDi's errors. `reason` is a stable, upper-case code for programs."""

    reason = "VIDI_ERROR"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason

    def __str__(self) -> str:
        return self.message


class InvalidInput(ViDiError):
    """The caller's data or parameters are wrong; `violations` name the fields."""

    reason = "INVALID_INPUT"

    def __init__(
        self, message: str, *, field: str = "", violations: tuple[FieldViolation, ...] = (), reason: str | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.violations = violations or ((FieldViolation(field, message),) if field else ())


class InvalidTensor(InvalidInput):
    """A Tensor whose bytes, shape, dtype or values do not fit."""

    reason = "INVALID_TENSOR"


class UnreadableImage(InvalidInput):
    """Not an image, truncated, or beyond the limits."""

    reason = "UNREADABLE_IMAGE"


class NotFound(ViDiError):
    """No such resource. `kind` is its type ("model"), `name` its name (never a patient's)."""

    reason = "NOT_FOUND"

    def __init__(self, kind: str, name: str, *, hint: str = "") -> None:
        super().__init__(f"no {kind} named {name!r}" + (f": {hint}" if hint else ""))
        self.kind = kind
        self.name = name


class AlreadyExists(ViDiError):
    """The same name with other content."""

    reason = "ALREADY_EXISTS"

    def __init__(self, kind: str, name: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name


class PreconditionFailed(ViDiError):
    """The request is valid, but not in this state (a pinned digest is not loaded)."""

    reason = "PRECONDITION_FAILED"


class Exhausted(ViDiError):
    """A queue, disk or quota is full. `retry_after` is the advised wait in seconds."""

    reason = "EXHAUSTED"

    def __init__(self, message: str, *, retry_after: float = 1.0, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class Expired(ViDiError):
    """The deadline passed before the work started."""

    reason = "EXPIRED"


class Cancelled(ViDiError):
    """The caller gave up."""

    reason = "CANCELLED"


class Unavailable(ViDiError):
    """A service that is needed does not answer. `retry_after` is the advised wait in seconds."""

    reason = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: float = 1.0, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class BundleError(ViDiError):
    """A model bundle is damaged, incomplete or from a newer version."""

    reason = "BUNDLE_ERROR"


class InternalError(ViDiError):
    """A defect of ViDi's own; the message says nothing about the cause."""

    reason = "INTERNAL"
