"""An archive that films are fetched from, by whichever protocol. Blocking, and of one thread."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from vidi.errors import Exhausted, InvalidInput, NotFound, PreconditionFailed
from vidi_gateway.dicomweb.client import WebClient
from vidi_gateway.dimse.association import Associations
from vidi_gateway.dimse.query import Querier
from vidi_gateway.matches import Level, Match
from vidi_gateway.nodes import Archive
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.pulls import Query, Target

MOVE_NOT_ACCEPTED = "MOVE_NOT_ACCEPTED"
#: PS3.7 annex C: the operation was cancelled, by us.
_CANCELLED = 0xFE00


class OwnQueueFull(Exception):
    """We cannot take more at the moment: the archive is not to blame, and no attempt was made."""


class Interrupted(Exception):
    """The pull was cancelled, or this process ends: no attempt was made."""


@dataclass(frozen=True)
class Fetched:
    """What an attempt at an item brought.

    Attributes
    ----------
    films
        Instances that came, and are durable.
    error
        "" when everything came; else a code.
    final
        Whether another attempt would bring no more.
    """

    films: int
    error: str = ""
    final: bool = False


class Session(Protocol):
    """A connection to an archive."""

    def find(self, level: Level, keys: Mapping[str, str], *, limit: int | None = None) -> Iterator[Match]:
        """Ask what there is: see `dimse.query.Querier.find`."""

    def fetch(self, target: Target, stopped: Callable[[], bool]) -> Fetched:
        """Fetch one item.

        Parameters
        ----------
        target
            What.
        stopped
            Whether to give up in the middle.

        Raises
        ------
        Unavailable
            The archive does not answer any more.
        PreconditionFailed
            Something has to be set right first.
        OwnQueueFull, Interrupted
            See there.
        """


def list_targets(session: Session, query: Query) -> Iterator[Target]:
    """Yield the series that a query finds, study by study.

    Studies are asked for first: a node answers one question at a time.

    Raises
    ------
    Unavailable, PreconditionFailed
        As `Session.find`.
    """
    studies: dict[str, None] = {}
    dates = {"StudyDate": query.study_date} if query.study_date else {}
    for modality in query.modalities:
        remaining = query.limit - len(studies) if query.limit else None
        if remaining is not None and remaining <= 0:
            break
        for match in session.find(Level.STUDY, dates | {"ModalitiesInStudy": modality}):
            studies.setdefault(match.study_uid)
            if query.limit and len(studies) >= query.limit:
                break
    for study in studies:
        keys = {"StudyInstanceUID": study, "BodyPartExamined": query.body_part}
        for match in session.find(Level.SERIES, keys):
            if match.modality in query.modalities and _fits(match, query.body_part):
                yield Target(study, match.series_uid)


def _fits(match: Match, body_part: str) -> bool:
    """Whether the body part fits, for nodes that do not look at this key; one that is not said may be any."""
    said = str(match.dataset.get("BodyPartExamined") or "")
    return not body_part or not said or fnmatch.fnmatchcase(said.upper(), body_part.upper())


class DimseSession:
    """C-FIND and C-MOVE: the films come to our own DICOM node.

    Parameters
    ----------
    querier
        An open association.
    move_to
        AE title that the archive is to send to: ours, as it knows us.
    """

    def __init__(self, querier: Querier, move_to: str) -> None:
        self._querier = querier
        self._move_to = move_to

    def find(self, level: Level, keys: Mapping[str, str], *, limit: int | None = None) -> Iterator[Match]:
        """See `Session.find`."""
        return self._querier.find(level, keys, limit=limit)

    def fetch(self, target: Target, stopped: Callable[[], bool]) -> Fetched:
        """See `Session.fetch`."""
        match = Match(target.study_uid, target.series_uid, target.sop_uid)
        try:
            answers = list(self._querier.move(match, self._move_to, cancelled=stopped))
        except PreconditionFailed as e:
            if e.reason != MOVE_NOT_ACCEPTED:
                raise
            # Many a node says so of what it does not have.
            return Fetched(0, e.reason) if self._there(match) else Fetched(0, "NOTHING_FOUND", final=True)
        last = answers[-1] if answers else None
        if last is None or last.status == _CANCELLED:
            if stopped():
                raise Interrupted
            return Fetched(0, "MOVE_CANCELLED")
        films = last.completed + last.warned
        if not last.ok:
            return Fetched(films, f"MOVE_INCOMPLETE_{last.status:04X}")
        return Fetched(films) if films else Fetched(0, "NOTHING_FOUND", final=True)

    def _there(self, match: Match) -> bool:
        uids = (("StudyInstanceUID", match.study_uid), ("SeriesInstanceUID", match.series_uid))
        keys = {k: v for k, v in (*uids, ("SOPInstanceUID", match.sop_uid)) if v}
        return next(self.find(match.level, keys, limit=1), None) is not None


class WebSession:
    """QIDO-RS and WADO-RS: the films are fetched one by one.

    Parameters
    ----------
    client
        The archive.
    take
        Takes one file in, with the SOP Instance UID that was asked for; raises InvalidInput and Exhausted.
    """

    def __init__(self, client: WebClient, take: Callable[[bytes, str], None]) -> None:
        self._client = client
        self._take = take

    def find(self, level: Level, keys: Mapping[str, str], *, limit: int | None = None) -> Iterator[Match]:
        """See `Session.find`."""
        # An empty key asks for any value by C-FIND; QIDO-RS has no such thing.
        return self._client.find(level, {k: v for k, v in keys.items() if v}, limit=limit)

    def fetch(self, target: Target, stopped: Callable[[], bool]) -> Fetched:
        """See `Session.fetch`."""
        films, error, found = 0, "", False
        for match in list(self._instances(target)):
            found = True
            if stopped():
                raise Interrupted
            try:
                data = self._client.retrieve(match.study_uid, match.series_uid, match.sop_uid)
            except (NotFound, Exhausted) as e:
                error = e.reason
                continue
            try:
                self._take(data, match.sop_uid)
            except InvalidInput as e:
                error = e.reason
                continue
            except Exhausted:
                raise OwnQueueFull from None
            films += 1
        if not found:
            return Fetched(0, "NOTHING_FOUND", final=True)
        return Fetched(films, error)

    def _instances(self, target: Target) -> Iterator[Match]:
        if target.series_uid and target.sop_uid:
            yield Match(target.study_uid, target.series_uid, target.sop_uid)
            return
        keys = {"StudyInstanceUID": target.study_uid}
        if target.series_uid:
            keys["SeriesInstanceUID"] = target.series_uid
        if target.sop_uid:
            keys["SOPInstanceUID"] = target.sop_uid
        for match in self._client.find(Level.IMAGE, keys):
            yield Match(target.study_uid, match.series_uid, match.sop_uid)


@contextlib.contextmanager
def connected(
    archive: Archive,
    settings: GatewaySettings,
    move_to: str,
    take: Callable[[bytes, str], None],
    associations: Associations,
) -> Iterator[Session]:
    """Open a session for the length of a block.

    Parameters
    ----------
    archive, settings
        Where to, and who we are.
    move_to
        See `DimseSession`.
    take
        See `WebSession`.
    associations
        Where an association is remembered while it is open.

    Raises
    ------
    Unavailable
        The archive does not answer.
    PreconditionFailed
        It does not let us in, or offers no query.
    """
    if archive.protocol == "dicomweb":
        with WebClient(archive.web_address()) as client:
            yield WebSession(client, take)
        return
    with Querier(archive.dimse_address(settings.ae_title), associations) as querier:
        yield DimseSession(querier, move_to)


def move_to(archive: Archive, settings: GatewaySettings, model: str) -> str:
    """Return the AE title that an archive sends to for a model line: the called AE title chooses the model.

    Raises
    ------
    InvalidInput
        NO_AE_FOR_MODEL: no called AE title stands for the model.
    """
    if archive.protocol == "dicomweb":
        return ""
    if model == settings.default_model:
        return archive.move_to or settings.ae_title
    for title, line in settings.ae_models.items():
        if line == model:
            return title
    message = "no called AE title stands for this model; by C-MOVE an archive can only send to one (VIDI_AE_MODELS)"
    raise InvalidInput(message, field="model", reason="NO_AE_FOR_MODEL")
