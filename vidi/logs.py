"""Logs without patient data: structlog, with a filter that drops what must never be written."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import linecache
import logging
import re
import sys
import threading
import traceback
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from vidi.settings import CommonSettings

#: Keys that are dropped, whatever they hold: compared in lower case without underscores.
FORBIDDEN = frozenset(
    {
        "patientname",
        "patientid",
        "patient",
        "patientbirthdate",
        "birthdate",
        "accessionnumber",
        "studydescription",
        "sopinstanceuid",
        "studyinstanceuid",
        "seriesinstanceuid",
        "institutionname",
        "referringphysicianname",
        "header",
        "dataset",
        "dicom",
        "data",
        "body",
        "password",
        "token",
    }
)
#: Longest string that is written.
LONGEST = 500
#: A DICOM UID (PS3.5 section 9.1) that is not one of the standard's own: it may lead to a patient.
_UID = re.compile(r"(?<![\w.])(?!1\.2\.840\.10008\.)[0-2](?:\.\d+){2,}(?![\w.])")
SHORTEST_UID = 16


def configure(settings: CommonSettings) -> None:
    """Set up logging for the process: to standard error, as text or one JSON object a line."""
    filtered(settings)
    # Libraries quote values in their messages (pydicom, pynetdicom): only their severest lines pass.
    logging.basicConfig(level=logging.ERROR, handlers=[_Libraries()], force=True)
    logging.captureWarnings(True)  # warnings quote values too, and they would go straight to standard error
    logging.getLogger("py.warnings").setLevel(logging.CRITICAL)
    threading.excepthook = _thread_died
    for name in ("pydicom", "pynetdicom", "dicomweb_client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def filtered(settings: CommonSettings) -> None:
    """Set up ViDi's own loggers only; other libraries' logging stays as it is."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    renderer: Any = (
        structlog.processors.JSONRenderer() if settings.log_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            without_patient_data,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=False,
    )


def ensure(settings: CommonSettings) -> None:
    """Set up ViDi's own loggers unless somebody has: by itself structlog writes everything, to standard output."""
    if not structlog.is_configured():
        filtered(settings)


def get(name: str) -> Any:
    """Return a logger. Events are short and constant; what varies goes into keyword values."""
    return structlog.get_logger(component=name)


class _Lines:
    """Writes lines to whatever standard error is at the time; a log that cannot be written never ends a call."""

    def msg(self, message: str) -> None:
        """Write one line."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed
            sys.stderr.write(message + "\n")
            sys.stderr.flush()

    log = debug = info = warning = error = critical = exception = msg


class _Libraries(logging.Handler):
    """Writes what libraries log: where it came from and the first line as it stands in their source, without values.

    Arguments, tracebacks' messages and further lines (asyncio quotes exceptions there) may hold patient data, and so
    may a line that the library put together itself: one that does not stand in the source is withheld.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        error = record.exc_info[1] if record.exc_info else None
        get(record.name).log(
            record.levelno,
            _as_in_source(record),
            source=f"{record.filename}:{record.lineno}",
            **({} if error is None else {"error": type(error).__name__, "at": where(error)}),
        )


def _as_in_source(record: logging.LogRecord) -> str:
    line = str(record.msg).partition("\n")[0]
    return line if line.strip() and line in "".join(linecache.getlines(record.pathname)) else "(message withheld)"


def _thread_died(failed: threading.ExceptHookArgs) -> None:
    """Say where a thread ended that nobody waits for. Python itself would write what the exception says."""
    if failed.exc_value is not None and failed.exc_type is not SystemExit:
        error = failed.exc_value
        get("threads").error("a thread ended", error=type(error).__name__, at=where(error))


def without_patient_data(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop forbidden keys, bytes, objects and what exceptions say; shorten long strings. A structlog processor."""
    if event.pop("exc_info", None):
        error = sys.exc_info()[1]
        event.update({"error": type(error).__name__, "at": where(error)} if error else {})
    for key in list(event):
        if key.lower().replace("_", "") in FORBIDDEN:
            event[key] = "(withheld)"
        elif isinstance(event[key], str):
            event[key] = without_uids(event[key])[:LONGEST]
        elif not isinstance(event[key], int | float | bool | None):
            event[key] = type(event[key]).__name__
    return event


def without_uids(text: str) -> str:
    """Return a text in which DICOM UIDs other than the standard's own are replaced by "(uid)"."""
    return _UID.sub(lambda m: m[0] if len(m[0]) < SHORTEST_UID else "(uid)", str(text))


def hash_id(value: str, key: bytes) -> str:
    """Return a keyed digest of an identifier, 16 hex digits: the same id is the same digest at one site only."""
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:16]


def where(error: BaseException) -> str:
    """Return where an error was raised, as "file:line function" of the last frames: no message, no values."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno} {f.name}" for f in reversed(frames))
