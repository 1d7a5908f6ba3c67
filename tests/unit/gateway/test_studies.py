"""Publications of studies: when they are due, what they replace, what is taken back, and that nothing is done twice."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from tests.support import SUMMARY
from vidi.imaging.notes import Refusal
from vidi_gateway.store.arrivals import Arrivals
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.reader import analysis_id
from vidi_gateway.store.records import (
    Arrival,
    DeliveryState,
    FilmState,
    NewFilm,
    Retirement,
    StoredObject,
    Verdict,
)
from vidi_gateway.store.studies import Note, Studies

PACS = {"pacs": ("sr", "sc", "pm")}


def film(film_id: str, study: str = "s1", **changes: object) -> NewFilm:
    values: dict[str, object] = {
        "film_id": film_id,
        "sop_instance_uid": f"1.2.{int.from_bytes(film_id.encode(), 'big')}",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
        "file_key": f"films/{film_id}.dcm",
        "file_digest": f"sha256:{film_id}",
        "file_bytes": 10,
        "model": "m",
        "source": "test",
        "study_key": study,
        "patient_key": "p1",
    }
    return NewFilm(**(values | changes))  # type: ignore[arg-type]


def made(film_id: str, uid: str, kind: str = "sr") -> StoredObject:
    return StoredObject(film_id, uid, kind, "sha256:m", "1.2", "application/dicom", f"results/{uid}", "sha256:x", 3)


class Site:
    """A journal with its tables, and the few moves that the tests need."""

    def __init__(self, database: Database, settle: float = 0.0) -> None:
        self.journal = Journal(database, settle)
        self.life = Lifecycle(self.journal, settle)
        self.studies = Studies(self.journal, "w", patience_seconds=3600.0)
        self.outbox = Outbox(database, "w")
        self.arrivals = Arrivals(self.journal)

    def explain(self, film_id: str, run: int = 1, model: str = "m") -> None:
        one = analysis_id(film_id, model)
        assert self.journal.begin(one, run) is not None
        self.journal.pin(one, "1", "sha256:m")
        assert self.journal.record(one, run, outcome_key="k", outcome_digest="sha256:o", summary=SUMMARY)

    def publish(self, *results: StoredObject, notes: Iterable[Note] = (), settled: bool = True) -> bool:
        (study,) = self.studies.claim(10)
        return self.studies.publish(
            self.studies.snapshot(study),
            results=results,
            notes=tuple(notes),
            routes={r.film_id: PACS for r in results},
            priority=1,
            input_digest="sha256:i",
            settled=settled,
        )

    def send_all(self) -> list[str]:
        entries = self.outbox.claim("pacs", 100)
        self.outbox.sent([e.id for e in entries])
        return [e.uid for e in entries]

    def states(self) -> dict[str, str]:
        return {o.uid: d.state.value for r in self.records() for o in r for d in o.deliveries}

    def records(self) -> list[tuple[StoredObject, ...]]:
        return [r.objects for r in self.journal.records(self.journal.page(100)).values()]


@pytest.fixture
def site(database: Database) -> Site:
    return Site(database)


def published(site: Site, *film_ids: str) -> None:
    for film_id in film_ids:
        site.journal.add_film(film(film_id))
        site.explain(film_id)
    results = [made(f, "9.1") for f in film_ids] + [made(f, f"9.2.{i}", "pm") for i, f in enumerate(film_ids)]
    assert site.publish(*results)


def test_a_study_is_due_when_it_has_settled_and_nothing_is_worked_on(database: Database) -> None:
    slow = Site(database, settle=3600.0)
    slow.journal.add_film(film("fa"))
    slow.explain("fa")
    assert slow.studies.claim(10) == [], "more films of it may come"
    quick = Site(database)
    quick.journal.add_film(film("fb"))
    assert quick.studies.claim(10) == [], "a film is being worked on"
    quick.explain("fb")
    (study,) = quick.studies.claim(10)
    assert (study.study_key, study.model, study.mode, study.revision) == ("s1", "m", "live", 0)
    assert {m.film.film_id for m in quick.studies.snapshot(study).members} == {"fa", "fb"}
    assert quick.studies.claim(10) == [], "leased"
    quick.studies.release_own()
    assert len(quick.studies.claim(10)) == 1


def test_patience_with_a_film_that_does_not_end_is_limited(database: Database) -> None:
    site = Site(database)
    site.journal.add_film(film("fa"))
    site.journal.add_film(film("fb"))
    site.explain("fa")
    assert site.studies.claim(10) == []
    impatient = Studies(site.journal, "w", patience_seconds=-1.0)
    (study,) = impatient.claim(10)
    assert [m.active for m in impatient.snapshot(study).members] == [False, True]


def test_a_late_film_replaces_the_report_and_keeps_the_maps(site: Site) -> None:
    published(site, "fa")
    assert sorted(site.send_all()) == ["9.1", "9.2.0"]
    site.journal.add_film(film("fb"))
    site.explain("fb")
    (study,) = site.studies.claim(10)
    snapshot = site.studies.snapshot(study)
    assert [(i.uid, i.kind, i.destinations) for i in snapshot.issued] == [
        ("9.1", "sr", frozenset({"pacs"})),
        ("9.2.0", "pm", frozenset({"pacs"})),
    ]
    site.studies.release_own()
    note = Note(made("fa", "9.9", "ko"), ("pacs",))
    again = [made(f, "9.3") for f in ("fa", "fb")] + [made("fa", "9.2.0", "pm"), made("fb", "9.2.1", "pm")]
    assert site.publish(*again, notes=[note])
    record = site.journal.records(["fa", "fb"])
    assert [o.uid for o in record["fa"].objects if o.kind != "ko"] == ["9.3", "9.2.0"]
    assert [o.uid for o in record["fb"].objects] == ["9.3", "9.2.1"]
    due = site.outbox.claim("pacs", 100)
    assert {e.uid for e in due} == {"9.9", "9.3", "9.2.1"}, "what is there is not sent again"
    assert site.studies.claim(10) == []


def test_what_was_not_sent_yet_never_will_be(site: Site) -> None:
    published(site, "fa")
    site.life.withdraw(["fa"], Retirement.WITHDRAWN)
    assert site.outbox.claim("pacs", 100) == []
    (study,) = site.studies.claim(10)
    snapshot = site.studies.snapshot(study)
    assert all(i.retired and not i.destinations for i in snapshot.issued), "no archive needs to be told"
    assert site.outbox.counts() == {("pacs", DeliveryState.CANCELLED): 2}


def test_what_is_being_sent_counts_as_there(site: Site) -> None:
    published(site, "fa")
    claimed = site.outbox.claim("pacs", 100)
    site.life.withdraw(["fa"], Retirement.WITHDRAWN)
    site.outbox.sent([e.id for e in claimed])
    (study,) = site.studies.claim(10)
    assert all(i.destinations == {"pacs"} for i in site.studies.snapshot(study).issued)


def test_a_publication_of_what_has_changed_changes_nothing(site: Site) -> None:
    site.journal.add_film(film("fa"))
    site.explain("fa")
    (study,) = site.studies.claim(10)
    snapshot = site.studies.snapshot(study)
    site.life.withdraw(["fa"], Retirement.QUALITY)
    arguments = {"notes": (), "routes": {}, "priority": 1, "input_digest": "x", "settled": True}
    assert not site.studies.publish(snapshot, results=[made("fa", "9.1")], **arguments)  # type: ignore[arg-type]
    assert site.journal.film("fa").state is FilmState.WITHDRAWN
    assert site.records() == [()]


def test_two_workers_do_not_publish_one_study(site: Site) -> None:
    site.journal.add_film(film("fa"))
    site.explain("fa")
    (study,) = site.studies.claim(10)
    other = Studies(site.journal, "other")
    arguments = {"notes": (), "routes": {}, "priority": 1, "input_digest": "x", "settled": True}
    assert not other.publish(other.snapshot(study), results=[made("fa", "8.1")], **arguments)  # type: ignore[arg-type]
    assert site.studies.publish(site.studies.snapshot(study), results=[made("fa", "9.1")], **arguments)  # type: ignore[arg-type]
    assert not site.studies.publish(site.studies.snapshot(study), results=[made("fa", "7.1")], **arguments)  # type: ignore[arg-type]


def test_a_film_that_comes_during_a_publication_makes_the_study_due_again(site: Site) -> None:
    site.journal.add_film(film("fa"))
    site.explain("fa")
    (study,) = site.studies.claim(10)
    snapshot = site.studies.snapshot(study)
    time.sleep(0.01)
    site.life.reject(["fz"], Retirement.QUALITY, "test")  # another film: nothing to do with this study
    arguments = {"notes": (), "routes": {}, "priority": 1, "input_digest": "x", "settled": True}
    site.journal.add_film(film("fb"))
    assert not site.studies.publish(snapshot, results=[made("fa", "9.1")], **arguments)  # type: ignore[arg-type]
    site.explain("fb")
    site.studies.release_own()
    (again,) = site.studies.claim(10)
    assert again.due_at > study.due_at


def test_a_rejection_note_withdraws_what_is_there_and_what_comes_later(site: Site) -> None:
    published(site, "fa", "fb")
    site.send_all()
    assert site.life.reject(["fa", "fc"], Retirement.QUALITY, "dimse:PACS@h") == 1
    assert site.life.reject(["fa"], Retirement.QUALITY, "dimse:PACS@h") == 0, "once"
    assert site.life.rejection("fc") is Retirement.QUALITY and site.life.rejection("fb") is None
    record = site.journal.records(["fa", "fb"])
    assert (record["fa"].state, record["fa"].film.reason_code) == (FilmState.WITHDRAWN, "WITHDRAWN_QUALITY")
    assert record["fb"].state is FilmState.DONE, "its maps stay, the report about both is made anew"
    assert [o.kind for o in record["fb"].objects] == ["pm"]
    (study,) = site.studies.claim(10)
    issued = {i.uid: i.retired_reason for i in site.studies.snapshot(study).issued}
    assert issued == {"9.1": "quality", "9.2.0": "quality", "9.2.1": ""}
    with pytest.raises(Exception, match="withdrawn"):
        site.journal.add_analysis("fa", "other")
    assert site.life.reject(["fd"], Retirement.RETENTION, "dimse:PACS@h") == 0
    assert site.life.rejection("fd") is None, "what only ran out of time may come back"


def test_withdrawn_with_its_model_a_film_may_be_analysed_again(site: Site) -> None:
    published(site, "fa")
    (impact,) = site.life.impact("m")
    assert (impact.film_id, impact.model_digest, impact.destinations) == ("fa", "sha256:m", ())
    assert site.life.impact("m", "sha256:other") == [] == site.life.impact("other")
    assert site.life.impact("m", since=time.time() + 10) == []
    site.send_all()
    (impact,) = site.life.impact("m", until=time.time() + 10)
    assert impact.destinations == ("pacs",)
    assert site.life.withdraw(["fa"], Retirement.WITHDRAWN, model="m") == 1
    assert site.life.impact("m") == []
    row = site.journal.film("fa")
    assert row.state is FilmState.WITHDRAWN and row.withdrawn_at is None
    assert site.journal.run_again("fa.m", 1, fresh=True)
    assert site.journal.film("fa").state is FilmState.RECEIVED


def test_a_withdrawal_in_mid_flight_wins(site: Site) -> None:
    site.journal.add_film(film("fa"))
    assert site.journal.begin("fa.m", 1) is not None
    site.life.withdraw(["fa"], Retirement.SAFETY)
    assert not site.journal.record("fa.m", 1, outcome_key="k", outcome_digest="sha256:o", summary=SUMMARY)
    assert site.journal.begin("fa.m", 1) is None
    assert site.journal.film("fa").state is FilmState.WITHDRAWN


def test_the_cache_forgets_withdrawn_explanations_unless_others_have_them(site: Site) -> None:
    published(site, "fa", "fb")
    site.journal.identify("fa", "sha256:p", "sha256:1")
    site.journal.identify("fb", "sha256:p", "sha256:2")
    site.life.withdraw(["fa"], Retirement.WITHDRAWN)
    (one,) = site.life.forgettable(10)
    assert (one.analysis_id, one.explanation_key, one.shared) == ("fa.m", "ab" * 32, True)
    site.life.withdraw(["fb"], Retirement.WITHDRAWN)
    assert [f.shared for f in site.life.forgettable(10)] == [False, False]
    site.life.forgotten(["fa.m", "fb.m"])
    assert site.life.forgettable(10) == []


def test_an_amendment_retires_the_old_and_starts_anew_in_its_new_study(site: Site) -> None:
    published(site, "fa", "fb")
    site.send_all()
    arrival = Arrival("fa-1", "fa", "arrivals/x.dcm", "sha256:y", 5, "test", Verdict.PENDING, time.time())
    site.arrivals.add(arrival)
    amended = film("fa", study="s2", file_key=arrival.file_key, file_digest=arrival.file_digest, patient_key="p2")
    assert site.life.amend(arrival, amended)
    assert not site.life.amend(arrival, amended), "once"
    record = site.journal.records(["fa", "fb"])
    assert (record["fa"].state, record["fa"].film.study_key, record["fa"].film.file_key) == (
        FilmState.RECEIVED,
        "s2",
        "arrivals/x.dcm",
    )
    assert record["fb"].state is FilmState.DONE
    (old,) = site.studies.claim(10)
    assert old.study_key == "s1"
    snapshot = site.studies.snapshot(old)
    assert [m.film.film_id for m in snapshot.members] == ["fb"]
    assert {i.uid: i.retired_reason for i in snapshot.issued} == {"9.1": "amended", "9.2.0": "amended", "9.2.1": ""}
    site.explain("fa", run=2)
    (moved,) = site.studies.claim(10)
    assert moved.study_key == "s2"


def test_notes_do_not_wait_for_films_that_are_worked_on(site: Site) -> None:
    published(site, "fa")
    site.send_all()
    site.journal.add_film(film("fb"))
    assert site.studies.claim(10) == []
    site.life.withdraw(["fa"], Retirement.SAFETY)
    note = Note(made("fa", "9.9", "ko"), ("pacs",))
    assert site.publish(notes=[note], settled=False)
    assert [e.uid for e in site.outbox.claim("pacs", 10)] == ["9.9"]
    assert site.studies.claim(10) == [], "the report waits for the film"
    site.explain("fb")
    (study,) = site.studies.claim(10)
    left = {i.uid: (i.noted, i.replaced_by) for i in site.studies.snapshot(study).issued}
    assert left == {"9.1": (True, "")}, "rejected already; the next report names it as its predecessor"


def test_merged_patients_share_an_identity_from_then_on(site: Site) -> None:
    published(site, "fa")
    site.send_all()
    assert site.life.merge("msg1", ["p1"], "p9", "identities/p9.json") == 1
    assert site.life.merge("msg1", ["p1"], "p9", "identities/p9.json") == 1, "the same message changes nothing"
    row = site.journal.film("fa")
    assert (row.patient_key, row.identity_key, row.state) == ("p9", "identities/p9.json", FilmState.EXPLAINED)
    assert len(site.studies.claim(10)) == 1
    assert site.life.identity_of("p1") == ("p9", "identities/p9.json") and site.life.identity_of("p7") == ("p7", "")
    assert site.life.merge("msg2", ["p9"], "p10", "identities/p10.json") == 1
    assert site.life.identity_of("p1") == ("p10", "identities/p10.json")


def test_another_digest_of_the_line_supersedes(site: Site) -> None:
    published(site, "fa")
    assert site.journal.supersede("m", "sha256:m") == 0
    assert site.journal.supersede("m", "sha256:new") == 1 and site.journal.supersede("m", "sha256:new") == 0
    analysis = site.journal.analysis("fa.m")
    assert (analysis.state, analysis.superseded_by) == (FilmState.DONE, "sha256:new")
    assert site.journal.supersede("m", "sha256:m") == 0
    assert site.journal.analysis("fa.m").superseded_by == "", "rolled back: it is the current one again"


def test_shadow_and_live_of_one_study_are_published_apart(site: Site) -> None:
    shadow = '{"mode":"shadow"}'
    site.journal.add_film(film("fa"))
    site.journal.add_film(film("fb", routing=shadow))
    site.explain("fa")
    site.explain("fb")
    modes = {s.mode: [m.film.film_id for m in site.studies.snapshot(s).members] for s in site.studies.claim(10)}
    assert modes == {"live": ["fa"], "shadow": ["fb"]}


def test_refused_and_quarantined_films_are_members_too(site: Site) -> None:
    site.journal.add_film(film("fa"))
    site.journal.add_film(film("fb", file_key=""), Refusal("NOT_FRONTAL", "lateral"))
    site.explain("fa")
    (study,) = site.studies.claim(10)
    members = {m.film.film_id: m for m in site.studies.snapshot(study).members}
    assert members["fb"].analysis is None and not members["fb"].explained and not members["fb"].active


def test_a_publication_that_cannot_be_made_ends_its_films(site: Site) -> None:
    site.journal.add_film(film("fa"))
    site.explain("fa")
    (study,) = site.studies.claim(10)
    site.studies.postpone(study, "STORE_FULL", -1.0)
    (again,) = site.studies.claim(10)
    assert (again.attempts, again.due_at) == (1, study.due_at)
    site.studies.fail(again, "NOT_PUBLISHED", "why")
    assert (site.journal.film("fa").state, site.journal.film("fa").reason_code) == (FilmState.FAILED, "NOT_PUBLISHED")
    assert site.studies.claim(10) == []


def test_a_film_that_was_not_waited_for_makes_its_study_due_when_it_ends(site: Site) -> None:
    for film_id in ("fa", "fb", "fc"):
        site.journal.add_film(film(film_id))
    site.explain("fa")
    site.studies = Studies(site.journal, "w", patience_seconds=-1.0)
    assert site.publish(made("fa", "9.1"))
    assert site.studies.claim(10) == []
    site.explain("fb")
    assert site.publish(made("fa", "9.2"), made("fb", "9.2"))
    assert site.journal.begin("fc.m", 1) is not None
    assert site.journal.conclude("fc.m", 1, FilmState.FAILED, "UNAVAILABLE", "down")
    assert len(site.studies.claim(10)) == 1, "the report that calls it pending is no longer true"


def test_pictures_that_no_archive_has_hold_nothing_up(site: Site) -> None:
    site.journal.add_film(film("fa"))
    site.explain("fa")
    assert site.publish(made("fa", "9.1"), made("fa", "9.5", "png"))
    site.journal.add_film(film("fb"))
    site.life.withdraw(["fa"], Retirement.QUALITY)
    assert site.publish(settled=False)
    assert site.studies.claim(10) == [], "nothing is left to be said before the other film ends"


def test_attempts_at_a_film_that_is_not_waited_for_do_not_hold_a_publication_up(site: Site) -> None:
    site.journal.add_film(film("fa"))
    site.journal.add_film(film("fb"))
    site.explain("fa")
    impatient = Studies(site.journal, "w", patience_seconds=-1.0)
    (study,) = impatient.claim(10)
    snapshot = impatient.snapshot(study)
    assert site.journal.begin("fb.m", 1) is not None
    site.journal.note_wait("fb.m")
    arguments = {"notes": (), "routes": {}, "priority": 1, "input_digest": "x", "settled": True}
    assert impatient.publish(snapshot, results=[made("fa", "9.1")], **arguments)  # type: ignore[arg-type]
