"""Bytes are deleted when their time is over and nothing is under way; what is known of a film stays."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support import SUMMARY
from vidi.errors import NotFound
from vidi_gateway.audit.settings import RecordSettings
from vidi_gateway.handlers.films import Films
from vidi_gateway.pipeline.retention import DAY, Sweeper
from vidi_gateway.store.arrivals import Arrivals
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.files import FileStore
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.reader import analysis_id
from vidi_gateway.store.records import FilmState, NewFilm, Retirement, StoredObject
from vidi_gateway.store.retention import Retention
from vidi_gateway.store.schema import analyses, films, outbox
from vidi_gateway.store.site_key import SiteKey
from vidi_gateway.store.studies import Studies
from vidi_gateway.threads import Threads


class Site:
    """A journal, files, and a sweeper with a clock that can be put back."""

    def __init__(self, database: Database, root: Path, **settings: Any) -> None:
        self.database = database
        self.journal = Journal(database)
        self.audit = Audit(database, SiteKey(b"k" * 32))
        self.life = Lifecycle(self.journal)
        self.studies = Studies(self.journal, "w", patience_seconds=3600.0)
        self.outbox = Outbox(database, "w")
        self.store = FileStore(root / "files")
        values = {"retention_film_days": 30.0, "retention_result_days": 60.0} | settings
        self.sweeper = Sweeper(
            RecordSettings(data_dir=root, **values), Retention(self.journal, self.audit), self.audit, self.store
        )

    def take(self, film_id: str, study: str = "s1") -> NewFilm:
        new = NewFilm(
            film_id=film_id,
            sop_instance_uid=f"1.2.{int.from_bytes(film_id.encode(), 'big')}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
            file_key=f"films/{film_id}.dcm",
            file_digest=f"sha256:{film_id}",
            file_bytes=4,
            model="m",
            source="test",
            study_key=study,
            patient_key="p1",
        )
        self.store.put_durable(new.file_key, b"film")
        self.journal.add_film(new)
        return new

    def explain(self, film_id: str) -> None:
        one = analysis_id(film_id, "m")
        assert self.journal.begin(one, 1) is not None
        self.journal.pin(one, "1", "sha256:m")
        self.store.put_durable(f"outcomes/{film_id}.npz", b"maps")
        assert self.journal.record(
            one, 1, outcome_key=f"outcomes/{film_id}.npz", outcome_digest="sha256:o", summary=SUMMARY
        )

    def publish(self, uid: str, *film_ids: str) -> None:
        (study,) = self.studies.claim(10)
        self.store.put_durable(f"results/{uid}.dcm", b"sr")
        results = [
            StoredObject(f, uid, "sr", "sha256:m", "1.2", "application/dicom", f"results/{uid}.dcm", "sha256:x", 2)
            for f in film_ids
        ]
        assert self.studies.publish(
            self.studies.snapshot(study),
            results=results,
            notes=(),
            routes={f: {"pacs": ("sr",)} for f in film_ids},
            priority=1,
            input_digest="sha256:i",
            settled=True,
        )

    def deliver(self) -> None:
        self.outbox.sent([e.id for e in self.outbox.claim("pacs", 100)])

    def done(self, film_id: str, study: str = "s1", uid: str = "9.1") -> None:
        self.take(film_id, study)
        self.explain(film_id)
        self.publish(uid, film_id)
        self.deliver()

    def age(self, days: float, *film_ids: str) -> None:
        with self.database.write() as c:
            c.execute(
                films.update()
                .where(films.c.film_id.in_(film_ids))
                .values(received_at=time.time() - days * DAY, updated_at=time.time() - days * DAY)
            )

    @property
    def files(self) -> set[str]:
        return {str(p.relative_to(self.store.root)) for p in self.store.root.rglob("*") if p.is_file()}


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    return Site(database, tmp_path)


def test_nothing_is_deleted_unless_the_site_says_so(database: Database, tmp_path: Path) -> None:
    site = Site(database, tmp_path, retention_film_days=0.0, retention_result_days=0.0)
    site.done("fa")
    site.age(10_000, "fa")
    assert not site.sweeper.active
    assert not any(site.sweeper.sweep_once().values())
    assert len(site.files) == 3


def test_a_films_bytes_go_and_its_row_and_results_stay(site: Site) -> None:
    site.done("fa")
    site.age(29, "fa")
    site.sweeper.sweep_once()
    assert site.journal.film("fa").purged_at is None
    site.age(31, "fa")
    assert site.sweeper.sweep_once()["films"] == 1
    film = site.journal.film("fa")
    assert film.purged_at is not None and film.state is FilmState.DONE and film.file_digest == "sha256:fa"
    assert site.files == {"results/9.1.dcm", "outcomes/fa.npz"}
    assert len(site.journal.records(["fa"])["fa"].objects) == 1
    assert [(r.event, r.film_id, r.outcome) for r in site.audit.page(5)] == [("bytes deleted", "fa", "FILM")]
    assert not any(site.sweeper.sweep_once().values()), "once"
    assert site.audit.verify().intact


def test_results_go_later_with_rows_and_deliveries(site: Site) -> None:
    site.done("fa")
    site.age(61, "fa")
    assert site.sweeper.sweep_once() == {"films": 1, "results": 1, "audit": 0}
    assert site.files == set()
    record = site.journal.records(["fa"])["fa"]
    assert record.objects == () and record.analysis is not None and record.analysis.summary == SUMMARY
    with site.database.read() as c:
        assert c.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one() == 0
    assert not any(site.sweeper.sweep_once().values())


@pytest.mark.parametrize(
    "why", ["not delivered", "not confirmed", "dead", "under way", "study is due", "another film", "arrival"]
)
def test_what_is_under_way_keeps_the_whole_study(site: Site, why: str) -> None:
    site.take("fa")
    site.explain("fa")
    if why == "under way":
        site.take("fb")
    else:
        site.publish("9.1", "fa")
    entries = [] if why in ("not delivered", "under way") else site.outbox.claim("pacs", 10)
    if why == "dead":
        site.outbox.give_up([e.id for e in entries], "REFUSED")
    elif entries:
        site.outbox.sent([e.id for e in entries], 600.0 if why == "not confirmed" else None)
    if why == "another film":
        site.take("fb")
        with site.database.write() as c:
            c.execute(films.update().values(state=FilmState.FAILED))
            c.execute(analyses.update().values(state=FilmState.FAILED))
    if why == "study is due":
        site.life.merge("msg", ["p1"], "p2", "identities/x.json")
    if why == "arrival":
        from vidi_gateway.store.records import Arrival, Verdict

        Arrivals(site.journal).add(Arrival("fa-1", "fa", "arrivals/x.dcm", "d", 1, "t", Verdict.PENDING, time.time()))
    site.age(100, "fa")
    assert not any(site.sweeper.sweep_once().values())
    assert "films/fa.dcm" in site.files
    assert site.journal.film("fa").purged_at is None


def test_a_crash_between_mark_and_deletion_is_made_good(site: Site) -> None:
    site.done("fa")
    site.age(31, "fa")
    assert Retention(site.journal, site.audit).purge_films("s1", time.time() - 30 * DAY) == 1
    assert "films/fa.dcm" in site.files
    site.sweeper.sweep_once()
    assert "films/fa.dcm" not in site.files
    assert Retention(site.journal, site.audit).leftovers() == []


def test_a_film_that_comes_later_begins_a_study_of_its_own(site: Site) -> None:
    site.done("fa")
    site.age(31, "fa")
    site.sweeper.sweep_once()
    site.take("fb", "s1")
    site.explain("fb")
    (study,) = site.studies.claim(10)
    snapshot = site.studies.snapshot(study)
    assert [m.film.film_id for m in snapshot.members] == ["fb"]
    assert snapshot.issued == (), "the old report is not replaced by one that lacks its films"
    assert site.journal.film("fa").study_key.startswith("s1.")


def test_a_withdrawal_after_the_deletion_still_reaches_the_archives(site: Site) -> None:
    site.done("fa")
    site.age(31, "fa")
    site.sweeper.sweep_once()
    assert site.life.withdraw(["fa"], Retirement.SAFETY) == 1
    (study,) = site.studies.claim(10)
    snapshot = site.studies.snapshot(study)
    assert [(i.uid, i.retired, sorted(i.destinations)) for i in snapshot.issued] == [("9.1", True, ["pacs"])]
    assert not any(m.explained for m in snapshot.members)
    assert site.store.get(snapshot.issued[0].key) == b"sr", "what a rejection note is made from"


def test_a_merge_after_the_deletion_makes_nothing_anew(site: Site) -> None:
    site.done("fa")
    site.age(31, "fa")
    site.sweeper.sweep_once()
    site.life.merge("msg", ["p1"], "p2", "identities/x.json")
    (study,) = site.studies.claim(10)
    assert not any(m.explained for m in site.studies.snapshot(study).members)
    assert site.journal.film("fa").state is FilmState.DONE


def test_readers_are_told(site: Site) -> None:
    site.done("fa")
    site.age(61, "fa")
    site.sweeper.sweep_once()
    threads = Threads("t", 1)
    handler = Films.__new__(Films)
    handler._journal, handler._store, handler._threads = site.journal, site.store, threads
    try:
        for call in (handler.dicom("fa"), handler.outcome("fa"), handler.object("fa", "9.1", "sr")):
            with pytest.raises(NotFound, match="deleted"):
                asyncio.run(call)
        with pytest.raises(NotFound, match="after 61 days"):
            asyncio.run(handler.dicom("fa"))
        with pytest.raises(NotFound, match="deleted"):
            site.journal.add_analysis("fa", "other")
    finally:
        threads.close()


def test_many_studies_are_all_looked_at(site: Site) -> None:
    for i in range(5):
        site.done(f"f{i}", f"s{i}", f"9.{i}")
    site.take("fx", "sx")
    site.age(100, "fx")
    site.age(99, *(f"f{i}" for i in range(5)))
    retention = Retention(site.journal, site.audit)
    seen, last = [], None
    while found := retention.expired_films(time.time(), last, 2):
        seen += [s.study_key for s in found]
        last = found[-1]
    assert sorted(seen) == ["s0", "s1", "s2", "s3", "s4", "sx"]
    assert site.sweeper.sweep_once()["films"] == 5


def test_audit_records_go_after_their_time(database: Database, tmp_path: Path) -> None:
    site = Site(database, tmp_path, retention_film_days=0.0, retention_result_days=0.0, retention_audit_days=1e-6)
    for i in range(30):
        site.audit.note("dropped", outcome=str(i))
    time.sleep(0.2)
    assert site.sweeper.sweep_once()["audit"] == 30
    assert site.audit.verify().intact
