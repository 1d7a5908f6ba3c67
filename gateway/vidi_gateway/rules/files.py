"""Reading the rules file, and saying in plain words what is wrong with it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vidi.errors import FieldViolation, InvalidInput
from vidi_gateway.rules.schema import RulesFile

#: Reason code of everything that is wrong with a rules file.
INVALID = "RULES_INVALID"
MAX_BYTES = 1 << 20


def read(path: Path) -> RulesFile:
    """Read and check a rules file, destinations and models excepted.

    Raises
    ------
    InvalidInput
        RULES_INVALID; the message has a line for each thing that is wrong, with file, rule and field.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path}: larger than {MAX_BYTES} bytes", reason=INVALID)
        text = path.read_text("utf-8")
    except OSError as e:
        raise InvalidInput(f"{path}: the rules cannot be read: {e.strerror}", reason=INVALID) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: not UTF-8 text", reason=INVALID) from None
    return parse(text, path.name)


def parse(text: str, name: str = "rules") -> RulesFile:
    """Check the text of a rules file; see `read`.

    Raises
    ------
    InvalidInput
        RULES_INVALID.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise InvalidInput(f"{name}: not TOML: {e}", reason=INVALID) from None
    try:
        return RulesFile.model_validate(values)
    except ValidationError as e:
        found = tuple(_violation(error, values) for error in e.errors())
        lines = [f"{name}: {v.field}: {v.description}" if v.field else f"{name}: {v.description}" for v in found]
        raise InvalidInput("\n".join(lines), violations=found, reason=INVALID) from None


def _violation(error: Mapping[str, Any], values: Mapping[str, Any]) -> FieldViolation:
    # Unions and dictionaries put more into the location than the file has; "[key]" is how pydantic marks a key.
    location = [part for part in error["loc"] if part not in ("[key]",)]
    kind, message = error["type"], str(error["msg"])
    if kind == "extra_forbidden":
        message = "there is no such field"
    elif kind == "missing":
        message = "is missing"
    message = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return FieldViolation(": ".join(_place(location, values)), message)


def _place(location: Sequence[str | int], values: Mapping[str, Any]) -> list[str]:
    """Where in the file: the rule by its name, then the field."""
    if location[:1] == ["rule"] and len(location) > 1 and isinstance(location[1], int):
        rules = values.get("rule")
        rule = rules[location[1]] if isinstance(rules, list) else None
        name = rule.get("name") if isinstance(rule, dict) else None
        first = f"rule {name!r}" if isinstance(name, str) else f"rule {location[1] + 1}"
        return [first, *_field(location[2:])]
    if location and location[0] in ("default", "gate", "reading_order"):
        return [f"[{location[0]}]", *_field(location[1:])]
    return _field(location)


def _field(location: Sequence[str | int]) -> list[str]:
    words = [f"{part + 1}." if isinstance(part, int) else part for part in location]
    return [".".join(w.rstrip(".") for w in words)] if words else []
