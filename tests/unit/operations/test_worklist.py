"""The reading list: nobody stands later than they came because of what a model said of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.unit.operations.conftest import NOW
from vidi.errors import InvalidInput
from vidi_gateway.handlers.worklist import Page, ReadingList
from vidi_gateway.reading import ReadingOrder
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.records import FilmState, Retirement
from vidi_gateway.store.studies import Studies
from vidi_gateway.store.worklist import Worklist
from vidi_gateway.threads import Threads

Add = Callable[..., str]


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    opened = Threads("test", 2)
    yield opened
    opened.close()


@pytest.fixture
def reading_list(database: Database, threads: Threads) -> ReadingList:
    return ReadingList(Worklist(database), ReadingOrder(max_overtaking_minutes=240), threads, lambda: NOW)


def keys(page: Page) -> list[str]:
    return [row.study.key for row in page.rows]


async def test_urgent_studies_come_forward_and_the_others_keep_their_order(add: Add, reading_list: ReadingList) -> None:
    add("f1", 60, study="a", urgency=0.0)
    add("f2", 50, study="b", refused="VIEW_LATERAL")
    add("f3", 40, study="c", failed="INTERNAL")
    add("f4", 30, study="d")  # still pending
    add("f5", 20, study="e", urgency=0.9)
    add("f6", 10, study="f", urgency=0.3)
    page = await reading_list.page()
    assert keys(page) == ["e", "f", "a", "b", "c", "d"]
    assert [(row.position, row.arrival_position) for row in page.rows] == [
        (1, 5),
        (2, 6),
        (3, 1),
        (4, 2),
        (5, 3),
        (6, 4),
    ]
    assert [r.code for r in page.rows[0].study.urgency.reasons] == ["SEVERITY"]
    assert page.rows[3].study.states == {FilmState.REFUSED: 1}
    assert page.rows[3].study.urgency.score == 0.0


async def test_who_waited_long_is_not_overtaken(add: Add, reading_list: ReadingList) -> None:
    add("f1", 241, study="a", urgency=0.0)
    add("f2", 239, study="b", urgency=0.0)
    add("f3", 1, study="c", urgency=0.9)
    page = await reading_list.page()
    assert keys(page) == ["a", "c", "b"]
    assert [row.overtakable for row in page.rows] == [False, True, True]


async def test_a_model_on_trial_pulls_nothing_forward(add: Add, reading_list: ReadingList) -> None:
    add("f1", 60, study="a", urgency=0.0)
    add("f2", 50, study="b", urgency=0.95, mode="shadow")
    page = await reading_list.page()
    assert keys(page) == ["a", "b"]
    assert page.rows[1].study.urgency.score == 0.0 and not page.rows[1].study.urgency.reasons


async def test_what_a_background_job_tries_on_another_model_pulls_nothing_forward(
    add: Add, journal: Journal, reading_list: ReadingList
) -> None:
    add("f1", 60, study="a", urgency=0.0)
    add("f2", 50, study="b", urgency=0.0)
    other = journal.add_analysis("f2", "experiment")
    journal.begin(other, 1)
    summary = journal.records(["f2"])["f2"].analysis
    assert summary is not None and summary.summary is not None
    assert journal.record(
        other, 1, outcome_key="k", outcome_digest="d", summary=summary.summary, urgency=1.0, urgency_reasons=""
    )
    assert keys(await reading_list.page()) == ["a", "b"]


async def test_a_late_film_moves_its_study_neither_back_nor_down(add: Add, reading_list: ReadingList) -> None:
    add("f1", 60, study="a", urgency=0.6)
    add("f2", 50, study="b", urgency=0.6)
    add("f3", 5, study="a", urgency=0.0)
    add("f4", 4, study="b")
    page = await reading_list.page(hours=0.2)  # only the late films are of the last twelve minutes
    assert keys(page) == ["a", "b"]
    assert [row.study.arrived for row in page.rows] == [NOW - 3600, NOW - 3000]
    assert [row.study.score for row in page.rows] == [0.6, 0.6]


async def test_a_film_without_a_study_stands_alone(add: Add, reading_list: ReadingList) -> None:
    add("f1", 2)
    add("f2", 1)
    assert keys(await reading_list.page()) == ["f1", "f2"]


async def test_withdrawn_and_superseded_results_bear_a_badge(
    add: Add, journal: Journal, reading_list: ReadingList
) -> None:
    add("f1", 60, study="a", urgency=0.9)
    add("f2", 50, study="b", urgency=0.9)
    add("f3", 40, study="c", urgency=0.9)
    studies = Studies(journal, "w")
    for study in studies.claim(10):
        snapshot = studies.snapshot(study)
        published = studies.publish(
            snapshot,
            results=[],
            notes=[],
            routes={},
            priority=1,
            input_digest="d",
            settled=True,
        )
        assert published
    assert journal.supersede("m", "sha256:new") == 3
    assert Lifecycle(journal).withdraw(["f1"], Retirement.WITHDRAWN) == 1
    page = await reading_list.page()
    assert {row.study.key: row.study.badge for row in page.rows} == {
        "a": "withdrawn",
        "b": "superseded",
        "c": "superseded",
    }
    # A withdrawn result says nothing any more, and its study stands where it came.
    assert keys(page) == ["b", "c", "a"]
    assert page.rows[2].study.states == {FilmState.WITHDRAWN: 1}


async def test_pages_hold_every_study_once(add: Add, reading_list: ReadingList) -> None:
    for i in range(23):
        add(f"f{i:02}", 300 - i * 10, study=f"s{i:02}", urgency=(i % 4) * 0.3)
    whole = keys(await reading_list.page())
    seen, token = [], ""
    while True:
        page = await reading_list.page(size=5, token=token)
        assert page.total == 23
        seen += keys(page)
        token = page.next_token
        if not token:
            break
    assert seen == whole and len(set(seen)) == 23
    for wrong in ("x", "bnVsbA", "WzEsMiwzXQ"):
        with pytest.raises(InvalidInput):
            await reading_list.page(token=wrong)
