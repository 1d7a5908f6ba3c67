"""Background jobs in the journal: which films, and how far. Blocking: call it from a thread."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from vidi.errors import InvalidInput, NotFound
from vidi_gateway.store.cohorts import require_films
from vidi_gateway.store.database import Database
from vidi_gateway.store.records import FilmState
from vidi_gateway.store.schema import analyses, job_films, jobs


class JobState(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Job:
    """A job. Counts are films: `failed` were refused or failed, `left_out` had not started when it was cancelled."""

    job_id: str
    state: JobState
    model: str
    model_version: str
    model_digest: str
    total: int
    done: int
    failed: int
    left_out: int
    created_at: float


class Jobs:
    """The job tables.

    Parameters
    ----------
    database
        The journal.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, film_ids: Sequence[str], model: str, version: str, model_digest: str) -> str:
        """Store a job and return its id; nothing runs yet. `model_digest` is what the model line has loaded now.

        Raises
        ------
        InvalidInput
            When no film is named, or one twice.
        NotFound
            When a film is not in the journal.
        """
        if not film_ids or len(set(film_ids)) != len(film_ids):
            raise InvalidInput("a job needs films, each of them once", field="film_ids")
        job_id = f"j{secrets.token_hex(10)}"
        with self._database.write() as connection:
            require_films(connection, film_ids)
            row = {"job_id": job_id, "model": model, "model_version": version, "model_digest": model_digest}
            connection.execute(jobs.insert().values(**row, created_at=time.time()))
            connection.execute(job_films.insert(), [{"job_id": job_id, "film_id": f} for f in film_ids])
        return job_id

    def get(self, job_id: str) -> Job:
        """Return a job as it stands.

        Raises
        ------
        NotFound
            When there is none of this id.
        """
        with self._database.read() as connection:
            row = connection.execute(jobs.select().where(jobs.c.job_id == job_id)).first()
            if row is None:
                raise NotFound("job", job_id)
            joined = job_films.outerjoin(
                analyses, sa.and_(analyses.c.film_id == job_films.c.film_id, analyses.c.model == row.model)
            )
            # A film counts by its analysis once the job has asked for it; one that was not kept on arrival has none.
            analysed = sa.func.coalesce(analyses.c.state, FilmState.REFUSED.value)
            state = sa.case((job_films.c.left_out, "left_out"), (job_films.c.requested, analysed), else_="waiting")
            rows = connection.execute(
                sa.select(state, sa.func.count())
                .select_from(joined)
                .where(job_films.c.job_id == job_id)
                .group_by(state)
            ).all()
        counts: dict[str, int] = {r[0]: r[1] for r in rows}
        total = sum(counts.values())
        done = counts.get(FilmState.DONE, 0)
        failed = sum(counts.get(s, 0) for s in (FilmState.REFUSED, FilmState.FAILED, FilmState.QUARANTINED))
        left_out = counts.get("left_out", 0)
        ended = done + failed + left_out == total
        job_state = JobState.CANCELLED if row.cancelled else JobState.DONE if ended else JobState.RUNNING
        pinned = (row.model, row.model_version, row.model_digest)
        return Job(job_id, job_state, *pinned, total, done, failed, left_out, row.created_at)

    def next_films(self, limit: int) -> list[tuple[str, str, str]]:
        """Return up to `limit` films that running jobs have not asked for yet, oldest job first: (job, film, model)."""
        query = (
            sa.select(job_films.c.job_id, job_films.c.film_id, jobs.c.model)
            .join(jobs, jobs.c.job_id == job_films.c.job_id)
            .where(~job_films.c.requested, ~job_films.c.left_out, ~jobs.c.cancelled)
            .order_by(jobs.c.created_at, job_films.c.film_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(r.job_id, r.film_id, r.model) for r in connection.execute(query).all()]

    def requested(self, job_id: str, film_id: str) -> None:
        """Note that a film's analysis was asked for."""
        with self._database.write() as connection:
            connection.execute(
                job_films.update()
                .where(job_films.c.job_id == job_id, job_films.c.film_id == film_id)
                .values(requested=True)
            )

    def cancel(self, job_id: str) -> None:
        """Leave out what was not asked for yet.

        Raises
        ------
        NotFound
            When there is none of this id.
        """
        with self._database.write() as connection:
            if connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(cancelled=True)).rowcount == 0:
                raise NotFound("job", job_id)
            connection.execute(
                job_films.update().where(job_films.c.job_id == job_id, ~job_films.c.requested).values(left_out=True)
            )
