"""What the builders of a study's objects share: its films in order, which of them repeat others, what has no result."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from pydicom import Dataset
from pydicom.uid import UID

from vidi.errors import InvalidInput
from vidi_gateway.objects import base as base_attributes
from vidi_gateway.objects import repeats, source, uids
from vidi_gateway.objects.film import LIBRARIES, Film, film_of
from vidi_gateway.objects.identity import same_patient
from vidi_gateway.objects.parts import (
    KINDS,
    BuildOptions,
    FilmPart,
    NotAnalysed,
    Predecessor,
    Withdrawn,
    dataset_of,
)


@dataclass(frozen=True, eq=False)
class Exposure:
    """A film in its study.

    Attributes
    ----------
    film
        The film.
    number
        Its place by time of exposure, from 1.
    repeated, repeated_by
        Whether a later exposure of the same view exists, and that one's number; 0 when it has no result.
    urgency, urgency_reasons
        See `FilmPart`.
    """

    film: Film
    number: int
    repeated: bool
    repeated_by: int
    urgency: float | None
    urgency_reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Study:
    """All that the builders of a study share.

    Attributes
    ----------
    base
        Patient, study and general attributes, from the latest film's header.
    exposures
        The analysed films: those that no other analysed film repeats, latest first, then the others, latest first.
    not_analysed, withdrawn, predecessors, revision, options
        As given to `build_study`, in an order of their own.
    fingerprint
        Digest over everything that goes into the study's objects.
    """

    base: Dataset
    exposures: tuple[Exposure, ...]
    not_analysed: tuple[NotAnalysed, ...]
    withdrawn: tuple[Withdrawn, ...]
    predecessors: tuple[Predecessor, ...]
    revision: int
    options: BuildOptions
    fingerprint: str

    @property
    def current(self) -> tuple[Exposure, ...]:
        """The films that no other analysed film repeats, latest first."""
        return tuple(e for e in self.exposures if not e.repeated_by)

    @property
    def films(self) -> list[Film]:
        """The analysed films, by time of exposure."""
        return [e.film for e in sorted(self.exposures, key=lambda e: e.number)]

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return source.study_uid(self.base)

    def uid(self, kind: str, *parts: str) -> UID:
        """Return the deterministic UID of something that belongs to the study's results."""
        return uids.derive(kind, self.fingerprint, *parts)

    def name(self, exposure: Exposure) -> str:
        """Return what a film is called among the others, such as "Film 2 of 3, PA"."""
        view = f", {exposure.film.view}" if exposure.film.view else ""
        return f"Film {exposure.number} of {len(self.exposures)}{view}"


def study_of(
    parts: Sequence[FilmPart],
    options: BuildOptions,
    *,
    not_analysed: Sequence[NotAnalysed],
    predecessors: Sequence[Predecessor],
    withdrawn: Sequence[Withdrawn],
    revision: int,
    base: bytes | Dataset | None,
) -> Study:
    """Check what is given to `build_study`, and put it in order.

    Raises
    ------
    InvalidInput
        See `build_study`.
    """
    unknown = sorted(set(options.kinds) - set(KINDS))
    if unknown:
        raise InvalidInput(f"unknown kinds of objects: {', '.join(unknown)}", field="kinds")
    if revision < 1:
        raise InvalidInput("revisions count from 1", field="revision")
    ordered = sorted(parts, key=lambda p: (repeats.exposure_order(p.header), p.film_id))
    _check_one_study(ordered)
    exposures = _exposures(ordered, options)
    if ordered:
        study_uid = source.study_uid(exposures[ordered[-1].film_id].film.base)
        attributes = base_attributes.of_header(ordered[-1].header, study_uid, options.created, options)
    else:
        attributes = _without_films(base, options, bool(not_analysed or predecessors or withdrawn))
    lacking = tuple(sorted(not_analysed, key=lambda n: (n.code, n.message, n.sop_instance_uid, n.film_id)))
    gone = tuple(sorted(withdrawn, key=lambda w: (w.reason.value, w.sop_instance_uid, w.film_id)))
    earlier = tuple(sorted(set(predecessors), key=lambda p: p.sop_instance_uid))
    in_order = tuple(sorted(exposures.values(), key=lambda e: (bool(e.repeated_by), -e.number)))
    fingerprint = uids.digest_of(
        "study",
        uids.BUILDER_VERSION,
        LIBRARIES,
        base_attributes.values_of(attributes),
        [
            json.dumps([e.film.fingerprint, e.number, e.repeated, e.repeated_by, repr(e.urgency), e.urgency_reasons])
            for e in in_order
        ],
        [json.dumps([n.code, n.message, n.sop_class_uid, n.sop_instance_uid]) for n in lacking],
        [json.dumps([w.reason.value, w.sop_class_uid, w.sop_instance_uid]) for w in gone],
        [json.dumps(asdict(p), sort_keys=True) for p in earlier],
        str(revision),
        sorted(set(options.kinds)),
        (options.software_version, options.device_serial, options.created.isoformat()),
    )
    return Study(attributes, in_order, lacking, gone, earlier, revision, options, fingerprint)


def _check_one_study(parts: Sequence[FilmPart]) -> None:
    if len({p.film_id for p in parts} - {""}) != len(parts):
        raise InvalidInput("a film is given twice, or has no film id", field="parts")
    for one, other in pairwise(parts):
        study = source.study_uid(one.header)
        if not study or study != source.study_uid(other.header):
            raise InvalidInput("films of several studies, or of none, have no report in common", field="parts")
    # Each with each, since a header that lacks the name agrees with two that do not agree with one another.
    for i, one in enumerate(parts):
        if not all(same_patient(one.header, other.header) for other in parts[i + 1 :]):
            raise InvalidInput("films of several patients have no report in common", field="parts")
    for part in parts:
        if part.urgency is not None and not (math.isfinite(part.urgency) and 0.0 <= part.urgency <= 1.0):
            raise InvalidInput("an urgency is 0 to 1", field="urgency")


def _exposures(parts: Sequence[FilmPart], options: BuildOptions) -> dict[str, Exposure]:
    """Return the films by film id."""
    found = repeats.repeats_of({p.film_id: p.header for p in parts})
    numbers = {p.film_id: i + 1 for i, p in enumerate(parts)}
    exposures = {}
    for part in parts:
        by = found.get(part.film_id, "") if part.repeated_by is None else part.repeated_by
        if by == part.film_id or (by in numbers and numbers[by] < numbers[part.film_id]):
            raise InvalidInput("a film is repeated by a later one", field="repeated_by")
        film = film_of(part, options)
        exposures[part.film_id] = Exposure(
            film, numbers[part.film_id], bool(by), numbers.get(by, 0), part.urgency, tuple(part.urgency_reasons)
        )
    return exposures


def _without_films(base: bytes | Dataset | None, options: BuildOptions, something_to_say: bool) -> Dataset:
    if not something_to_say:
        raise InvalidInput("a study without films, and without anything to say of them, has no report", field="parts")
    if base is None:
        raise InvalidInput("a report without films needs an object to take patient and study from", field="base")
    header = dataset_of(base)
    study_uid = source.study_uid(header)
    if not study_uid:
        raise InvalidInput("a report without films needs a Study Instance UID", field="base")
    return base_attributes.of_header(header, study_uid, options.created, options)
