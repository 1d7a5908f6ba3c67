"""A journal with films in it, at the times and in the states that a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from vidi.imaging.geometry import Affine
from vidi.imaging.notes import Refusal
from vidi_gateway.reading import Reason, Urgency
from vidi_gateway.rules import Routing
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.controls import Controls
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.reader import analysis_id
from vidi_gateway.store.records import ClassSummary, FilmState, NewFilm, Summary
from vidi_gateway.store.schema import films

NOW = 1_800_000_000.0
SUMMARY = Summary(
    prediction="pneumonia",
    classes=(ClassSummary("pneumonia", 0.75, 1.25, 1e-7, 3.0, -1.0),),
    calibrated=False,
    cache_hit=False,
    explanation_key="ab" * 32,
    background_digest="sha256:" + "0" * 64,
    method="shap/float32",
    map_to_film=Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty journal database."""
    opened = Database(f"sqlite:///{tmp_path / 'journal.sqlite3'}")
    opened.create_schema()
    yield opened
    opened.close()


@pytest.fixture
def journal(database: Database) -> Journal:
    """A journal."""
    return Journal(database)


@pytest.fixture
def audit(database: Database) -> Audit:
    """Its audit trail."""
    return Audit(database)


@pytest.fixture
def controls(database: Database, audit: Audit) -> Controls:
    """Its switches."""
    return Controls(database, audit)


@pytest.fixture
def add(database: Database, journal: Journal) -> Callable[..., str]:
    """Adds a film that came some minutes ago; returns its id."""

    def added(
        film_id: str,
        minutes: float = 0.0,
        *,
        study: str = "",
        urgency: float | None = None,
        mode: Any = "live",
        refused: str = "",
        failed: str = "",
        source: str = "dimse:ROOM1@10.0.0.5",
    ) -> str:
        new = NewFilm(
            film_id=film_id,
            sop_instance_uid=f"1.2.{int.from_bytes(film_id.encode(), 'big')}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
            file_key="" if refused else f"films/{film_id}.dcm",
            file_digest="sha256:" + film_id.encode().hex().ljust(64, "0")[:64],
            file_bytes=10,
            model="m",
            source=source,
            study_key=study,
            routing=Routing("default", mode, "m").to_json(),
        )
        assert journal.add_film(new, Refusal(refused, "no") if refused else None)
        line = analysis_id(film_id, "m")
        if failed:
            journal.begin(line, 1)
            assert journal.conclude(line, 1, FilmState.FAILED, failed, "it failed")
        if urgency is not None:
            journal.begin(line, 1)
            journal.pin(line, "1", "sha256:old")
            reasons = Urgency(urgency, (Reason("SEVERITY", "x"),) if urgency else ())
            recorded = journal.record(
                line,
                1,
                outcome_key="k",
                outcome_digest="sha256:1",
                summary=SUMMARY,
                urgency=urgency,
                urgency_reasons=reasons.to_json(),
            )
            assert recorded
        at = NOW - minutes * 60.0
        with database.write() as c:
            c.execute(sa.update(films).where(films.c.film_id == film_id).values(received_at=at))
        return film_id

    return added
