"""A rules file that is wrong stops the start, and says where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vidi.errors import InvalidInput
from vidi_gateway.rules import Rules
from vidi_gateway.settings import GatewaySettings

Load = Callable[[str], Rules]
ONE = '[[rule]]\nname = "night"\nmode = "live"\n{}\n[rule.match]\n{}\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ONE.format("", "modalty = 'DX'"), "rule 'night': match.modalty: there is no such field"),
        (ONE.format("", "description = '(?=x)'"), "rule 'night': match.description.1: is not a regular expression"),
        (ONE.format("", f"description = '{'a' * 300}'"), "rule 'night': match.description.1: must be a regular"),
        (ONE.format("", "description = '((a{1000}){1000}){1000}'"), "rule 'night': match.description.1: is not"),
        (ONE.format("", "host = '10.1.2.3/8'"), "rule 'night': match.host.1: must be a range of addresses"),
        (ONE.format("", "sop_class = 'Chest'"), "rule 'night': match.sop_class.1: must be a UID"),
        (ONE.format("", "min_age_years = 9\nmax_age_years = 3"), "rule 'night': match: min_age_years is above"),
        (ONE.format("", ""), "rule 'night': match: says nothing"),
        (ONE.format("destinations = ['lab']", "view = 'PA'"), "rule 'night': destinations: no destination 'lab'"),
        (
            ONE.format("destinations.pacs = 'pm'", "view = 'PA'"),
            "rule 'night': destinations: 'pacs' does not take 'pm'",
        ),
        (ONE.format("destinations.pacs = []", "view = 'PA'"), "rule 'night': destinations.pacs"),
        (ONE.format("destinations.pacs = 'ko'", "view = 'PA'"), "rule 'night': destinations.pacs.1: must be 'sr'"),
        (ONE.format("priority = 0", "view = 'PA'"), "rule 'night': priority: must be greater than or equal to 1"),
        (ONE.format("model = '../x'", "view = 'PA'"), "rule 'night': model"),
        ("[[rule]]\nname = 'night'\n[rule.match]\nview = 'PA'", "rule 'night': mode is missing"),
        ("[[rule]]\nmode = 'live'\n[rule.match]\nview = 'PA'", "rule 1: name: is missing"),
        ("[[rule]]\nname = 'night'\nmode = 'live'", "rule 'night': match: is missing"),
        (ONE.format("", "view = 'PA'") * 2, "two rules are named 'night'"),
        ("[[rule]]\nname = 'default'\nmode = 'live'\n[rule.match]\nview = 'PA'", "no rule may be named 'default'"),
        ("[default]\nmode = 'loud'", "[default]: mode: must be 'live' or 'shadow'"),
        ("[default]\naction = 'ignore'\nmodel = 'm'", "[default]: action = 'ignore' leaves nothing to say about model"),
        ("[default]\nmode = 'live'\n[gate]\nchest_words = ['A']", "[gate]: words of fewer than three letters"),
        ("[reading_order]\nbands = [0.5, 0.5]", "[reading_order]: bands must rise"),
        ("[reading_order.weights]\nsevere = -1", "[reading_order]: weights.severe: must be greater than or equal to 0"),
        ("nonsense = 1", "nonsense: there is no such field"),
        ("[[rule", "not TOML"),
    ],
)
def test_what_is_wrong_is_said(rules: Load, text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rules(text)
    assert caught.value.reason == "RULES_INVALID"
    assert says in str(caught.value)
    assert str(caught.value).startswith("site.toml: ")


def test_everything_that_is_wrong_is_said_at_once(rules: Load) -> None:
    with pytest.raises(InvalidInput) as caught:
        rules(ONE.format("priority = 'x'", "modalty = 'DX'"))
    assert len(caught.value.violations) == 2
    assert len(str(caught.value).splitlines()) == 2


def test_films_that_no_rule_takes_must_be_spoken_of(tmp_path: Path, settings: GatewaySettings) -> None:
    path = tmp_path / "site.toml"
    path.write_text(ONE.format("", "view = 'PA'"))
    with pytest.raises(InvalidInput, match=r"\[default\] is missing"):
        Rules.load(path, settings)


def test_a_file_that_cannot_be_read(tmp_path: Path, settings: GatewaySettings) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        Rules.load(tmp_path / "none.toml", settings)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        Rules.load(tmp_path / "latin.toml", settings)
    (tmp_path / "large.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(InvalidInput, match="larger than"):
        Rules.load(tmp_path / "large.toml", settings)


def test_models_that_are_not_loaded_are_named(rules: Load) -> None:
    loaded = rules(ONE.format('model = "new"', "view = 'PA'"))
    assert loaded.models == {"new"}
    loaded.check_models(["new", "old"])
    with pytest.raises(InvalidInput, match=r"rule 'night': model: no model 'new' is loaded \(loaded: old\)"):
        loaded.check_models(["old"])


def test_the_gate_of_the_site(rules: Load) -> None:
    gate = rules("[gate]\naccept_unstated_region = true\nchest_words = ['poitrine']\n").gate
    assert gate.accept_unstated_region and not gate.accept_burned_in
    assert "POITRINE" in gate.chest_words and "CHEST" in gate.chest_words
