"""What reaches the log, and what never does."""

from __future__ import annotations

import io
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from vidi import logs
from vidi.settings import CommonSettings

SECRET = "DOE^JANE"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = list(root.handlers), root.level, threading.excepthook
    yield
    logging.captureWarnings(False)
    threading.excepthook = hook
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(params=[True, False], ids=["json", "text"])
def written(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Any:
    """Configure logging; return what reads all that was written."""
    logs.configure(CommonSettings(log_json=request.param, log_level="INFO"))
    return lambda: capsys.readouterr().err


def test_forbidden_keys_bytes_and_objects_are_withheld(written: Any) -> None:
    class Dataset:
        def __repr__(self) -> str:
            return SECRET

    logs.get("t").info(
        "film",
        patient_name=SECRET,
        PatientID=SECRET,
        AccessionNumber=SECRET,
        pixels=SECRET.encode(),
        thing=Dataset(),
        many=[SECRET],
        film_id="f123",
    )
    text = written()
    assert SECRET not in text
    assert "JANE" not in text
    assert "f123" in text
    assert "film" in text


def test_exceptions_are_written_by_type_and_place_only(written: Any) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logs.get("t").error("went wrong", exc_info=True)
        logs.get("t").exception("went wrong again")
    text = written()
    assert SECRET not in text
    assert text.count("ValueError") == 2
    assert text.count("test_exceptions_are_written") == 2


def test_libraries_values_and_tracebacks_are_not_written(written: Any) -> None:
    library = logging.getLogger("some.library")
    try:
        raise KeyError(SECRET)
    except KeyError:
        library.exception("cannot read element %s", SECRET)
    library.error(f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{SECRET}')>")
    library.info("chatter")
    logging.getLogger("pydicom").error(SECRET)
    text = written()
    assert SECRET not in text
    assert "cannot read element %s" in text
    assert "KeyError" in text
    assert "Task exception was never retrieved" in text
    assert "chatter" not in text


def test_lines_that_libraries_put_together_are_withheld(written: Any) -> None:
    name = "".join(["DOE", "^", "JANE"])
    logging.getLogger("some.library").error(f"no room for {name}")
    logging.getLogger("some.library").error("no room")
    text = written()
    assert SECRET not in text
    assert "(message withheld)" in text
    assert "no room" in text


def test_warnings_and_dying_threads_do_not_write_past_the_log(written: Any) -> None:
    def die() -> None:
        raise ValueError(SECRET)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn(f"invalid value {SECRET}", stacklevel=1)
    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    text = written()
    assert SECRET not in text
    assert "a thread ended" in text and "ValueError" in text


def test_uids_are_replaced_but_the_standards_own(written: Any) -> None:
    uids = ("1.2.276.0.7230010.3.1.4.8323329.5323", "2.25.305828488182831875890203105390285383139")
    logs.get("t").info(
        "sent", a=f"study {uids[0]}/{uids[1]}", kind="1.2.840.10008.5.1.4.1.1.1.1", peer="P@192.168.1.100"
    )
    text = written()
    assert not any(uid in text for uid in uids)
    assert "1.2.840.10008.5.1.4.1.1.1.1" in text and "192.168.1.100" in text


def test_the_level_is_kept_and_long_strings_are_cut(written: Any) -> None:
    logs.get("t").debug("too quiet")
    logs.get("t").info("loud", text="x" * 10_000)
    text = written()
    assert "too quiet" not in text
    assert len(text) < 1000


def test_a_log_that_cannot_be_written_ends_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    logs.configure(CommonSettings())
    monkeypatch.setattr("sys.stderr", closed)
    logs.get("t").error("into the void")


def test_json_logs_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(CommonSettings(log_json=True))
    logs.get("part").info("one", n=1)
    logs.get("part").warning("two\nlines")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["n"], first["level"], first["component"]) == ("one", 1, "info", "part")
    assert second["event"] == "two\nlines"


def test_a_server_in_another_program_never_logs_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.reset_defaults()
    logs.ensure(CommonSettings())
    logs.get("t").info("film", patient_name=SECRET)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "film" in captured.err
    assert SECRET not in captured.err
    logs.filtered(CommonSettings(log_level="ERROR"))
    logs.ensure(CommonSettings())  # what was chosen stays
    logs.get("t").info("quiet")
    assert capsys.readouterr().err == ""


def test_hashed_ids_are_stable_keyed_and_short() -> None:
    one = logs.hash_id("1.2.3", b"site a")
    assert one == logs.hash_id("1.2.3", b"site a")
    assert len({one, logs.hash_id("1.2.3", b"site b"), logs.hash_id("1.2.4", b"site a")}) == 3
    assert len(one) == 16
    assert "1.2.3" not in one
