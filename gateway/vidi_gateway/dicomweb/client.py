"""A DICOMweb node as we use it: STOW-RS, QIDO-RS and WADO-RS (PS3.18) through dicomweb-client."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from dicomweb_client.web import DICOMwebClient, _Transaction
from pydicom import Dataset
from requests import HTTPError

from vidi.errors import NotFound, PreconditionFailed, Unavailable, ViDiError
from vidi_gateway.dicomweb.address import WebAddress
from vidi_gateway.dicomweb.session import BoundedSession
from vidi_gateway.dimse.scu import Outcome, Sent, judge
from vidi_gateway.matches import RETURN_KEYS, Level, Match, checked_keys, match_of

#: They write URLs with what was asked for, and UIDs.
for _name in ("dicomweb_client", "retrying"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

PAGE = 500
_ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
#: The object itself is wrong for this node; every other failure may be a matter of time or configuration.
_PERMANENT = (400, 411, 413, 415, 422)
_CONFIGURATION = (401, 403, 404, 405, 407)


class _Rest(DICOMwebClient):
    """What dicomweb-client does, on bytes: neither what is sent nor what comes is parsed and written anew."""

    def store_file(self, data: bytes) -> Dataset:
        url = self._get_studies_url(_Transaction.STORE)
        return self._http_post_multipart_application_dicom(url, [data])

    def retrieve_files(self, study_uid: str, series_uid: str, sop_uid: str) -> list[bytes]:
        url = self._get_instances_url(_Transaction.RETRIEVE, study_uid, series_uid, sop_uid)
        response = self._http_get(url, headers={"Accept": _ANY_SYNTAX})
        if response.headers.get("Content-Type", "").startswith("application/dicom"):  # against the standard, and common
            return [response.content]
        return [bytes(part) for part in self._decode_multipart_message(response, stream=False)]


class WebClient:
    """A DICOMweb node. Blocking, and of one thread; a context manager.

    Parameters
    ----------
    address
        The node, credentials and limits.

    Raises
    ------
    PreconditionFailed
        TLS_FILES.
    """

    def __init__(self, address: WebAddress) -> None:
        self._session = BoundedSession(address)
        self._rest = _Rest(address.url, session=self._session, timeout=address.timeout)
        self._rest.set_http_retry_params(retry=False)  # whoever calls knows when to try again

    def __enter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def store(self, data: bytes, sop_instance_uid: str = "") -> Sent:
        """Send one Part 10 file by STOW-RS.

        Parameters
        ----------
        data
            The file; these very bytes are sent.
        sop_instance_uid
            Its UID, for the returned fate.

        Returns
        -------
        Its fate; nothing is raised for a node that refuses or does not answer.
        """
        try:
            answer = self._rest.store_file(data)
        except HTTPError as e:
            return _refused(e, sop_instance_uid)
        except ViDiError as e:
            return Sent(sop_instance_uid, Outcome.RETRY, None, e.reason)
        except Exception:  # noqa: BLE001 - a 2xx whose body is no DICOM: whether it has the object is to be asked
            return Sent(sop_instance_uid, Outcome.SENT)
        return _fate(answer, sop_instance_uid) or Sent(sop_instance_uid, Outcome.SENT, 0)

    def find(
        self, level: Level, keys: Mapping[str, str], *, limit: int | None = None, page: int = PAGE
    ) -> Iterator[Match]:
        """Look for studies, series or instances by QIDO-RS.

        Parameters
        ----------
        level
            What to look for.
        keys
            Values, ranges or wildcards by keyword. StudyInstanceUID and SeriesInstanceUID narrow the resource.
        limit
            Stop after so many.
        page
            Matches asked for at a time.

        Yields
        ------
        Matches, page by page. A node that ignores `offset` is noticed, and ends it.

        Raises
        ------
        InvalidInput
            NO_SUCH_KEYWORD.
        PreconditionFailed
            HTTP_401 and the like; HTTP_400: the node cannot process these keys.
        Unavailable, Exhausted
            See `BoundedSession.send`; HTTP_503 and the like.
        """
        filters = dict(checked_keys(keys))
        offset, last = 0, ""
        while True:
            size = page if limit is None else min(page, limit - offset)
            found = self._page(level, dict(filters), size, offset)
            first = str(found[0]) if found else ""
            if not found or first == last:
                return
            last = first
            for item in found[:size]:
                yield _match(item)
            offset += len(found)
            if limit is not None and offset >= limit:
                return

    def retrieve(self, study_uid: str, series_uid: str, sop_uid: str) -> bytes:
        """Fetch one instance by WADO-RS, in the transfer syntax that the node has it in.

        Returns
        -------
        A Part 10 file, as it came: untrusted.

        Raises
        ------
        NotFound
            The node does not have it.
        PreconditionFailed, Unavailable, Exhausted
            As `find`; BAD_ANSWER: the node sent something else.
        """
        with _translated():
            parts = self._rest.retrieve_files(study_uid, series_uid, sop_uid)
            if len(parts) != 1:
                raise Unavailable("the node sent another number of instances", reason="BAD_ANSWER")
            return parts[0]

    def metadata(self, study_uid: str, series_uid: str, sop_uid: str) -> Dataset:
        """Fetch one instance's attributes without its pixels.

        Raises
        ------
        NotFound, PreconditionFailed, Unavailable, Exhausted
            As `retrieve`.
        """
        with _translated():
            found = self._rest.retrieve_instance_metadata(study_uid, series_uid, sop_uid)
            return Dataset.from_json(found)

    def _page(self, level: Level, filters: dict[str, str], size: int, offset: int) -> list[dict[str, Any]]:
        fields = [f for f in RETURN_KEYS[level] if f not in filters]
        paging: dict[str, Any] = {"fields": fields, "limit": size, "offset": offset}
        study, series = filters.pop("StudyInstanceUID", ""), filters.pop("SeriesInstanceUID", "")
        with _translated():
            if level is Level.STUDY:
                exact = {"StudyInstanceUID": study} if study else {}
                return self._rest.search_for_studies(search_filters=filters | exact, **paging)
            if level is Level.SERIES:
                exact = {"SeriesInstanceUID": series} if series else {}
                return self._rest.search_for_series(study or None, search_filters=filters | exact, **paging)
            return self._rest.search_for_instances(study or None, series or None, search_filters=filters, **paging)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Say what went wrong without saying what was asked for."""
    try:
        yield
    except HTTPError as e:
        code = _status(e)
        if code == 404:
            raise NotFound("object", "asked for at the node") from None
        message, reason = f"the node answers with HTTP status {code}", f"HTTP_{code}"
        if code in _CONFIGURATION or code in _PERMANENT:
            raise PreconditionFailed(message, reason=reason) from None
        raise Unavailable(message, reason=reason) from None
    except ViDiError:
        raise
    except Exception:  # noqa: BLE001 - whatever a library makes of what a node may send
        raise Unavailable("the node's answer cannot be read", reason="BAD_ANSWER") from None


