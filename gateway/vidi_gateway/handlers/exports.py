"""Handing out films and results for research, de-identified: a film at a time, under a secret of the caller's."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidi.errors import InvalidInput, PreconditionFailed
from vidi_gateway.audit.events import Event
from vidi_gateway.export.profile import EDITION, Options, Subject
from vidi_gateway.export.sandbox import ExportSandbox
from vidi_gateway.export.secret import Names
from vidi_gateway.handlers.films import Films
from vidi_gateway.outcome import FilmOutcome
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.cohorts import Cohorts
from vidi_gateway.store.records import FilmRecord, FilmState
from vidi_gateway.threads import Threads


@dataclass(frozen=True)
class Asked:
    """One film of an export.

    Attributes
    ----------
    cohort_id, film_id
        The film, and the cohort that it is in.
    model
        Model line of the result; "": the line that it arrived on.
    names
        Of the export.
    options
        What is kept beyond the basic profile.
    actor
        Who exports, for the audit trail.
    """

    cohort_id: str
    film_id: str
    model: str
    names: Names
    options: Options
    actor: str


class Exports:
    """Exports cohorts film by film.

    Parameters
    ----------
    cohorts, films
        What there is.
    audit
        Hears of every film that leaves, and of every one that may not.
    sandbox
        Where films are de-identified.
    threads
        For blocking work.
    """

    def __init__(self, cohorts: Cohorts, films: Films, audit: Audit, sandbox: ExportSandbox, threads: Threads) -> None:
        self._cohorts = cohorts
        self._films = films
        self._audit = audit
        self._sandbox = sandbox
        self._threads = threads

    async def film(self, asked: Asked) -> bytes:
        """Return a ZIP archive with the film, its maps, and a row of the table.

        Members are `film.dcm`, `maps.npz` and `film.json`, the latter with the film's names in this export.

        Raises
        ------
        NotFound
            No such cohort or film, or its bytes are not there any more.
        InvalidInput
            The film is not in the cohort.
        PreconditionFailed
            NOT_DONE, BURNED_IN_ANNOTATION, NOT_DEIDENTIFIED: it is left out.
        UnreadableImage
            It cannot be decoded.
        """
        cohort = await self._threads.run(self._cohorts.get, asked.cohort_id)
        if asked.film_id not in cohort.film_ids:
            raise InvalidInput("the film is not in the cohort", field="film_id")
        record = await self._films.get(asked.film_id, asked.model)
        try:
            made = await self._made(asked, record, cohort.labels.get(asked.film_id))
        except (PreconditionFailed, InvalidInput) as e:
            await self._note(asked, record, e.reason)
            raise
        await self._note(asked, record, "")
        return made

    async def _made(self, asked: Asked, record: FilmRecord, label: str | None) -> bytes:
        if record.analysis is None or record.analysis.state != FilmState.DONE or record.film.withdrawn_at is not None:
            raise PreconditionFailed("the film has no current result", reason="NOT_DONE")
        outcome = await self._films.outcome(asked.film_id, asked.model)
        data = await self._films.dicom(asked.film_id)
        film = record.film
        subject = Subject(film.film_id, film.study_key or film.film_id, film.patient_key or film.film_id)
        dicom = await self._threads.run(self._sandbox.deidentify, data, asked.names, subject, asked.options)
        return await self._threads.run(_packed, dicom, outcome, _row(asked, subject, outcome, label))

    async def _note(self, asked: Asked, record: FilmRecord, outcome: str) -> None:
        film = record.film
        detail = {"cohort": asked.cohort_id, "export": asked.names.export_id, "study": film.study_key}
        detail |= {"patient": film.patient_key}
        event = Event.NOT_EXPORTED if outcome else Event.EXPORTED
        await self._threads.run(
            self._audit.note, event, film_id=film.film_id, source=asked.actor, outcome=outcome, detail=detail
        )


def _row(asked: Asked, subject: Subject, outcome: FilmOutcome, label: str | None) -> dict[str, Any]:
    names = asked.names
    model = outcome.model
    return {
        "name": names.film(subject.film_id),
        "patient_id": names.patient(subject.patient_key),
        "study_instance_uid": names.uid("study", subject.study_key),
        "sop_instance_uid": names.uid("film", subject.film_id),
        "label": label,
        "prediction": outcome.favoured.name,
        "probabilities": {c.name: c.probability for c in outcome.classes},
        "logits": {c.name: c.logit for c in outcome.classes},
        "calibrated": model.calibrated,
        "model": model.name,
        "model_version": model.version,
        "model_digest": model.digest,
        "background_digest": outcome.background_digest,
        "explained_by": f"{outcome.engine} {outcome.engine_version}, {outcome.precision}",
        "warnings": [n.code for n in outcome.notes],
        "edition": EDITION,
    }


def _packed(dicom: bytes, outcome: FilmOutcome, row: dict[str, Any]) -> bytes:
    maps = io.BytesIO()
    a = outcome.map_to_film
    arrays: dict[str, Any] = {f"map_{c.name}": c.map for c in outcome.classes}
    arrays |= {"map_to_film": np.array([a.a, a.b, a.c, a.d, a.e, a.f])}
    np.savez_compressed(maps, attribution_vector=outcome.attribution_vector, **arrays)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("film.dcm", dicom)
        archive.writestr("maps.npz", maps.getvalue(), zipfile.ZIP_STORED)
        archive.writestr("film.json", json.dumps(row, sort_keys=True))
    return buffer.getvalue()
