"""A dry run says what the intake would do, in words that repeat nothing of the header."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from typer.testing import CliRunner

from vidi.cli import build
from vidi.manifest import IntendedUse
from vidi_gateway.handlers.rules import offline
from vidi_gateway.rules import Rules
from vidi_gateway.rules.dry_run import with_population
from vidi_gateway.settings import GatewaySettings

Header = Callable[..., Dataset]
Load = Callable[[str], Rules]
RULES = """
[[rule]]
name = "adults"
mode = "live"
destinations = ["pacs"]
[rule.match]
min_age_years = 18

[default]
mode = "shadow"
"""


def test_the_gate_the_rule_and_the_destinations_are_said(
    rules: Load, header: Header, settings: GatewaySettings
) -> None:
    run = offline(settings, rules(RULES), header(), source="http")
    assert (run.fate, run.checks) == ("live", ("header",))
    assert run.words() == [
        "rule 'adults': takes the film",
        "gate: passes by its header; its pixels are looked at when it is processed",
        "model: pneumonia-slim, priority 1, live",
        "pacs gets sr, sc",
    ]
    assert run.to_json()["routing"]["sends"] == {"pacs": ["sr", "sc"]}


def test_shadow_says_what_would_be_sent(rules: Load, header: Header, settings: GatewaySettings) -> None:
    run = offline(settings, rules(RULES), header(PatientAge="005Y"), source="http")
    assert run.words()[:2] == ["rule 'adults': no: age is not at least 18 years", "[default]: takes the film"]
    assert run.words()[-2:] == ["research would get sr, pm", "computed and stored; nothing is sent"]
    assert run.to_json()["routing"]["sends"] == {}


def test_a_film_that_the_gate_refuses_is_refused_whatever_the_rules_say(
    rules: Load, header: Header, settings: GatewaySettings
) -> None:
    run = offline(settings, rules(RULES), header(ViewPosition="LL"), source="http")
    assert (run.fate, run.reason_code) == ("refused", "VIEW_LATERAL")
    assert run.to_json()["routing"]["sends"] == {}
    # The site's own gate is asked, not the usual one.
    text = RULES + "[gate]\naccept_unstated_region = true\n"
    silent = dict.fromkeys(("AnatomicRegionSequence", "ProtocolName", "AcquisitionDeviceProcessingDescription"))
    unstated = header(BodyPartExamined="", SeriesDescription="p.a.", StudyDescription="", **silent)
    assert offline(settings, rules(text), unstated, source="http").fate == "live"
    assert offline(settings, rules(RULES), unstated, source="http").reason_code == "NOT_CHEST"


def test_the_population_of_the_model_is_asked(rules: Load, header: Header, settings: GatewaySettings) -> None:
    use = IntendedUse(statement="x", age_min_years=60.0, source_population="y", subjects=("patient",))
    ds = header()
    run = offline(settings, rules(RULES), ds, source="http")
    refused = with_population(run, ds, use, "refuse")
    assert (refused.fate, refused.reason_code) == ("refused", "OUT_OF_POPULATION")
    assert refused.checks == ("header", "population")
    marked = with_population(run, ds, use, "mark")
    assert marked.fate == "live" and [n.code for n in marked.notes] == ["OUT_OF_POPULATION"]


def test_what_is_no_film_is_dropped(rules: Load, header: Header, settings: GatewaySettings) -> None:
    ds = header()
    del ds.Rows
    run = offline(settings, rules(RULES), ds, source="http")
    assert (run.fate, run.reason_code) == ("dropped", "NOT_AN_IMAGE")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with one destination; its rules are to be written into the file that is returned."""
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "10.0.0.9", "port": 104}
    monkeypatch.setenv("VIDI_DESTINATIONS", json.dumps([pacs]))
    (tmp_path / "site.toml").write_text(RULES)
    return tmp_path / "site.toml"


def run_cli(*arguments: Any) -> Any:
    return CliRunner().invoke(build(), ["gateway", "rules", *map(str, arguments)])


def test_check_on_the_command_line(site: Path) -> None:
    ended = run_cli("check", site)
    assert ended.exit_code == 0, ended.output
    assert "site.toml: in order" in ended.output and "adults, default" in ended.output
    site.write_text(RULES.replace("min_age_years", "min_age"))
    ended = run_cli("check", site)
    assert ended.exit_code == 1 and "rule 'adults': match.min_age: there is no such field" in ended.output
    site.write_text(RULES.replace('"live"', '"live"\nmodel = "none"'))
    said = json.loads(run_cli("check", site, "--json").output)
    assert said["valid"] is False and "no model 'none' is loaded" in said["violations"][0]["description"]


def test_try_on_the_command_line(site: Path, film: bytes, tmp_path: Path) -> None:
    ds = dcmread(io.BytesIO(film))
    ds.PatientName, ds.PatientID, ds.StationName = "Smith^Ann", "P-4711", "Bed of Smith"
    ds.PatientAge = "054Y"
    ds.save_as(tmp_path / "film.dcm")
    (tmp_path / "text.dcm").write_text("not DICOM")
    ended = run_cli("try", tmp_path / "film.dcm", "--rules", site, "--model", "severity-phantom", "--json")
    assert ended.exit_code == 0, ended.output
    said = json.loads(ended.output)
    assert (said["fate"], said["checks"]) == ("live", ["header", "population"])
    ended = run_cli("try", tmp_path / "film.dcm", tmp_path / "text.dcm", "--rules", site)
    assert ended.exit_code == 3
    assert "QUALITY_CONTROL_SUBJECT" in ended.output  # the default model is made for patients
    assert "not a DICOM Part 10 file" in ended.output
    assert "Smith" not in ended.output and "4711" not in ended.output