def _match(item: dict[str, Any]) -> Match:
    try:
        return match_of(Dataset.from_json(item))
    except Exception:  # noqa: BLE001 - as above
        raise Unavailable("the node's answer cannot be read", reason="BAD_ANSWER") from None


def _refused(error: HTTPError, uid: str) -> Sent:
    """The fate of an object after an HTTP error: 409 says why in its body (PS3.18 section 10.5.3.1)."""
    code = _status(error)
    if code == 409 and error.response is not None:
        with contextlib.suppress(Exception):
            fate = _fate(Dataset.from_json(error.response.json()), uid)
            if fate:
                return fate
    outcome = Outcome.PERMANENT if code in _PERMANENT else Outcome.RETRY
    return Sent(uid, outcome, None, f"HTTP_{code}")


def _fate(answer: Dataset, uid: str) -> Sent | None:
    """What a STOW-RS answer says about a failure; None when it names none."""
    for item in answer.get("FailedSOPSequence") or ():
        status = int(item.get("FailureReason") or 0x0110)
        outcome = judge(status)
        return Sent(uid, outcome, status, "" if outcome is Outcome.SENT else f"STATUS_{status:04X}")
    return None


def _status(error: HTTPError) -> int:
    return 0 if error.response is None else int(error.response.status_code)
