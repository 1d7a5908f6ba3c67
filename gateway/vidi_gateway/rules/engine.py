"""Deciding: the first rule that fits takes the film."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from vidi.errors import InvalidInput
from vidi.imaging.gate import GateRules
from vidi.imaging.notes import Refusal
from vidi_gateway.reading.weights import ReadingOrder
from vidi_gateway.rules import patterns
from vidi_gateway.rules.facts import Facts
from vidi_gateway.rules.files import INVALID, read
from vidi_gateway.rules.routing import Routing
from vidi_gateway.rules.schema import DEFAULT, Action, Match, RulesFile
from vidi_gateway.rules.trace import Step, Trace
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.records import PRIORITY_LIVE

#: Reason code of films that a rule says to ignore.
OUT_OF_RULES = "OUT_OF_RULES"

#: Checks one field; returns why it does not fit, "" when it does.
Check = Callable[[Facts], str]


@dataclass(frozen=True)
class _Rule:
    name: str
    action: Action
    destinations: dict[str, tuple[str, ...]]
    checks: tuple[Check, ...]


class Rules:
    """The site's rules. Immutable; safe to use from many threads.

    Parameters
    ----------
    file
        What stands in the rules file.
    capable
        Kinds of objects that each destination takes, by name.
    where
        The file's name, for messages.
    """

    def __init__(self, file: RulesFile, capable: Mapping[str, tuple[str, ...]], where: str = "rules") -> None:
        self._where = where
        self._rules = tuple(
            _Rule(rule.name, rule, self._destinations(rule.name, rule, capable), _checks(rule.match))
            for rule in file.rule
        )
        default = file.default or Action(mode="live")
        self._default = _Rule(DEFAULT, default, self._destinations(DEFAULT, default, capable), ())
        self._gate = file.gate.rules()
        self._reading_order = file.reading_order

    @classmethod
    def load(cls, path: Path | None, settings: GatewaySettings) -> Rules:
        """Read the site's rules; without a file, everything is live and goes everywhere.

        Parameters
        ----------
        path
            A TOML file (docs/rules.md).
        settings
            Its destinations are those that rules may name.

        Raises
        ------
        InvalidInput
            RULES_INVALID, naming file, rule and field.
        """
        capable: dict[str, tuple[str, ...]] = {d.name: tuple(d.kinds) for d in settings.destinations}
        if path is None:
            return cls(RulesFile(), capable)
        return cls(read(path), capable, path.name)

    @staticmethod
    def everything(settings: GatewaySettings, model: str) -> Routing:
        """Return the routing of a film that no rule was asked about: live, everything everywhere."""
        return Routing(DEFAULT, "live", model, PRIORITY_LIVE, {d.name: tuple(d.kinds) for d in settings.destinations})

    @property
    def gate(self) -> GateRules:
        """What the site lets through the gate."""
        return self._gate

    @property
    def reading_order(self) -> ReadingOrder:
        """How urgency is computed, and how far a film is pulled forward."""
        return self._reading_order

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rules in order, the default last."""
        return (*(rule.name for rule in self._rules), DEFAULT)

    @property
    def models(self) -> frozenset[str]:
        """Model lines that rules name."""
        named = (rule.action.model for rule in (*self._rules, self._default))
        return frozenset(model for model in named if model)

    def check_models(self, loaded: Collection[str]) -> None:
        """Check that every model that a rule names is there.

        Raises
        ------
        InvalidInput
            RULES_INVALID, naming file, rule and model.
        """
        for rule in (*self._rules, self._default):
            if rule.action.model and rule.action.model not in loaded:
                known = ", ".join(sorted(loaded)) or "none"
                message = f"{self._where}: {_called(rule.name)}: model: no model {rule.action.model!r} is loaded"
                raise InvalidInput(f"{message} (loaded: {known})", reason=INVALID)

    def decide(
        self,
        header: Dataset,
        *,
        source: str,
        line: str,
        called: str = "",
        named: bool = False,
        priority: int = PRIORITY_LIVE,
    ) -> Routing | Refusal:
        """Decide what happens to a film. Never raises, whatever the header holds.

        Parameters
        ----------
        header
            The film's header.
        source
            How it came, such as "dimse:MODALITY1@10.0.0.5".
        line
            Model line of the AE title that was called, or of the request.
        called
            The AE title that was called; "" where there is none.
        named
            Whether the sender asked for this line by name: then a rule does not change it.
        priority
            With which it came. What came as bulk never gets ahead of films that arrive.

        Returns
        -------
        What happens to it, or the refusal OUT_OF_RULES: acknowledge, count and drop.
        """
        return self.trace(header, source=source, line=line, called=called, named=named, priority=priority).decision

    def trace(
        self,
        header: Dataset,
        *,
        source: str,
        line: str,
        called: str = "",
        named: bool = False,
        priority: int = PRIORITY_LIVE,
    ) -> Trace:
        """As `decide`, with the rules that were looked at and why those before the last did not fit."""
        facts = Facts.of(header, source=source, line=line, called=called)
        steps: list[Step] = []
        chosen = self._default
        for rule in self._rules:
            reasons = tuple(reason for check in rule.checks if (reason := check(facts)))
            steps.append(Step(rule.name, not reasons, reasons))
            if not reasons:
                chosen = rule
                break
        else:
            steps.append(Step(DEFAULT, True))
        action = chosen.action
        if action.action == "ignore":
            refusal = Refusal(OUT_OF_RULES, f"the site's {_called(chosen.name)} says to ignore such films: dropped")
            return Trace(refusal, tuple(steps))
        own = action.priority if action.priority is not None else priority
        routing = Routing(
            rule=chosen.name,
            mode="shadow" if action.mode == "shadow" else "live",
            model=line if named or not action.model else action.model,
            priority=own if priority <= PRIORITY_LIVE else max(own, priority),
            destinations=chosen.destinations,
        )
        return Trace(routing, tuple(steps))

    def _destinations(
        self, name: str, action: Action, capable: Mapping[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        if action.destinations is None:
            return dict(capable)
        routes: dict[str, tuple[str, ...]] = {}
        for destination, kinds in action.destinations.items():
            at = f"{self._where}: {_called(name)}: destinations"
            if destination not in capable:
                known = ", ".join(capable) or "none"
                raise InvalidInput(f"{at}: no destination {destination!r} is set up (there: {known})", reason=INVALID)
            beyond = [kind for kind in kinds or () if kind not in capable[destination]]
            if beyond:
                takes = ", ".join(capable[destination])
                raise InvalidInput(
                    f"{at}: {destination!r} does not take {beyond[0]!r} (takes: {takes})", reason=INVALID
                )
            routes[destination] = capable[destination] if kinds is None else tuple(dict.fromkeys(kinds))
        return routes


def _called(name: str) -> str:
    return "[default]" if name == DEFAULT else f"rule {name!r}"


def _checks(match: Match) -> tuple[Check, ...]:
    return tuple(_each(match))


def _each(match: Match) -> Iterator[Check]:
    for field in ("source", "calling_ae", "called_ae", "line", "station", "institution", "manufacturer", "device"):
        wanted = getattr(match, field)
        if wanted is not None:
            yield _covered(field, tuple(patterns.wildcard(text) for text in wanted))
    if match.host is not None:
        yield _covered("host", tuple(patterns.address(text) for text in match.host))
    for field in ("modality", "sop_class", "view", "body_part"):
        wanted = getattr(match, field)
        if wanted is not None:
            yield _one_of(field, frozenset(wanted))
    if match.description is not None:
        yield _found(tuple(patterns.expression(text) for text in match.description))
    if match.min_age_years is not None or match.max_age_years is not None:
        yield _aged(match.min_age_years, match.max_age_years)
    if match.phantom is not None:
        yield _shows(match.phantom)


def _covered(field: str, wanted: tuple[patterns.Pattern | patterns.Network, ...]) -> Check:
    said = f"{field} is none of {', '.join(repr(p.source) for p in wanted)}"
    return lambda facts: "" if any(p.covers(getattr(facts, field)) for p in wanted) else said


def _one_of(field: str, wanted: frozenset[str]) -> Check:
    said = f"{field} is none of {', '.join(map(repr, sorted(wanted)))}"
    return lambda facts: "" if getattr(facts, field) in wanted else said


def _found(wanted: tuple[patterns.Pattern, ...]) -> Check:
    said = f"no description has {' or '.join(repr(p.source) for p in wanted)}"
    return lambda facts: "" if any(p.found_in(text) for p in wanted for text in facts.descriptions) else said


def _aged(low: float | None, high: float | None) -> Check:
    bounds = [f"at least {low:g}" if low is not None else "", f"at most {high:g}" if high is not None else ""]
    wanted = " and ".join(filter(None, bounds))

    def check(facts: Facts) -> str:
        age = facts.age_years
        if age is None:
            return f"age is not known; wanted: {wanted} years"
        # A patient of 5 is 5 until the sixth birthday, as in a model's intended use.
        outside = (low is not None and age < low) or (high is not None and age >= high + 1.0)
        return f"age is not {wanted} years" if outside else ""

    return check


def _shows(phantom: bool) -> Check:
    said = "the film shows a patient, no phantom" if phantom else "the film shows a phantom"
    return lambda facts: "" if facts.phantom is phantom else said
