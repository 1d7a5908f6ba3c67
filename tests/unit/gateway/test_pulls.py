"""The pull tables, on SQLite and PostgreSQL: counts add up, whatever comes in between."""

from __future__ import annotations

import pytest

from vidi.errors import InvalidInput, NotFound, PreconditionFailed
from vidi_gateway.matches import Level
from vidi_gateway.nodes import Archive, Hosts
from vidi_gateway.pull.archives import move_to
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.database import Database
from vidi_gateway.store.pulls import ItemState, Pull, Pulls, PullState, Query, Target


@pytest.fixture
def pulls(database: Database) -> Pulls:
    return Pulls(database)


def counts(pull: Pull) -> tuple[int, ...]:
    return pull.total, pull.waiting, pull.done, pull.failed, pull.left_out, pull.films


def test_the_way_of_a_list(pulls: Pulls) -> None:
    targets = [Target("1.1"), Target("1.2", "1.2.1"), Target("1.3", "", "1.3.1.1")]
    assert [t.level for t in targets] == [Level.STUDY, Level.SERIES, Level.IMAGE]
    pull_id = pulls.create("backfill", "pacs", "m", targets)
    assert counts(pulls.get(pull_id)) == (3, 3, 0, 0, 0, 0) and pulls.unfinished_peers() == ["pacs"]
    pulls.settle(pull_id, 0, ItemState.DONE, 4)
    pulls.settle(pull_id, 1, ItemState.WAITING, 1, "MOVE_INCOMPLETE_B000")
    assert not pulls.finish(pull_id)
    assert [i.position for i in pulls.waiting(pull_id, 10)] == [2, 1], "what was not tried yet goes first"
    pulls.settle(pull_id, 2, ItemState.FAILED, 0, "NOTHING_FOUND")
    pulls.settle(pull_id, 1, ItemState.DONE, 2)
    assert pulls.finish(pull_id)
    pull = pulls.get(pull_id)
    assert pull.state is PullState.DONE and counts(pull) == (3, 0, 2, 1, 0, 6)
    (failed,) = pulls.items(pull_id, 10, state=ItemState.FAILED)
    assert (failed.target, failed.last_error, failed.attempts) == (targets[2], "NOTHING_FOUND", 1)
    pulls.resume(pull_id)
    assert [i.position for i in pulls.waiting(pull_id, 10)] == [2] and pulls.next_of("pacs") is not None


def test_what_comes_after_a_cancellation_counts_and_starts_nothing(pulls: Pulls) -> None:
    pull_id = pulls.create("", "pacs", "m", [Target(f"1.{i}") for i in range(4)])
    pulls.settle(pull_id, 0, ItemState.DONE, 1)
    pulls.cancel(pull_id)
    assert counts(pulls.get(pull_id)) == (4, 0, 1, 0, 3, 1)
    pulls.settle(pull_id, 1, ItemState.DONE, 2)
    pulls.settle(pull_id, 2, ItemState.WAITING, 0, "ASSOCIATION_LOST")
    assert counts(pulls.get(pull_id)) == (4, 0, 2, 0, 2, 3) and pulls.unfinished_peers() == []
    assert pulls.finish(pull_id) and pulls.get(pull_id).state is PullState.CANCELLED
    pulls.fail(pull_id, "HTTP_401")
    assert pulls.get(pull_id).state is PullState.CANCELLED


def test_a_listing_that_was_cut_off_begins_anew(pulls: Pulls) -> None:
    query = Query("20240101-", ("DX",), "CHEST", 7)
    pull_id = pulls.create("", "pacs", "m", query)
    assert pulls.get(pull_id).query == query and pulls.get(pull_id).state is PullState.LISTING
    assert pulls.append(pull_id, 0, [Target("1.1"), Target("1.2")], last=False)
    pulls.begin_list(pull_id)
    assert pulls.append(pull_id, 0, [Target("1.1")], last=True)
    assert pulls.get(pull_id).state is PullState.RUNNING and pulls.get(pull_id).total == 1
    assert not pulls.append(pull_id, 1, [Target("1.9")], last=True), "it is listed"
    with pytest.raises(PreconditionFailed):
        pulls.resume(pull_id)


def test_a_listing_that_was_cancelled_leaves_nothing_and_is_asked_again(pulls: Pulls) -> None:
    pull_id = pulls.create("", "pacs", "m", Query())
    pulls.append(pull_id, 0, [Target("1.1")], last=False)
    pulls.cancel(pull_id)
    assert not pulls.append(pull_id, 1, [Target("1.2")], last=True)
    assert counts(pulls.get(pull_id)) == (0, 0, 0, 0, 0, 0)
    pulls.resume(pull_id)
    assert pulls.get(pull_id).state is PullState.LISTING


def test_one_process_fetches(pulls: Pulls) -> None:
    assert pulls.lead("a", 60.0) and pulls.lead("a", 60.0) and not pulls.lead("b", 60.0)
    assert pulls.lead("b", -1.0), "a has been silent for longer than that"
    assert not pulls.lead("a", 60.0)


def test_what_is_no_pull(pulls: Pulls) -> None:
    for wrong in ([], [Target("1.1"), Target("1.1")]):
        with pytest.raises(InvalidInput):
            pulls.create("", "pacs", "m", wrong)
    for call in (pulls.get, pulls.cancel, pulls.resume):
        with pytest.raises(NotFound):
            call("l0")
    first, second = (pulls.create("", "pacs", "m", [Target(uid)]) for uid in ("1.1", "1.2"))
    newest, oldest = pulls.page(10)
    assert (newest.pull_id, oldest.pull_id) == (second, first)
    assert [p.pull_id for p in pulls.page(10, newest.created_at)] == [first]


def test_the_called_ae_title_chooses_the_model() -> None:
    archive = Archive(name="a", ae_title="A", host="h", port=104, move_to="KNOWN_THERE")
    settings = GatewaySettings(ae_models={"VIDI_X": "x"}, default_model="d")
    assert move_to(archive, settings, "d") == "KNOWN_THERE" and move_to(archive, settings, "x") == "VIDI_X"
    assert move_to(archive.model_copy(update={"move_to": ""}), settings, "d") == "VIDI"
    with pytest.raises(InvalidInput) as caught:
        move_to(archive, settings, "y")
    assert caught.value.reason == "NO_AE_FOR_MODEL"


def test_hosts() -> None:
    hosts = Hosts(["127.0.0.1", "10.1.0.0/16", "fd00::/8"])
    for admitted in ("127.0.0.1", "10.1.255.3", "fd12::1", "::ffff:10.1.2.3"):
        assert hosts.admits(admitted), admitted
    for refused in ("127.0.0.2", "10.2.0.1", "::1", "", "localhost", "10.1.0.0/16", "*"):
        assert not hosts.admits(refused), refused
    assert Hosts(["*"]).admits("anything") and not Hosts([]).admits("127.0.0.1")
    assert GatewaySettings(stow_peers="10.0.0.1, 10.1.0.0/16").stow_peers == ("10.0.0.1", "10.1.0.0/16")
    with pytest.raises(ValueError, match="pacs"):
        GatewaySettings(stow_peers="pacs")
