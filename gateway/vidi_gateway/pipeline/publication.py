"""What one publication of a study consists of: built from a snapshot of the journal, without changing anything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydicom import Dataset

from vidi_gateway.objects import (
    BuildOptions,
    BuiltObject,
    FilmPart,
    NotAnalysed,
    Predecessor,
    RejectionReason,
    Withdrawn,
    build_rejection,
    build_study,
    same_patient,
)
from vidi_gateway.objects.parts import dataset_of
from vidi_gateway.pipeline.retirements import REASONS
from vidi_gateway.store.files import Store, digest
from vidi_gateway.store.records import FilmState, Retirement, StoredObject
from vidi_gateway.store.studies import Issued, Member, Note, Snapshot


@dataclass(frozen=True)
class Publication:
    """Ready to be journalled: see `Studies.publish`. `routes` are of the withdrawal report alone."""

    results: tuple[StoredObject, ...] = ()
    notes: tuple[Note, ...] = ()
    routes: Mapping[str, Mapping[str, Sequence[str]]] | None = None


def input_digest(members: Sequence[Member]) -> str:
    """Return the digest of what a study's results are made from: the same one makes the same results."""
    lines = []
    for member in members:
        film, analysis = member.film, member.analysis
        state = "explained" if member.explained else (analysis or film).state.value
        made = (
            (str(analysis.run), analysis.outcome_digest, analysis.reason_code)
            if analysis
            else ("", "", film.reason_code)
        )
        lines.append("|".join((film.film_id, state, *made, film.identity_digest, film.identity_key)))
    return digest("\n".join(lines).encode())


def compose(snapshot: Snapshot, parts: Sequence[FilmPart], store: Store, *, settled: bool) -> Publication:
    """Build what is to be published, and put it into the store. Blocking.

    Parameters
    ----------
    snapshot
        The study as the journal has it.
    parts
        Its explained films.
    store
        Where objects lie, and are put.
    settled
        False: rejection notes only.

    Raises
    ------
    InvalidInput
        When the films cannot stand in one report.
    """
    study = snapshot.study
    options = BuildOptions(created=datetime.fromtimestamp(study.due_at, UTC))
    predecessors = [i for i in snapshot.issued if i.kind == "sr" and not i.replaced_by and i.destinations]
    built: list[BuiltObject] = []
    if settled and (parts or predecessors):
        built = _build(snapshot, parts, predecessors, options, store)
    results = _stored(snapshot, built, predecessors, store)
    keep = {r.uid for r in results}
    gone = [
        i for i in snapshot.issued if (i.retired and not i.noted) or (settled and not i.retired and i.uid not in keep)
    ]
    notes = _notes(snapshot, [i for i in gone if i.destinations], options, store)
    routes = None
    if built and not parts:  # the withdrawal report goes where the reports went that it withdraws
        told = sorted(set().union(*(i.destinations for i in predecessors)))
        routes = {r.film_id: dict.fromkeys(told, ("sr",)) for r in results}
    return Publication(results, notes, routes)


def _build(
    snapshot: Snapshot, parts: Sequence[FilmPart], predecessors: Sequence[Issued], options: BuildOptions, store: Store
) -> list[BuiltObject]:
    reports = [store.get(p.key) for p in predecessors]
    base: bytes | Dataset = parts[0].header if parts else reports[-1]
    named = [r for r in reports if same_patient(dataset_of(r), dataset_of(base))]
    return build_study(
        parts,
        options,
        not_analysed=[_not_analysed(m) for m in snapshot.members if not (m.explained or _withdrawn(m))],
        predecessors=[Predecessor.of(r) for r in named],
        withdrawn=[
            Withdrawn(m.film.film_id, _reason(m), m.film.sop_class_uid, m.film.sop_instance_uid)
            for m in snapshot.members
            if _withdrawn(m)
        ],
        revision=snapshot.study.revision + 1,
        base=None if parts else base,
    )


def _notes(snapshot: Snapshot, gone: Sequence[Issued], options: BuildOptions, store: Store) -> tuple[Note, ...]:
    """One note for all objects that are rejected for the same reason and went to the same destinations."""
    groups: dict[tuple[RejectionReason, str, frozenset[str]], list[tuple[Issued, bytes]]] = {}
    for issued in gone:
        data = store.get(issued.key)
        header = dataset_of(data)
        who = hashlib.sha256(f"{header.get('PatientID', '')}\0{header.get('PatientName', '')}".encode()).hexdigest()
        retirement = Retirement(issued.retired_reason) if issued.retired else Retirement.REPLACED
        groups.setdefault((REASONS[retirement], who, issued.destinations), []).append((issued, data))
    notes = []
    for (reason, _, destinations), rejected in sorted(groups.items(), key=lambda g: g[1][0][0].uid):
        built = build_rejection([data for _, data in rejected], reason, options)
        film_id = rejected[0][0].film_ids[0]
        note = _store(snapshot, built, film_id, "", store)
        notes.append(Note(note, tuple(sorted(destinations))))
    return tuple(notes)


def _stored(
    snapshot: Snapshot, built: Sequence[BuiltObject], predecessors: Sequence[Issued], store: Store
) -> tuple[StoredObject, ...]:
    """A row per film for what is of the study, one row for what is of a film."""
    digests = {m.film.film_id: m.analysis.model_digest for m in snapshot.members if m.analysis and m.explained}
    about = sorted(digests) or sorted({f for p in predecessors for f in p.film_ids})
    rows = []
    for one in built:
        rows += [
            _store(snapshot, one, film_id, digests.get(film_id, ""), store, again=film_id != about[0])
            for film_id in ([one.film_id] if one.film_id else about)
        ]
    return tuple(rows)


def _store(
    snapshot: Snapshot, built: BuiltObject, film_id: str, model_digest: str, store: Store, *, again: bool = False
) -> StoredObject:
    owner = built.film_id or snapshot.study.study_key
    name = hashlib.sha256(built.sop_instance_uid.encode()).hexdigest()[:16]
    key = f"results/{owner[1:3]}/{owner}/{built.kind}-{name}.{'png' if built.kind == 'png' else 'dcm'}"
    if built.film_id or not again:
        store.put_durable(key, built.data)
    return StoredObject(
        film_id=film_id,
        uid=built.sop_instance_uid,
        kind=built.kind,
        model_digest=model_digest,
        sop_class_uid=built.sop_class_uid,
        media_type=built.media_type,
        key=key,
        digest=digest(built.data),
        size_bytes=len(built.data),
        class_name=built.class_name,
        sign=built.sign,
    )


def _not_analysed(member: Member) -> NotAnalysed:
    film, row = member.film, member.analysis or member.film
    if member.active:
        code, message = "PENDING", "not analysed yet"
    else:
        code, message = row.reason_code or row.state.value.upper(), row.reason
    return NotAnalysed(film.film_id, code, message, film.sop_class_uid, film.sop_instance_uid)


def _withdrawn(member: Member) -> bool:
    return (member.analysis or member.film).state == FilmState.WITHDRAWN


def _reason(member: Member) -> RejectionReason:
    code = (member.analysis or member.film).reason_code.removeprefix("WITHDRAWN_").lower()
    return REASONS[Retirement(code)] if code in set(Retirement) else RejectionReason.PATIENT_SAFETY
