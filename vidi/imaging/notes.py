"""Coded remarks on a film, and coded reasons not to process one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """Something the reader should know. `code` is stable and upper case, `message` for people, without patient data."""

    code: str
    message: str


@dataclass(frozen=True)
class Refusal:
    """Why a film is not processed. `code` is stable and upper case, `message` for people, without patient data."""

    code: str
    message: str
