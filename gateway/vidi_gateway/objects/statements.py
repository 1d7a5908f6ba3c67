"""What is to be said of a study beside the results of its films: what has none, what was taken back, what is replaced.

A film without a result must never look like a negative one; so the report and the picture say which films have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from vidi_gateway.objects.reasons import RejectionReason
from vidi_gateway.objects.study import Exposure, Study

_MOST_UIDS = 20
_NOT_NEGATIVE = "A film without a result is not a negative film."
_T = TypeVar("_T")


@dataclass(frozen=True)
class Statement:
    """One thing to say.

    Attributes
    ----------
    text
        For the report, in words.
    caption
        For the picture, without UIDs; "": not said there.
    warnings
        Codes of warnings, upper case.
    reason
        Why results were withdrawn, None where the statement is about something else.
    """

    text: str
    caption: str = ""
    warnings: tuple[str, ...] = ()
    reason: RejectionReason | None = None


def of_study(study: Study) -> list[Statement]:
    """Return what is to be said of a study as a whole; empty for the first report on films that all have a result."""
    return [*_not_analysed(study), *_withdrawn(study), *_predecessors(study), *_models(study)]


def of_exposure(study: Study, exposure: Exposure) -> list[Statement]:
    """Return what is to be said of a film in its study: which one it is, whether it was repeated, its urgency."""
    found = []
    if len(study.exposures) > 1:
        found.append(Statement(f"{study.name(exposure)}, by time of exposure."))
    if exposure.repeated:
        by = f"film {exposure.repeated_by}" if exposure.repeated_by else "a film that has no result here"
        text = f"an earlier exposure of a view that was repeated as {by}"
        caption = f"film {exposure.number} is {text}" if exposure.repeated_by else f"this is {text}"
        found.append(Statement(f"REPEATED_EXPOSURE: this is {text}.", caption, ("REPEATED_EXPOSURE",)))
    if exposure.urgency is not None:
        reasons = f" ({', '.join(exposure.urgency_reasons)})" if exposure.urgency_reasons else ""
        found.append(
            Statement(
                f"Reading order: urgency {exposure.urgency:.2f} of 1{reasons}. "
                "It only ever pulls a film forward in the reading list, and is no finding."
            )
        )
    return found


def _not_analysed(study: Study) -> Iterable[Statement]:
    for (code, message), group in _grouped(study.not_analysed, lambda n: (n.code, n.message)):
        said = f"NOT_ANALYSED: {_films(len(group))}, {code}."
        why = f" {message.rstrip('.')}." if message else ""
        text = f"{said}{why} {_NOT_NEGATIVE}{_named(n.sop_instance_uid for n in group)}"
        yield Statement(text, f"{said} {_NOT_NEGATIVE}", ("NOT_ANALYSED", code))


def _withdrawn(study: Study) -> Iterable[Statement]:
    if not study.exposures and (study.withdrawn or study.predecessors):
        text = "RESULTS_WITHDRAWN: The results of ViDi for this study have been withdrawn. They must not be used."
        yield Statement(text, "", ("RESULTS_WITHDRAWN",))
    for reason, group in _grouped(study.withdrawn, lambda w: w.reason):
        said = f"RESULT_WITHDRAWN: {_films(len(group))}, {reason.code.meaning}"
        text = f"{said} ({reason.value}, DCM)." + _named(w.sop_instance_uid for w in group)
        yield Statement(text, f"{said}.", ("RESULT_WITHDRAWN",), reason)


def _predecessors(study: Study) -> Iterable[Statement]:
    if study.predecessors:
        uids = ", ".join(p.sop_instance_uid for p in study.predecessors)
        caption = f"Revision {study.revision}: it replaces an earlier one."
        yield Statement(f"Revision {study.revision}. This report replaces the report {uids}.", caption)


def _models(study: Study) -> Iterable[Statement]:
    if len({e.film.outcome.model.digest for e in study.exposures}) > 1:
        text = "MIXED_MODELS: not all films were analysed by the same model. Do not compare their numbers."
        yield Statement(text, text, ("MIXED_MODELS",))


def _grouped(items: Iterable[_T], key: Callable[[_T], object]) -> list[tuple[Any, list[_T]]]:
    """Return neighbours with the same key together."""
    return [(k, list(group)) for k, group in groupby(items, key)]


def _films(count: int) -> str:
    return "1 film" if count == 1 else f"{count} films"


def _named(uids: Iterable[str]) -> str:
    known = [uid for uid in uids if uid]
    if not known:
        return ""
    more = f" and {len(known) - _MOST_UIDS} more" if len(known) > _MOST_UIDS else ""
    return f" SOP Instance UID: {', '.join(known[:_MOST_UIDS])}{more}."
