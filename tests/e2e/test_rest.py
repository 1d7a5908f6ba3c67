"""The REST API, as a program that knows nothing but HTTP sees it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.e2e.conftest import Live

DICOM = {"content-type": "application/dicom"}


@pytest.fixture(scope="module")
def http(live: Live) -> Iterator[httpx.Client]:
    """A client of the suite."""
    with httpx.Client(base_url=live.http, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def done(http: httpx.Client, films: list[bytes]) -> list[dict[str, Any]]:
    """All films, submitted and done on the severity model."""
    ids = []
    for film in films:
        answer = http.post("/api/v1/films", params={"model": "tiny-severity"}, content=film, headers=DICOM)
        assert answer.status_code == 202, answer.text
        ids.append(answer.json()["film_id"])
    return [wait(http, film_id, "tiny-severity") for film_id in ids]


def wait(http: httpx.Client, film_id: str, model: str = "") -> dict[str, Any]:
    """Poll until a film is final."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        film: dict[str, Any] = http.get(f"/api/v1/films/{film_id}", params={"model": model}).json()
        if film["state"] in ("done", "refused", "failed") and (not model or film["result"]):
            return film
        time.sleep(0.2)
    raise AssertionError(f"{film_id} did not become final: {film}")


def test_results_have_probabilities_and_objects(done: list[dict[str, Any]]) -> None:
    for film in done:
        assert film["state"] == "done", film
        result = film["result"]
        assert [c["name"] for c in result["classes"]] == ["mild", "medium", "severe"]
        assert sum(c["probability"] for c in result["classes"]) == pytest.approx(1.0, abs=1e-5)
        kinds = sorted(o["kind"] for o in result["objects"])
        assert kinds == ["pm"] * 6 + ["png", "sc", "sr"]


def test_objects_are_what_they_say(http: httpx.Client, done: list[dict[str, Any]]) -> None:
    film = done[0]
    for entry in film["result"]["objects"]:
        path = f"/api/v1/films/{film['film_id']}/objects/{entry['sop_instance_uid']}"
        answer = http.get(path, params={"kind": entry["kind"]})
        assert answer.status_code == 200
        assert len(answer.content) == entry["size_bytes"]
        if entry["kind"] == "png":
            assert Image.open(io.BytesIO(answer.content)).mode == "RGB"
        else:
            dataset = pydicom.dcmread(io.BytesIO(answer.content))
            assert dataset.SOPInstanceUID == entry["sop_instance_uid"]


def test_exact_maps_add_up(http: httpx.Client, done: list[dict[str, Any]]) -> None:
    film = done[1]
    answer = http.get(f"/api/v1/films/{film['film_id']}/maps.npz", params={"model": "tiny-severity"})
    maps = np.load(io.BytesIO(answer.content), allow_pickle=False)
    for c in film["result"]["classes"]:
        values = maps[f"map_{c['name']}"]
        assert values.shape == (224, 224)
        assert values.dtype == np.float32
        total = values.astype(np.float64).sum()
        assert total == pytest.approx(c["favorable_sum"] + c["glum_sum"], rel=1e-6, abs=1e-6)
    assert maps["attribution_vector"].shape == (196 * 3,)


def test_the_same_film_again_is_a_duplicate(http: httpx.Client, done: list[dict[str, Any]], films: list[bytes]) -> None:
    again = http.post("/api/v1/films", params={"model": "tiny-severity"}, content=films[0], headers=DICOM).json()
    assert again["duplicate"] is True
    assert again["film_id"] == done[0]["film_id"]


def test_films_are_listed_in_pages(http: httpx.Client, done: list[dict[str, Any]]) -> None:
    seen: list[str] = []
    token = ""
    while True:
        page = http.get("/api/v1/films", params={"page_size": 2, "page_token": token, "state": "done"}).json()
        seen += [f["film_id"] for f in page["films"]]
        token = page["next_page_token"]
        if not token:
            break
    assert len(seen) == len(set(seen))
    assert {f["film_id"] for f in done} <= set(seen)


