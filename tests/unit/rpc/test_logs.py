"""What reaches the log, and what never does."""

from __future__ import annotations

import io
import json
import logging
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
    handlers, level = list(root.handlers), root.level
    yield
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
