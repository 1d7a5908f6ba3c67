"""The journal: transitions are atomic, guarded by run, and the same on both databases."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vidi.errors import InvalidInput, NotFound
from vidi.imaging.geometry import Affine
from vidi.imaging.notes import Note, Refusal
from vidi_gateway.store.arrivals import Arrivals
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.reader import analysis_id
from vidi_gateway.store.records import (
    PRIORITY_BULK,
    Arrival,
    ClassSummary,
    DeliveryState,
    FilmState,
    NewFilm,
    StoredObject,
    Summary,
    Verdict,
)
from vidi_gateway.store.studies import Studies

LATERAL = Refusal("VIEW_LATERAL", "a lateral view")
SUMMARY = Summary(
    prediction="pneumonia",
    classes=(ClassSummary("pneumonia", 0.75, 1.25, 1e-7, 3.0, -1.0),),
    calibrated=True,
    cache_hit=False,
    explanation_key="ab" * 32,
    background_digest="sha256:" + "0" * 64,
    method="shap/float32",
    map_to_film=Affine(2.0, 0.0, 0.5, 0.0, 3.0, 1.0),
    notes=(Note("AGE_UNKNOWN", "no age"),),
)


def new(film_id: str, **changes: object) -> NewFilm:
    values: dict[str, object] = {
        "film_id": film_id,
        "sop_instance_uid": f"1.2.{int.from_bytes(film_id.encode(), 'big')}"[:64],
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
        "file_key": f"films/{film_id}.dcm",
        "file_digest": "sha256:" + film_id.encode().hex().ljust(64, "0")[:64],
        "file_bytes": 10,
        "model": "m",
        "source": "test",
        "study_key": f"s{film_id}",
    }
    return NewFilm(**(values | changes))  # type: ignore[arg-type]


def stored(film_id: str, uid: str, kind: str = "sr", digest: str = "sha256:m") -> StoredObject:
    return StoredObject(film_id, uid, kind, digest, "1.2", "application/dicom", f"results/{uid}", "sha256:x", 3)


def to_processing(journal: Journal, film_id: str, model: str = "m") -> str:
    one = analysis_id(film_id, model)
    journal.mark_queued([(one, 1)])
    assert journal.begin(one, 1) is not None
    journal.pin(one, "1.0", "sha256:m")
    return one


def finish(journal: Journal, one: str, results: list[StoredObject], routes: dict[str, tuple[str, ...]]) -> bool:
    """Record an outcome, and publish its study."""
    if not journal.record(one, 1, outcome_key="k", outcome_digest="sha256:o", summary=SUMMARY):
        return False
    return publish(journal, results, routes)


def publish(journal: Journal, results: list[StoredObject], routes: dict[str, tuple[str, ...]]) -> bool:
    studies = Studies(journal, "w")
    (study,) = studies.claim(10)
    return studies.publish(
        studies.snapshot(study),
        results=results,
        notes=(),
        routes={r.film_id: routes for r in results},
        priority=1,
        input_digest="sha256:i",
        settled=True,
    )


def test_a_film_is_added_once_and_waits_for_a_workflow(journal: Journal) -> None:
    assert journal.add_film(new("fa"))
    assert not journal.add_film(new("fa", file_key="other"))
    assert journal.film("fa").file_key == "films/fa.dcm"
    assert [a.workflow_id for a in journal.unqueued(10)] == ["fa.m.1"]
    journal.mark_queued([("fa.m", 1)])
    assert journal.unqueued(10) == []
    assert (journal.unfinished_count(), journal.queued_count()) == (1, 1)
    with pytest.raises(NotFound):
        journal.film("fb")


def test_many_threads_add_the_same_film_once(journal: Journal) -> None:
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda _: journal.add_film(new("fa")), range(16)))
    assert added.count(True) == 1
    assert journal.film("fa").revision == 1


def test_urgent_films_come_first_then_the_order_of_arrival(journal: Journal) -> None:
    journal.add_film(new("fbulk", priority=PRIORITY_BULK))
    journal.add_film(new("f1"))
    journal.add_film(new("f2"))
    assert [a.film_id for a in journal.unqueued(10)] == ["f1", "f2", "fbulk"]


def test_the_way_to_done_is_one_transaction_with_its_outbox(journal: Journal, database: Database) -> None:
    journal.add_film(new("fa"))
    one = to_processing(journal, "fa")
    assert journal.film("fa").state is FilmState.PROCESSING
    results = [stored("fa", "1.1"), stored("fa", "1.2", "pm"), stored("fa", "1.3", "sc"), stored("fa", "1.4", "png")]
    assert finish(journal, one, results, {"pacs": ("sr", "sc"), "archive": ("pm",)})
    record = journal.records(["fa"])["fa"]
    assert record.state is FilmState.DONE
    assert record.analysis is not None and record.analysis.summary == SUMMARY
    assert [(o.uid, o.kind, [d.destination for d in o.deliveries]) for o in record.objects] == [
        ("1.1", "sr", ["pacs"]),
        ("1.2", "pm", ["archive"]),
        ("1.3", "sc", ["pacs"]),
        ("1.4", "png", []),
    ]
    assert not finish(journal, one, [stored("fa", "9.9")], {"pacs": ("sr",)}), "a final analysis does not change"
    assert Outbox(database, "w").counts() == {("pacs", DeliveryState.PENDING): 2, ("archive", DeliveryState.PENDING): 1}


def test_a_run_that_was_overtaken_changes_nothing(journal: Journal) -> None:
    journal.add_film(new("fa"))
    one = to_processing(journal, "fa")
    assert journal.run_again(one, 1)
    assert not journal.run_again(one, 1), "only once per run"
    assert not finish(journal, one, [stored("fa", "1.1")], {})
    assert not journal.conclude(one, 1, FilmState.FAILED, "X", "x")
    assert journal.begin(one, 1) is None
    again = journal.begin(one, 2)
    assert again is not None and again.attempts == 2, "attempts survive a lost workflow"


def test_a_failed_film_is_tried_again_only_on_request(journal: Journal) -> None:
    journal.add_film(new("fa"))
    one = to_processing(journal, "fa")
    assert journal.conclude(one, 1, FilmState.FAILED, "UNAVAILABLE", "down")
    film = journal.film("fa")
    assert (film.state, film.reason_code) == (FilmState.FAILED, "UNAVAILABLE")
    assert journal.queued_before(time.time() + 10) == []
    assert not journal.run_again(one, 1)
    assert journal.run_again(one, 1, fresh=True)
    film = journal.film("fa")
    assert (film.state, film.reason_code) == (FilmState.RECEIVED, "")
    again = journal.begin(one, 2)
    assert again is not None and again.attempts == 1


def test_a_refused_arrival_is_judged_anew_when_it_comes_again(journal: Journal) -> None:
    journal.add_film(new("fa", file_key=""), LATERAL)
    record = journal.records(["fa"])["fa"]
    assert (record.state, record.film.reason_code, record.analysis) == (FilmState.REFUSED, "VIEW_LATERAL", None)
    with pytest.raises(NotFound):
        journal.add_analysis("fa", "other")
    journal.reconsider(new("fa"), None)
    assert journal.film("fa").state is FilmState.RECEIVED
    assert [a.film_id for a in journal.unqueued(5)] == ["fa"]
    journal.reconsider(new("fa", file_key=""), LATERAL)
    assert journal.film("fa").state is FilmState.RECEIVED, "a film that was kept is not refused by a later copy"


def test_another_model_line_leaves_the_films_state_alone(journal: Journal) -> None:
    journal.add_film(new("fa"))
    finish(journal, to_processing(journal, "fa"), [stored("fa", "1.1")], {})
    assert journal.add_analysis("fa", "other") == "fa.other"
    one = to_processing(journal, "fa", "other")
    assert journal.conclude(one, 1, FilmState.REFUSED, "OUT_OF_POPULATION", "no")
    assert journal.film("fa").state is FilmState.DONE
    other = journal.records(["fa"], "other")["fa"]
    assert other.analysis is not None and other.analysis.state is FilmState.REFUSED and other.objects == ()


def test_changes_are_seen_in_order_with_their_revision(journal: Journal) -> None:
    start = time.time()
    journal.add_film(new("fa"))
    journal.add_film(new("fb"))
    to_processing(journal, "fa")
    seen = {c.film_id: (c.revision, c.state) for c in journal.changes_since(start)}
    assert seen == {"fa": (2, FilmState.PROCESSING), "fb": (1, FilmState.RECEIVED)}
    assert [c.film_id for c in journal.changes_since(start)] == ["fb", "fa"]
    assert journal.changes_since(time.time() + 60) == []


def test_pages_are_complete_and_do_not_overlap(journal: Journal) -> None:
    names = [f"f{i}" for i in range(7)]
    for name in names:
        journal.add_film(new(name))
    seen: list[str] = []
    before = None
    while page := journal.page(3, before):
        seen += page
        last = journal.film(page[-1])
        before = (last.received_at, last.film_id)
    assert seen == names[::-1]
    assert journal.page(10, states=[FilmState.DONE]) == []


def test_other_pixels_are_set_aside_and_the_film_stays(journal: Journal) -> None:
    arrivals = Arrivals(journal)
    journal.add_film(new("fa"))
    finish(journal, to_processing(journal, "fa"), [stored("fa", "1.1")], {})
    arrival = Arrival("fa-1", "fa", "arrivals/x.dcm", "sha256:y", 5, "test", Verdict.PENDING, time.time())
    assert arrivals.add(arrival) and not arrivals.add(arrival)
    assert arrivals.pending() == [arrival]
    aside = new("fq", sop_instance_uid=journal.film("fa").sop_instance_uid, file_key=arrival.file_key)
    arrivals.quarantine("fa-1", aside, Refusal("OTHER_PIXELS", "other pixels"))
    arrivals.quarantine("fa-1", aside, Refusal("OTHER_PIXELS", "other pixels"))
    assert journal.film("fa").state is FilmState.DONE
    assert (journal.film("fq").state, journal.film("fq").reason_code) == (FilmState.QUARANTINED, "OTHER_PIXELS")
    assert arrivals.pending() == [] and journal.unqueued(5) == []
    with pytest.raises(InvalidInput):
        journal.add_analysis("fq", "m")


def test_a_readable_copy_replaces_an_unreadable_film(journal: Journal) -> None:
    arrivals = Arrivals(journal)
    journal.add_film(new("fa"))
    journal.conclude(to_processing(journal, "fa"), 1, FilmState.REFUSED, "UNREADABLE_IMAGE", "truncated")
    arrival = Arrival("fa-1", "fa", "arrivals/x.dcm", "sha256:y", 5, "test", Verdict.PENDING, time.time())
    arrivals.add(arrival)
    arrivals.replace(arrival)
    film = journal.film("fa")
    assert (film.state, film.file_key, film.reason_code) == (FilmState.RECEIVED, "arrivals/x.dcm", "")
    assert [a.workflow_id for a in journal.unqueued(5)] == ["fa.m.2"]


def test_audit_counts_by_outcome(database: Database) -> None:
    audit = Audit(database)
    audit.note("dropped", outcome="OWN_OBJECT")
    audit.note("dropped", outcome="OWN_OBJECT")
    audit.note("dropped", outcome="NOT_AN_IMAGE")
    assert audit.counts("dropped") == {"OWN_OBJECT": 2, "NOT_AN_IMAGE": 1}


def test_creating_the_schema_at_once_from_many_places(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: database.create_schema(), range(4)))
    assert Journal(database).unfinished_count() == 0
