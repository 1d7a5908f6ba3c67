"""What the rules decided for a film: kept in the journal beside it, so that a later change of rules changes no past."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vidi_gateway.store.records import PRIORITY_LIVE

Mode = Literal["live", "shadow"]


@dataclass(frozen=True)
class Routing:
    """What happens to a film.

    Attributes
    ----------
    rule
        Name of the rule that took it; "default" where none did.
    mode
        "live", or "shadow": computed and stored, and nothing of it is sent or shown to pull a film forward.
    model
        Model line.
    priority
        Of its workflow; lower runs first.
    destinations
        Kinds of result objects by name of destination, as the rule says; in shadow mode too. See `routes`.
    """

    rule: str
    mode: Mode
    model: str
    priority: int = PRIORITY_LIVE
    destinations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def routes(self) -> dict[str, tuple[str, ...]]:
        """What is really sent where: nothing in shadow mode."""
        return dict(self.destinations) if self.mode == "live" else {}

    def to_json(self) -> str:
        """Return JSON for the journal."""
        return json.dumps(vars(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Routing:
        """Read what `to_json` returned.

        Raises
        ------
        ValueError
            When it is something else.
        """
        values: dict[str, Any] = json.loads(text)
        if not isinstance(values, dict) or values.keys() != cls.__dataclass_fields__.keys():
            raise ValueError("not a routing")
        if values["mode"] not in ("live", "shadow"):
            raise ValueError("not a routing: its mode is neither live nor shadow")
        values["destinations"] = {name: tuple(kinds) for name, kinds in values["destinations"].items()}
        return cls(**values)

    @staticmethod
    def merged(routings: Iterable[Routing]) -> dict[str, tuple[str, ...]]:
        """Return what is sent of a study whose films took different rules: the union of what each one sends."""
        union: dict[str, list[str]] = {}
        for routing in routings:
            for name, kinds in routing.routes.items():
                known = union.setdefault(name, [])
                known.extend(kind for kind in kinds if kind not in known)
        return {name: tuple(kinds) for name, kinds in union.items()}
