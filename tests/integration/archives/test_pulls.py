"""Backfill from a real Orthanc: by C-MOVE, by QIDO-RS and WADO-RS, through kills and absences; counts are exact."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydicom.uid import generate_uid

from tests.integration.archives.conftest import Relay, Served, archives, varied
from tests.integration.conftest import AE, PASSWORD, USER, Orthanc
from tests.support import uid_of

pytestmark = pytest.mark.timeout(1200)

Serve = Callable[..., Served]
Studies = dict[str, list[bytes]]


def dimse(port: int, **more: Any) -> dict[str, Any]:
    return {"name": "pacs", "ae_title": AE, "host": "127.0.0.1", "port": port, "timeout": 20} | more


def web(http: str, **more: Any) -> dict[str, Any]:
    node = {"name": "pacs", "protocol": "dicomweb", "url": f"{http}/dicom-web", "username": USER, "timeout": 20}
    return node | {"password_env": "TEST_ORTHANC_PASSWORD"} | more


@pytest.fixture(params=["dimse", "dicomweb"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(
    protocol: str, start_orthanc: Callable[..., Orthanc], serve: Serve, studies: Studies
) -> tuple[Served, Orthanc]:
    """A gateway that is not started yet, and an archive with the films that knows it."""
    gateway = serve(start=False, TEST_ORTHANC_PASSWORD=PASSWORD)
    orthanc = start_orthanc({"VIDI": gateway.dimse_port}, StableAge=1)
    for films in studies.values():
        for film in films:
            orthanc.put(film)
    node = dimse(orthanc.dicom_port) if protocol == "dimse" else web(orthanc.http)
    gateway.environment["VIDI_ARCHIVES"] = archives(node)
    return gateway, orthanc


def start(gateway: Served, **what: Any) -> str:
    answer = gateway.http.post("/api/v1/pulls", json={"archive": "pacs"} | what)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def all_uids(studies: Studies) -> set[str]:
    return {uid_of(film) for films in studies.values() for film in films}


def test_what_a_query_finds_is_fetched(pair: tuple[Served, Orthanc], studies: Studies, dx_film: bytes) -> None:
    gateway, orthanc = pair
    study = next(iter(studies))
    ct = varied(dx_film, StudyInstanceUID=study, SeriesInstanceUID=generate_uid(), Modality="CT")
    abdomen = varied(dx_film, StudyInstanceUID=study, SeriesInstanceUID=generate_uid(), BodyPartExamined="ABDOMEN")
    february = varied(dx_film, StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), StudyDate="20240201")
    for film in (ct, abdomen, february):
        orthanc.put(film)
    gateway.start()
    query = {"study_date": "20240101-20240131", "modalities": ["CR", "DX"], "body_part": "CHEST"}
    pull = gateway.pull_ended(start(gateway, query=query, display_name="January"))
    assert pull["state"] == "done", pull
    assert (pull["total"], pull["done"], pull["failed"], pull["films"]) == (12, 12, 0, 24), pull
    assert gateway.uids() == all_uids(studies), "no CT, no abdomen, no February"
    assert gateway.sources() == {"pull:pacs"}
    records = gateway.journal.records(gateway.journal.page(100)).values()
    assert {r.analysis.priority for r in records if r.analysis} == {100}, "films that arrive go first"
    assert {e: gateway.audit.counts(e) for e in ("pull started",)} == {"pull started": {"pacs": 1}}
    again = gateway.pull_ended(start(gateway, query=query | {"limit": 5}))
    assert (again["total"], again["films"]) == (5, 10) and gateway.uids() == all_uids(studies), (
        "fetched twice is one film"
    )
    trail = json.dumps([vars(r) for r in gateway.audit.page(10_000)])
    for text in (gateway.log, trail):
        assert "anary" not in text.lower() and study not in text and not any(u in text for u in all_uids(studies))


def test_a_list_is_fetched_and_what_is_not_there_fails_by_itself(
    pair: tuple[Served, Orthanc], studies: Studies
) -> None:
    gateway, _ = pair
    gateway.start()
    first, second, *_ = studies
    sop = uid_of(studies[second][1])
    series = next(s for s in gateway_series(pair[1], sop))
    items = [
        {"study_uid": first},
        {"study_uid": second, "series_uid": series, "sop_uid": sop},
        {"study_uid": generate_uid()},
        {"study_uid": second, "series_uid": generate_uid()},
    ]
    pull_id = start(gateway, items=items)
    pull = gateway.pull_ended(pull_id)
    counts = {k: pull[k] for k in ("state", "total", "done", "failed", "waiting", "films")}
    assert counts == {"state": "done", "total": 4, "done": 2, "failed": 2, "waiting": 0, "films": 3}, gateway.log[
        -3000:
    ]
    failed = gateway.http.get(f"/api/v1/pulls/{pull_id}/items", params={"state": "failed"}).json()["items"]
    assert [(i["position"], i["last_error"]) for i in failed] == [(2, "NOTHING_FOUND"), (3, "NOTHING_FOUND")]
    assert gateway.uids() == {uid_of(f) for f in studies[first]} | {sop}


def gateway_series(orthanc: Orthanc, sop: str) -> list[str]:
    """Series Instance UIDs of an instance in Orthanc."""
    (instance,) = [i["ID"] for i in orthanc.call("/tools/lookup", sop.encode(), "POST") if i["Type"] == "Instance"]
    return [str(orthanc.call(f"/instances/{instance}/series")["MainDicomTags"]["SeriesInstanceUID"])]


def test_a_kill_in_the_middle_loses_and_doubles_nothing(pair: tuple[Served, Orthanc], studies: Studies) -> None:
    gateway, _ = pair
    gateway.start()
    pull_id = start(gateway, items=[{"study_uid": s} for s in studies])
    for done in (2, 6):
        gateway.wait(f"{done} studies came", lambda done=done: gateway.pulls.get(pull_id).done >= done)  # type: ignore[misc]
        gateway.kill()
        before = gateway.pulls.get(pull_id)
        assert before.state == "running" and before.waiting, "it was killed in the middle"
        gateway.start()
    pull = gateway.pull_ended(pull_id)
    assert (pull["state"], pull["done"], pull["failed"], pull["films"]) == ("done", 12, 0, 24)
    assert gateway.uids() == all_uids(studies) and len(gateway.journal.page(1000)) == 24


def test_a_query_is_resumed_from_its_list(pair: tuple[Served, Orthanc], studies: Studies) -> None:
    gateway, _ = pair
    gateway.start()
    pull_id = start(gateway, query={})
    gateway.kill()
    gateway.start()
    pull = gateway.pull_ended(pull_id)
    assert (pull["state"], pull["total"], pull["films"]) == ("done", 12, 24)


def test_cancelled_and_resumed(pair: tuple[Served, Orthanc], studies: Studies) -> None:
    gateway, _ = pair
    gateway.start()
    pull_id = start(gateway, items=[{"study_uid": s} for s in studies])
    gateway.wait("something came", lambda: gateway.pulls.get(pull_id).done >= 1)
    cancelled = gateway.http.post(f"/api/v1/pulls/{pull_id}/cancel").json()
    assert cancelled["state"] == "cancelled" and cancelled["left_out"] and not cancelled["waiting"]
    assert cancelled["done"] + cancelled["left_out"] == 12
    busy = gateway.http.post(f"/api/v1/pulls/{pull_id}/resume")
    assert busy.status_code == 202
    assert gateway.http.post(f"/api/v1/pulls/{pull_id}/resume").status_code == 409
    pull = gateway.pull_ended(pull_id)
    assert (pull["state"], pull["done"], pull["left_out"], pull["films"]) == ("done", 12, 0, 24)
    assert gateway.uids() == all_uids(studies)


def test_no_more_is_fetched_than_can_be_worked_on(pair: tuple[Served, Orthanc], studies: Studies) -> None:
    gateway, _ = pair
    gateway.environment["VIDI_PULL_WATERMARK"] = "5"
    gateway.start()
    pull_id = start(gateway, items=[{"study_uid": s} for s in studies])
    gateway.wait("the watermark", lambda: gateway.pulls.get(pull_id).done >= 3)
    time.sleep(5)
    held = gateway.pulls.get(pull_id)
    assert (held.state, held.done, gateway.journal.unfinished_count()) == ("running", 3, 6), "one film above it"


@pytest.fixture
def relayed(pair: tuple[Served, Orthanc], relay: Callable[[int], Relay], protocol: str) -> tuple[Served, Relay]:
    """The same over a network that can be taken away, and is."""
    gateway, orthanc = pair
    if protocol == "dimse":
        between = relay(orthanc.dicom_port)
        node = dimse(between.port)
    else:
        between = relay(int(orthanc.http.rpartition(":")[2]))
        node = web(f"http://127.0.0.1:{between.port}")
    gateway.environment["VIDI_ARCHIVES"] = archives(node)
    gateway.start()
    return gateway, between


def test_an_archive_that_is_away_comes_back(relayed: tuple[Served, Relay], studies: Studies) -> None:
    """The pull says why it waits, nothing is given up, and it goes on by itself: before it began, and in the middle."""
    gateway, network = relayed
    pull_id = start(gateway, items=[{"study_uid": s} for s in studies])
    gateway.wait("it says why", lambda: gateway.pulls.get(pull_id).last_error != "")
    assert gateway.pulls.get(pull_id).state == "running"
    network.open()
    gateway.wait("something came", lambda: gateway.pulls.get(pull_id).done >= 2)
    network.close()
    gateway.wait("it says why", lambda: gateway.pulls.get(pull_id).last_error != "")
    away = gateway.pulls.get(pull_id)
    assert away.state == "running" and away.waiting and not away.failed
    network.open()
    pull = gateway.pull_ended(pull_id)
    assert (pull["state"], pull["done"], pull["failed"], pull["films"], pull["last_error"]) == ("done", 12, 0, 24, "")
    assert gateway.uids() == all_uids(studies)


def test_an_answer_that_breaks_off_is_asked_for_again(relayed: tuple[Served, Relay], studies: Studies) -> None:
    gateway, network = relayed
    network.breaks_after = 20_000  # in the middle of a film, by WADO-RS
    network.open()
    pull = gateway.pull_ended(start(gateway, query={}))
    assert (pull["state"], pull["done"], pull["failed"], pull["films"]) == ("done", 12, 0, 24)
    assert gateway.uids() == all_uids(studies)


def test_what_has_to_be_set_right_first_ends_the_pull(
    serve: Serve, start_orthanc: Callable[..., Orthanc], studies: Studies
) -> None:
    gateway = serve(start=False, TEST_ORTHANC_PASSWORD="wrong")
    orthanc = start_orthanc({"VIDI": gateway.dimse_port})
    orthanc.put(next(iter(studies.values()))[0])
    stranger = dimse(orthanc.dicom_port, name="stranger", move_to="ELSEWHERE")
    closed = web(orthanc.http, name="closed")
    gateway.environment["VIDI_ARCHIVES"] = archives(stranger, closed)
    gateway.environment["VIDI_AE_MODELS"] = '{"VIDI_X": "severity-phantom"}'
    gateway.start()
    item = [{"study_uid": next(iter(studies))}]
    ends = {}
    for name in ("stranger", "closed"):
        pull = gateway.pull_ended(start(gateway, archive=name, items=item))
        ends[name] = (pull["state"], pull["last_error"], pull["waiting"])
    assert ends == {"stranger": ("failed", "MOVE_NOT_ACCEPTED", 1), "closed": ("failed", "HTTP_401", 1)}
    for wrong, status in (
        ({"archive": "nowhere", "items": item}, 404),
        ({"archive": "stranger", "items": item, "model": "unheard-of"}, 400),
        ({"archive": "stranger"}, 400),
        ({"archive": "stranger", "items": item, "query": {}}, 400),
        ({"archive": "stranger", "items": item * 2}, 400),
        ({"archive": "stranger", "query": {"patient_id": "1"}}, 400),
        ({"archive": "stranger", "query": {"study_date": "January"}}, 400),
        ({"archive": "stranger", "items": [{"study_uid": "1.2\\*"}]}, 400),
    ):
        answer = gateway.http.post("/api/v1/pulls", json=wrong)
        assert answer.status_code == status, (wrong, answer.text)
    assert gateway.http.get("/api/v1/pulls/nothing").status_code == 404
    assert len(gateway.http.get("/api/v1/pulls").json()["pulls"]) == 2
