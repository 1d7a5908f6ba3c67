"""Query and retrieve at another node: C-FIND and C-MOVE as a user, Study Root (PS3.4 annex C)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pydicom import Dataset
from pynetdicom.presentation import build_context

from vidi.errors import PreconditionFailed, Unavailable
from vidi_gateway.dimse.address import Address
from vidi_gateway.dimse.association import NATIVE, Associations
from vidi_gateway.matches import Level, Match, identifier, match_of

#: Study Root Query/Retrieve Information Model, FIND and MOVE.
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
_PENDING = (0xFF00, 0xFF01)
_CANCELLED = 0xFE00
_MOVE_DESTINATION_UNKNOWN = 0xA801
#: Some sub-operations failed.
_PARTLY = 0xB000


@dataclass(frozen=True)
class Moved:
    """How far a C-MOVE is; counts are of instances.

    Attributes
    ----------
    status
        The answer's status: FF00 while it goes on, 0000 at the end, B000 when some failed.
    done
        Whether this is the last answer.
    remaining
        None where the node does not say.
    """

    status: int
    done: bool
    completed: int = 0
    failed: int = 0
    warned: int = 0
    remaining: int | None = None

    @property
    def ok(self) -> bool:
        """Whether it ended and everything was sent."""
        return self.done and self.status == 0 and not self.failed


class Querier:
    """One association for queries and retrievals; open it as a context manager. Blocking, and of one thread.

    Parameters
    ----------
    address
        The node. Its `timeout` bounds the wait for each answer.
    associations
        Where the association is remembered while it is open.
    """

    def __init__(self, address: Address, associations: Associations | None = None) -> None:
        self._address = address
        self._associations = associations or Associations()
        self._stack = contextlib.ExitStack()
        self._association: Any = None
        self._messages = 0

    def __enter__(self) -> Self:
        """Associate.

        Raises
        ------
        Unavailable
            See `Associations.open`.
        PreconditionFailed
            SOP_CLASS_NOT_ACCEPTED: neither C-FIND nor C-MOVE is offered. TLS_FILES.
        """
        contexts = [build_context(_FIND, list(NATIVE)), build_context(_MOVE, list(NATIVE))]
        self._association = self._stack.enter_context(self._associations.open(self._address, contexts))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release."""
        self._stack.__exit__(kind, error, trace)

    def find(self, level: Level, keys: Mapping[str, str], *, limit: int | None = None) -> Iterator[Match]:
        """Look for studies, series or instances.

        Parameters
        ----------
        level
            What to look for. Below STUDY, `keys` hold the UIDs of the levels above (PS3.4 section C.4.1.2.2.1).
        keys
            Values, ranges or wildcards by keyword, such as {"StudyDate": "20240101-20240131"}.
        limit
            Cancel (C-CANCEL) after so many matches. Closing the iterator cancels too.

        Yields
        ------
        Matches as they come.

        Raises
        ------
        InvalidInput
            NO_SUCH_KEYWORD.
        PreconditionFailed
            QUERY_NOT_ACCEPTED: C-FIND is not offered, or the node cannot process these keys.
        Unavailable
            ASSOCIATION_LOST, or STATUS_A700: the node is out of resources.
        """
        query = identifier(level, keys)
        answers = self._request("send_c_find", query, _FIND, "QUERY_NOT_ACCEPTED")
        count = 0
        with self._cancelling(answers, _FIND):
            for status, found in answers:
                if status in _PENDING:
                    if found is not None:
                        yield match_of(found)
                        count += 1
                        if count == limit:
                            return
                elif status not in (0, _CANCELLED):
                    raise _refused(status, "QUERY_NOT_ACCEPTED")

    def move(
        self, match: Match, destination_ae: str, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Moved]:
        """Have the node send a study, a series or an instance to an AE title that it knows.

        Parameters
        ----------
        match
            What: its UIDs say at which level.
        destination_ae
            To whom.
        cancelled
            Asked after each answer; True sends C-CANCEL, and the move ends with FE00.

        Yields
        ------
        Every answer; the last is `done`.

        Raises
        ------
        PreconditionFailed
            MOVE_NOT_ACCEPTED; MOVE_DESTINATION_UNKNOWN: the node does not know `destination_ae`.
        Unavailable
            ASSOCIATION_LOST, or STATUS_A701 and the like: the node cannot do it now.
        """
        ds = Dataset()
        ds.QueryRetrieveLevel = match.level.value
        ds.StudyInstanceUID = match.study_uid
        if match.series_uid:
            ds.SeriesInstanceUID = match.series_uid
        if match.sop_uid:
            ds.SOPInstanceUID = match.sop_uid
        told = False
        answers = self._request("send_c_move", ds, _MOVE, "MOVE_NOT_ACCEPTED", destination_ae)
        with self._cancelling(answers, _MOVE):
            for progress in answers.progress():
                if progress.status == _MOVE_DESTINATION_UNKNOWN:
                    raise PreconditionFailed(
                        "the node does not know the AE title that it is to send to", reason="MOVE_DESTINATION_UNKNOWN"
                    )
                if progress.done and progress.status not in (0, _CANCELLED, _PARTLY):
                    raise _refused(progress.status, "MOVE_NOT_ACCEPTED")
                yield progress
                if not told and not progress.done and cancelled():
                    self._association.send_c_cancel(self._messages, query_model=_MOVE)
                    told = True

    def _request(self, service: str, ds: Dataset, model: str, reason: str, *more: str) -> _Answers:
        self._messages += 1
        try:
            raw = getattr(self._association, service)(ds, *more, model, msg_id=self._messages)
        except ValueError:
            raise PreconditionFailed("the node does not offer this service", reason=reason) from None
        except RuntimeError:
            raise _lost() from None
        return _Answers(raw)

    @contextlib.contextmanager
    def _cancelling(self, answers: _Answers, model: str) -> Iterator[None]:
        """Cancel what is left of an operation: without its last answer the association is of no more use."""
        try:
            yield
        finally:
            if not answers.over:
                with contextlib.suppress(RuntimeError, ValueError, Unavailable):
                    self._association.send_c_cancel(self._messages, query_model=model)
                    for _ in answers:
                        pass


