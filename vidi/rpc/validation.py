"""Requests against the rules of their protos (protovalidate)."""

from __future__ import annotations

from functools import cache
from typing import Any

import protovalidate

from vidi.errors import FieldViolation, InvalidInput

#: Violations that are told; a message of many thousand ids may have as many.
MOST = 5


@cache
def _validator() -> protovalidate.Validator:
    return protovalidate.Validator()


def validate(request: Any) -> None:
    """Check a request message.

    Raises
    ------
    InvalidInput
        With a violation for each of the first few broken rules; descriptions name rules, never values.
    """
    found = _validator().collect_violations(request)
    if not found:
        return
    shown = found[:MOST]
    violations = tuple(FieldViolation(_path(v.proto.field), v.proto.message or v.proto.rule_id) for v in shown)
    told = "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations)
    rest = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
    raise InvalidInput(told + rest, violations=violations)


def _path(field: Any) -> str:
    """Return a field path as "image.tensor.shape[2]"."""
    parts = []
    for element in field.elements:
        subscript = element.subscript
        parts.append(element.field_name + (f"[{subscript.value}]" if subscript is not None else ""))
    return ".".join(parts)
