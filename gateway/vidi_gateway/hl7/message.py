"""HL7 version 2 messages in vertical-bar encoding (HL7 2.5.1 chapter 2): bounded, decoded, split into fields.

No value is repeated in an error: messages are patient data.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace

from vidi_gateway.hl7.refusal import Reason, Refused

#: Python's codec by HL7 table 0211. Those of two bytes a character (UNICODE, UTF-16) do not go through MLLP.
CHARACTER_SETS = {
    "ASCII": "ascii",
    **{f"8859/{n}": f"iso8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "ISO IR6": "ascii",
    "ISO IR14": "iso2022_jp_2",
    "ISO IR87": "iso2022_jp_2",
    "ISO IR159": "iso2022_jp_2",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
}
_JAPANESE = "iso2022_jp_2"
_ENCODING_CHARACTERS = re.compile(r"[!-/:-@\[-`{-~]{4,5}")
_MAX_SEGMENTS = 500


@dataclass(frozen=True)
class Separators:
    """The characters that structure a message (MSH-1 and MSH-2)."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @property
    def encoding_characters(self) -> str:
        """MSH-2."""
        return self.component + self.repetition + self.escape + self.subcomponent


@dataclass(frozen=True)
class Header:
    """What the acknowledgment needs of MSH; texts as they came.

    Attributes
    ----------
    separators, codec
        How the message is written: Python's codec.
    sender, receiver
        Application and facility (MSH-3, MSH-4 and MSH-5, MSH-6).
    kind
        Message code and trigger event, such as ("ADT", "A40").
    control_id, processing_id, version
        MSH-10, the first component of MSH-11 and of MSH-12.
    enhanced
        Whether the sender wants an accept acknowledgment (MSH-15).
    character_set
        MSH-18.
    """

    separators: Separators = field(default_factory=Separators)
    codec: str = "ascii"
    sender: tuple[str, str] = field(default=("", ""), repr=False)
    receiver: tuple[str, str] = field(default=("", ""), repr=False)
    kind: tuple[str, str] = ("", "")
    control_id: str = field(default="", repr=False)
    processing_id: str = "P"
    version: str = "2.5"
    enhanced: bool = False
    character_set: str = ""


@dataclass(frozen=True)
class Segment:
    """One segment: fields by their number, from 1."""

    name: str
    separators: Separators
    fields: tuple[str, ...] = field(repr=False)

    def raw(self, number: int) -> str:
        """Field as it came; "" when it is absent."""
        return self.fields[number - 1] if number <= len(self.fields) else ""

    def repetitions(self, number: int) -> list[list[list[str]]]:
        """Field as repetitions of components of subcomponents, unescaped; an empty field has none."""
        s = self.separators
        return [_components(r, s) for r in self.raw(number).split(s.repetition) if r]


def _components(repetition: str, s: Separators) -> list[list[str]]:
    components = repetition.split(s.component)
    return [[clean(unescape(part, s)) for part in component.split(s.subcomponent)] for component in components]


def read_header(data: bytes, default_codec: str) -> Header:
    """Read MSH, as far as the acknowledgment needs it.

    Parameters
    ----------
    data
        The message.
    default_codec
        For messages that do not name their character set.

    Raises
    ------
    Refused
        This is no HL7 message, or MSH is damaged. The rest of the message is not looked at.
    """
    first, _, _ = data.lstrip(b"\r\n").partition(b"\r")
    line = first.partition(b"\n")[0].decode("latin-1")
    if not line.startswith("MSH") or len(line) < 8:
        raise Refused(Reason.SEGMENT, "no HL7 version 2 message: it does not begin with MSH")
    bar = line[3]
    fields = ["MSH", bar, *line[4:].split(bar)]
    characters = fields[2]
    unlike = len(set(bar + characters)) == 1 + len(characters)
    if bar.isalnum() or not bar.isprintable() or not _ENCODING_CHARACTERS.fullmatch(characters) or not unlike:
        raise Refused(Reason.SEGMENT, "the encoding characters of MSH-1 and MSH-2 cannot be used")
    separators = Separators(bar, *characters[:4])
    at = dict(enumerate(fields))
    code, event, *_ = [*at.get(9, "").split(separators.component), ""]
    header = Header(
        separators,
        "latin-1",
        (at.get(3, ""), at.get(4, "")),
        (at.get(5, ""), at.get(6, "")),
        (code, event),
        at.get(10, ""),
        at.get(11, "").partition(separators.component)[0] or "P",
        at.get(12, "").partition(separators.component)[0],
        at.get(15, "") in ("AL", "ER", "SU"),
        at.get(18, ""),
    )
    codec = _codec(at.get(18, "").split(separators.repetition), default_codec)
    if codec is None:
        raise Refused(Reason.DATA, "the character set of MSH-18 is not known here", header)
    return replace(header, codec=codec)


def read_segments(data: bytes, header: Header, names: frozenset[str]) -> list[Segment]:
    """Decode a message and return its segments of these names, in order.

    Raises
    ------
    Refused
        The text is not in its character set, or there are too many segments.
    """
    try:
        text = data.decode(header.codec)
    except UnicodeDecodeError:
        raise Refused(Reason.DATA, "the text is not in the character set of MSH-18", header) from None
    lines = text.replace("\r\n", "\r").replace("\n", "\r").split("\r")
    if len(lines) > _MAX_SEGMENTS:
        raise Refused(Reason.DATA, f"more than {_MAX_SEGMENTS} segments", header)
    found, bar = [], header.separators.field
    for line in lines:
        name, _, rest = line.lstrip("\v").partition(bar)
        if name in names:
            found.append(Segment(name, header.separators, tuple(rest.split(bar))))
    return found


def unescape(text: str, separators: Separators) -> str:
    r"""Replace escape sequences (HL7 2.5.1 section 2.7): separators, hexadecimal ASCII; formatting is dropped."""
    escape = separators.escape
    if escape not in text:
        return text
    plain = {
        "F": separators.field,
        "S": separators.component,
        "T": separators.subcomponent,
        "R": separators.repetition,
        "E": escape,
    }
    parts = text.split(escape)
    kept = []
    for number, part in enumerate(parts):
        inside = number % 2 == 1 and number < len(parts) - 1
        if not inside:
            kept.append(part)
        elif part in plain:
            kept.append(plain[part])
        elif re.fullmatch(r"X([2-7][0-9A-Fa-f]){1,32}", part):
            kept.append(bytes.fromhex(part[1:]).decode("ascii"))
    return "".join(kept)


def clean(text: str) -> str:
    """Remove control characters and lone surrogates, and spaces at the ends; HL7's null ("") becomes nothing."""
    kept = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs")).strip()
    return "" if kept == '""' else kept


def _codec(named: list[str], default: str) -> str | None:
    sets = [CHARACTER_SETS.get(n.strip().upper()) for n in named if n.strip()]
    if not sets:
        return default
    if _JAPANESE in sets:  # its repetitions are switched to by escape sequences
        return _JAPANESE if set(sets) <= {_JAPANESE, "ascii"} else None
    return sets[0] if len(sets) == 1 else None
