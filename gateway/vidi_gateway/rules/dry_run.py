"""What would happen to a film if it came now: the intake's decisions in its order, and nothing is kept.

An answer holds no value of the header: it may be printed, mailed and pasted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydicom import Dataset

from vidi.imaging.gate import IntendedUse, check_header, check_population
from vidi.imaging.notes import Note, Refusal
from vidi_gateway.rules.engine import Rules
from vidi_gateway.rules.routing import Routing
from vidi_gateway.rules.trace import Step

Fate = Literal["live", "shadow", "refused", "ignored", "dropped"]


@dataclass(frozen=True)
class DryRun:
    """What would happen.

    Attributes
    ----------
    fate
        "live" or "shadow": processed; "refused": journalled with its reason; "ignored": dropped by a rule; "dropped":
        no film at all.
    reason_code, reason
        Why it is not processed.
    checks
        Which parts of the gate were asked: "header", "population". Pixels are looked at when a film is processed.
    notes
        Codes of what the reader would be told.
    steps
        The rules that were looked at.
    routing
        Model, mode, priority and destinations; None where no rule was asked, or one says to ignore.
    """

    fate: Fate
    reason_code: str = ""
    reason: str = ""
    checks: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    steps: tuple[Step, ...] = ()
    routing: Routing | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        values = asdict(self)
        if self.routing:
            values["routing"] |= {"destinations": {n: list(k) for n, k in self.routing.destinations.items()}}
            values["routing"]["sends"] = self._sends()
        return values

    def _sends(self) -> dict[str, list[str]]:
        """What would really be sent where: nothing of a film that is refused."""
        assert self.routing is not None
        return {n: list(k) for n, k in self.routing.routes.items()} if self.fate == "live" else {}

    def words(self) -> list[str]:
        """Return lines for people."""
        lines = []
        for step in self.steps:
            name = "[default]" if step.rule == "default" else f"rule {step.rule!r}"
            lines.append(f"{name}: {'takes the film' if step.matched else 'no: ' + '; '.join(step.reasons)}")
        if self.reason_code:
            lines.append(f"{self.fate}: {self.reason_code}: {self.reason}")
        elif self.checks:
            checked = " and ".join(self.checks)
            lines.append(f"gate: passes by its {checked}; its pixels are looked at when it is processed")
        lines += [f"note: {note.code}: {note.message}" for note in self.notes]
        if self.routing and not self.reason_code:
            lines += _sent(self.routing)
        return lines


def dropped(refusal: Refusal) -> DryRun:
    """What happens to an instance that is no film."""
    return DryRun("dropped", refusal.code, refusal.message)


def dry_run(
    rules: Rules,
    header: Dataset,
    *,
    source: str,
    line: str,
    called: str = "",
    named: bool = False,
) -> DryRun:
    """Decide as the intake would; see `Rules.decide` for the parameters. `with_population` goes on."""
    trace = rules.trace(header, source=source, line=line, called=called, named=named)
    if isinstance(trace.decision, Refusal):
        return DryRun("ignored", trace.decision.code, trace.decision.message, steps=trace.steps)
    refusal = check_header(header, rules.gate)
    if refusal:
        return DryRun("refused", refusal.code, refusal.message, ("header",), (), trace.steps, trace.decision)
    return DryRun(trace.decision.mode, "", "", ("header",), (), trace.steps, trace.decision)


def with_population(run: DryRun, header: Dataset, intended_use: IntendedUse, mode: Literal["refuse", "mark"]) -> DryRun:
    """Decide as well whether the model was made for this film.

    Parameters
    ----------
    run
        What `dry_run` returned.
    header
        The film's header.
    intended_use
        Of the model that the routing names.
    mode
        What the site does with films outside of it.
    """
    if run.routing is None or run.reason_code:
        return run
    refusal, notes = check_population(header, intended_use, mode)
    checks = (*run.checks, "population")
    if refusal:
        return DryRun("refused", refusal.code, refusal.message, checks, notes, run.steps, run.routing)
    return DryRun(run.fate, "", "", checks, notes, run.steps, run.routing)


def _sent(routing: Routing) -> Sequence[str]:
    lines = [f"model: {routing.model}, priority {routing.priority}, {routing.mode}"]
    verb = "gets" if routing.mode == "live" else "would get"
    lines += [f"{name} {verb} {', '.join(kinds)}" for name, kinds in routing.destinations.items()]
    if routing.mode == "shadow":
        lines.append("computed and stored; nothing is sent")
    elif not routing.destinations:
        lines.append("no destination: computed and stored; nothing is sent")
    return lines