class _Answers:
    """The answers of one operation: status and identifier. `over` once the last one came."""

    def __init__(self, raw: Iterator[tuple[Dataset, Dataset | None]]) -> None:
        self._raw = raw
        self.over = False

    def __iter__(self) -> Iterator[tuple[int, Dataset | None]]:
        for status, found in self._taken():
            yield int(status.Status), found

    def progress(self) -> Iterator[Moved]:
        """The answers of a C-MOVE."""
        for status, _ in self._taken():
            remaining = status.get("NumberOfRemainingSuboperations")
            yield Moved(
                status=int(status.Status),
                done=self.over,
                completed=int(status.get("NumberOfCompletedSuboperations") or 0),
                failed=int(status.get("NumberOfFailedSuboperations") or 0),
                warned=int(status.get("NumberOfWarningSuboperations") or 0),
                remaining=None if remaining is None else int(remaining),
            )

    def _taken(self) -> Iterator[tuple[Dataset, Dataset | None]]:
        while not self.over:
            try:
                status, found = next(self._raw)
            except StopIteration:
                self.over = True
                return
            if "Status" not in status:
                self.over = True
                raise _lost()
            if status.Status not in _PENDING:
                self.over = True
                for _ in self._raw:  # pynetdicom's generator has a last word to itself
                    pass
            yield status, found


def _lost() -> Unavailable:
    return Unavailable("the association with the node was lost", reason="ASSOCIATION_LOST")


def _refused(status: int, reason: str) -> Unavailable | PreconditionFailed:
    if 0xA700 <= status < 0xA800:
        return Unavailable("the node is out of resources", reason=f"STATUS_{status:04X}")
    return PreconditionFailed(f"the node answers with status {status:04X}", reason=reason)
