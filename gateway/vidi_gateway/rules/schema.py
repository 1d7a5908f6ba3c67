"""The rules file: what may stand in it. Every field is checked when the gateway starts; an unknown one is an error."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pydicom.uid
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from vidi.imaging.gate import GateRules
from vidi_gateway.nodes import ObjectKind
from vidi_gateway.reading.weights import ReadingOrder
from vidi_gateway.rules import patterns

DEFAULT = "default"
MAX_RULES = 500
_NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}$"


def _listed(value: Any) -> Any:
    """One text stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _uid(value: str) -> str:
    known = getattr(pydicom.uid, value, None)  # the standard's SOP Classes by keyword
    found = str(known) if isinstance(known, pydicom.uid.UID) else value
    if not re.fullmatch(r"[0-2](\.(0|[1-9][0-9]*))+", found) or len(found) > 64:
        raise ValueError("must be a UID, or a name such as DigitalXRayImageStorageForPresentation")
    return found


def _upper(value: str) -> str:
    return value.strip().upper()


def _wildcard(value: str) -> str:
    patterns.wildcard(value)
    return value


def _address(value: str) -> str:
    patterns.address(value)
    return value


def _expression(value: str) -> str:
    patterns.expression(value)
    return value


_Few = Field(min_length=1, max_length=100)
Codes = Annotated[tuple[Annotated[str, AfterValidator(_upper)], ...], BeforeValidator(_listed), _Few]
Uids = Annotated[tuple[Annotated[str, AfterValidator(_uid)], ...], BeforeValidator(_listed), _Few]
Wildcards = Annotated[tuple[Annotated[str, AfterValidator(_wildcard)], ...], BeforeValidator(_listed), _Few]
Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], BeforeValidator(_listed), _Few]
Expressions = Annotated[tuple[Annotated[str, AfterValidator(_expression)], ...], BeforeValidator(_listed), _Few]
Kinds = Annotated[tuple[ObjectKind, ...], BeforeValidator(_listed), Field(min_length=1)]


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Match(Table):
    """Which films a rule is for: all fields that are given must fit; of a list, one value must.

    Attributes
    ----------
    source, calling_ae, called_ae, line
        How the film came, with * and ?.
    host
        The sender's host, with * and ?, or a range of addresses.
    modality, view, body_part
        Coded strings; "" stands for a value that is missing.
    sop_class
        UIDs, or their names in the standard's dictionary.
    station, institution, manufacturer, device
        Texts with * and ?.
    description
        Regular expressions (RE2), looked for in the descriptions of series, protocol, procedure and study.
    min_age_years, max_age_years
        In completed years, both ends included. A film whose patient's age is not known does not fit.
    phantom
        Whether the film shows a phantom.
    """

    source: Wildcards | None = None
    calling_ae: Wildcards | None = None
    host: Addresses | None = None
    called_ae: Wildcards | None = None
    line: Wildcards | None = None
    modality: Codes | None = None
    sop_class: Uids | None = None
    view: Codes | None = None
    body_part: Codes | None = None
    station: Wildcards | None = None
    institution: Wildcards | None = None
    manufacturer: Wildcards | None = None
    device: Wildcards | None = None
    description: Expressions | None = None
    min_age_years: float | None = Field(default=None, ge=0, le=150)
    max_age_years: float | None = Field(default=None, ge=0, le=150)
    phantom: bool | None = None

    @model_validator(mode="after")
    def _some(self) -> Match:
        if all(value is None for value in vars(self).values()):
            raise ValueError("says nothing; the films that no rule takes are what [default] is for")
        low, high = self.min_age_years, self.max_age_years
        if low is not None and high is not None and low > high:
            raise ValueError("min_age_years is above max_age_years: no film could fit")
        return self


class Action(Table):
    """What is done with the films of a rule.

    Attributes
    ----------
    action
        "process", or "ignore": acknowledged, counted and dropped.
    mode
        "live", or "shadow" (compute and store, send nothing). To be said in every rule that processes.
    model
        Model line; where it is not given, that of the AE title that was called.
    destinations
        Names of destinations, each with all kinds that it takes, or a table of kinds by name. Not given: everything
        everywhere; empty: nothing anywhere.
    priority
        Of the films' processing; lower goes first. Not given: as they came.
    """

    action: Literal["process", "ignore"] = "process"
    mode: Literal["live", "shadow"] | None = None
    model: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,128}$")
    destinations: dict[str, Kinds | None] | None = None
    priority: int | None = Field(default=None, ge=1, le=1000)

    @field_validator("destinations", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        value = _listed(value)
        if isinstance(value, list | tuple):
            if not all(isinstance(name, str) for name in value):
                raise ValueError("must be a list of names, or a table of kinds by name")
            return dict.fromkeys(value)
        return value

    @model_validator(mode="after")
    def _whole(self) -> Action:
        given = self.model_fields_set - {"action", "name", "match"}
        if self.action == "ignore" and given:
            raise ValueError(f"action = 'ignore' leaves nothing to say about {', '.join(sorted(given))}")
        if self.action == "process" and self.mode is None:
            raise ValueError("mode is missing: say 'live', or 'shadow' to compute and send nothing")
        return self


class Rule(Action):
    """One rule: films that `match` are treated so."""

    name: str = Field(pattern=_NAME)
    match: Match


class Gate(Table):
    """What the site lets through that is not let through by default.

    Attributes
    ----------
    accept_unstated_region
        Films whose header names no region; the pixel check then decides alone.
    accept_burned_in
        Films with Burned In Annotation YES: what is burned in will stand in the pictures of the results too.
    chest_words, other_words
        Words that speak of the chest, and of more than the chest, beside the built-in ones.
    """

    accept_unstated_region: bool = False
    accept_burned_in: bool = False
    chest_words: Codes | None = None
    other_words: Codes | None = None

    @model_validator(mode="after")
    def _no_empty_word(self) -> Gate:
        if not all(len(word) >= 3 for word in (*(self.chest_words or ()), *(self.other_words or ()))):
            raise ValueError("words of fewer than three letters stand in too many texts")
        return self

    def rules(self) -> GateRules:
        """As the gate takes them."""
        usual = GateRules()
        return GateRules(
            chest_words=usual.chest_words + (self.chest_words or ()),
            other_words=usual.other_words + (self.other_words or ()),
            accept_unstated_region=self.accept_unstated_region,
            accept_burned_in=self.accept_burned_in,
        )


class RulesFile(Table):
    """The whole file."""

    rule: tuple[Rule, ...] = Field(default=(), max_length=MAX_RULES)
    default: Action | None = None
    gate: Gate = Field(default_factory=Gate)
    reading_order: ReadingOrder = Field(default_factory=ReadingOrder)

    @model_validator(mode="after")
    def _complete(self) -> RulesFile:
        names = [rule.name for rule in self.rule]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"two rules are named {double[0]!r}")
        if DEFAULT in names:
            raise ValueError(f"no rule may be named {DEFAULT!r}: that is the table [default]")
        if self.rule and self.default is None:
            raise ValueError("[default] is missing: say what is done with films that no rule takes")
        return self