def test_a_cohort_is_clustered_and_reported(http: httpx.Client, done: list[dict[str, Any]]) -> None:
    ids = [f["film_id"] for f in done]
    labels = dict(zip(ids, ["mild", "mild", "medium", "medium", "severe", "severe"], strict=True))
    made = http.post("/api/v1/cohorts", json={"display_name": "six phantoms", "film_ids": ids, "labels": labels})
    assert made.status_code == 201, made.text
    cohort = made.json()["id"]
    answer = http.post(f"/api/v1/cohorts/{cohort}/cluster", json={"seed": 3, "model": "tiny-severity"})
    assert answer.status_code == 200, answer.text
    clustering = answer.json()["clustering"]
    assert sorted(m["id"] for m in clustering["members"]) == sorted(ids)
    assert answer.json()["sweep"]["recommended_k"] == clustering["k"]
    assert http.get(f"/api/v1/cohorts/{cohort}").json()["clustering_ids"] == [clustering["id"]]
    report = http.post(
        f"/api/v1/cohorts/{cohort}/cluster", json={"k": 2, "model": "tiny-severity"}, headers={"accept": "text/html"}
    )
    assert "not for diagnosis" in report.text.lower()
    assert ids[0] in report.text
    assert http.delete(f"/api/v1/cohorts/{cohort}").status_code == 204
    assert http.get(f"/api/v1/cohorts/{cohort}").status_code == 404


def test_a_job_explains_stored_films_on_another_model(http: httpx.Client, done: list[dict[str, Any]]) -> None:
    ids = [f["film_id"] for f in done[:2]]
    job = http.post("/api/v1/jobs", json={"film_ids": ids, "model": "tiny-pneumonia"}).json()
    deadline = time.monotonic() + 240
    while job["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.2)
        job = http.get(f"/api/v1/jobs/{job['id']}").json()
    assert (job["state"], job["done"], job["failed"]) == ("done", 2, 0)
    film = wait(http, ids[0], "tiny-pneumonia")
    assert film["result"]["model"] == "tiny-pneumonia"
    assert "QUALITY_CONTROL_SUBJECT" in {w["code"] for w in film["result"]["warnings"]}


def test_a_wrapped_picture_gets_results_too(http: httpx.Client, films: list[bytes]) -> None:
    from vidi.imaging.dicom import decode_dicom

    pixels = (decode_dicom(films[2]).pixels * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    answer = http.post("/api/v1/films", content=buffer.getvalue(), headers={"content-type": "image/png"})
    assert answer.status_code == 202, answer.text
    assert wait(http, answer.json()["film_id"])["state"] == "done"


@pytest.mark.parametrize(
    ("content", "kind", "status", "reason"),
    [
        (b"hello, this is a letter", "application/dicom", 400, "UNREADABLE_IMAGE"),
        (b"hello, this is a letter", "image/png", 400, "UNREADABLE_IMAGE"),
        (b"x", "text/plain", 400, "INVALID_INPUT"),
        (b"", "application/dicom", 400, "INVALID_INPUT"),
    ],
)
def test_bad_films_get_typed_errors(http: httpx.Client, content: bytes, kind: str, status: int, reason: str) -> None:
    answer = http.post("/api/v1/films", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["reason"] == reason
    assert len(answer.json()["message"]) > 10


def test_unknown_things_are_404(http: httpx.Client, films: list[bytes]) -> None:
    assert http.get("/api/v1/films/fnothing").json()["reason"] == "NOT_FOUND"
    unknown = http.post("/api/v1/films", params={"model": "nope"}, content=films[0], headers=DICOM)
    assert unknown.status_code == 404
    assert "nope" in unknown.json()["message"]
    assert http.post("/api/v1/cohorts", json={"film_ids": ["fnothing"]}).status_code == 404


def test_values_that_do_not_fit_are_not_echoed(http: httpx.Client) -> None:
    answer = http.post("/api/v1/cohorts", json={"film_ids": "DOE^JANE"})
    assert answer.status_code == 400
    assert "DOE" not in answer.text


def test_operation_endpoints(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}
    assert "vidi_rpc_seconds" in http.get("/metrics").text
    models = {m["ref"]["name"]: m for m in http.get("/api/v1/models").json()}
    assert set(models) == {"tiny-pneumonia", "tiny-severity"}


def test_openapi_describes_every_route(http: httpx.Client) -> None:
    described = http.get("/api/openapi.json").json()["paths"]
    for path in ("/api/v1/films", "/api/v1/films/{film_id}", "/api/v1/cohorts/{cohort_id}/cluster", "/api/v1/jobs"):
        assert path in described
    for path, methods in described.items():
        for method, operation in methods.items():
            assert operation.get("description"), f"{method} {path} is not described"


def test_the_page_shows_films_and_stays_on_this_host(http: httpx.Client, done: list[dict[str, Any]]) -> None:
    page = http.get("/").text
    assert done[0]["film_id"][:12] in page
    assert "Not for diagnosis" in page
    assert "http://" not in page
    assert "https://" not in page
