"""Patterns of rules, matched in time linear in the text: headers are written by strangers.

RE2 (R. Cox, "Regular Expression Matching in the Wild", 2010) has no backtracking, hence no pattern and no header that
keep it busy. Patterns are bounded in length and memory, texts in length.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

import re2

#: A description is a short text (VR LO: 64 characters); several of them may be put together.
MAX_TEXT = 1024
MAX_PATTERN = 256
_MEMORY = 1 << 20


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern.

    Attributes
    ----------
    source
        As it stands in the rules.
    """

    source: str
    _compiled: Any

    def found_in(self, text: str) -> bool:
        """Whether it occurs anywhere in the first `MAX_TEXT` characters of a text."""
        return self._compiled.search(text[:MAX_TEXT]) is not None

    def covers(self, text: str) -> bool:
        """Whether it describes the whole text."""
        return len(text) <= MAX_TEXT and self._compiled.fullmatch(text) is not None


@dataclass(frozen=True)
class Network:
    """A range of addresses, such as 10.1.0.0/16."""

    source: str
    _network: ipaddress.IPv4Network | ipaddress.IPv6Network

    def covers(self, text: str) -> bool:
        """Whether a text is an address of the range."""
        try:
            host = ipaddress.ip_address(text)
        except ValueError:
            return False
        # A socket that listens on IPv6 and IPv4 shows IPv4 peers as ::ffff:a.b.c.d.
        mapped = getattr(host, "ipv4_mapped", None)
        return (mapped or host) in self._network


def expression(text: str) -> Pattern:
    """Compile a regular expression (RE2 syntax), not case sensitive.

    Raises
    ------
    ValueError
        When it is empty, longer than `MAX_PATTERN`, not valid, or too large when compiled.
    """
    if not 0 < len(text) <= MAX_PATTERN:
        raise ValueError(f"must be a regular expression of 1 to {MAX_PATTERN} characters")
    return Pattern(text, _compile(text))


def wildcard(text: str) -> Pattern:
    """Compile a text with * (anything) and ? (one character), not case sensitive; it describes the whole value.

    Raises
    ------
    ValueError
        When it is longer than `MAX_PATTERN`.
    """
    if len(text) > MAX_PATTERN:
        raise ValueError(f"must be at most {MAX_PATTERN} characters long")
    parts = {"*": "(?s:.*)", "?": "(?s:.)"}
    return Pattern(text, _compile("".join(parts.get(c) or re2.escape(c) for c in text)))


def address(text: str) -> Pattern | Network:
    """Compile a host: a name or address with * and ?, or a range of addresses such as 10.1.0.0/16.

    Raises
    ------
    ValueError
        When it is neither.
    """
    if "/" not in text:
        return wildcard(text)
    try:
        return Network(text, ipaddress.ip_network(text))
    except ValueError:
        raise ValueError("must be a range of addresses such as 10.1.0.0/16, or a host with * and ?") from None


def _compile(text: str) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return re2.compile(text, options)
    except re2.error as e:
        said = e.args[0] if e.args else ""
        detail = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"is not a regular expression that RE2 takes: {detail}") from None
