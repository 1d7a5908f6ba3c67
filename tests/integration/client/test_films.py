"""Films, jobs and cohorts through the client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from vidi.client import AsyncClient, Client
from vidi.errors import AlreadyExists, Expired, InvalidInput, NotFound, Unavailable
from vidi.settings import MIB


async def test_films_are_submitted_watched_and_fetched(study: Any, tmp_path: Path) -> None:
    servicer, address = study
    big = bytes(range(256)) * 4096 * 20  # 20 MiB: above the limit of other messages
    path = tmp_path / "film.dcm"
    path.write_bytes(b"another film")
    async with AsyncClient(gateway=address) as client:
        first = await client.submit(big, model="severity")
        second = await client.submit(path)
        again = await client.submit(b"another film")
        assert servicer.models == ["severity", "", ""]
        assert (first.state, first.duplicate) == ("received", False)
        assert again.duplicate
        assert again.film_id == second.film_id
        seen = [film async for film in client.watch([first.film_id, second.film_id])]
        assert [film.final for film in seen] == [False, False, True, True]
        film = await client.result(first.film_id)
        assert film.result is not None
        assert film.result.prediction == "pneumonia"
        (entry,) = film.result.objects
        assert (entry.kind, entry.sign, entry.deliveries[0].state) == ("pm", "glum", "sent")
        assert await client.download(film.film_id, entry.sop_instance_uid, entry.kind) == big
        with pytest.raises(NotFound) as missing:
            await client.result("f404")
        assert (missing.value.kind, missing.value.name) == ("film", "f404")
        with pytest.raises(NotFound):
            [film async for film in client.watch(["f404"])]
        with pytest.raises(AlreadyExists):
            await client.submit(b"other pixels")


async def test_a_watch_survives_a_gateway_that_comes_back(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    servicer, address = study
    async with AsyncClient(gateway=address) as client:
        film = await client.submit(b"film")
        servicer.breaks = 2
        assert [f.state async for f in client.watch([film.film_id])] == ["received", "done"]
        assert servicer.watches == 3
        monkeypatch.setattr("vidi.client.calls_films.COMEBACK", (0.01,))
        servicer.breaks = 100
        with pytest.raises(Unavailable, match="restarting"):
            [f async for f in client.watch([film.film_id])]


async def test_a_watch_of_a_gateway_that_is_not_there_fails_at_once() -> None:
    async with AsyncClient(gateway="127.0.0.1:1") as client:
        with pytest.raises(Unavailable):
            [f async for f in client.watch(["f1"])]


async def test_a_film_above_the_limit_is_refused_before_it_is_sent(study: Any) -> None:
    servicer, address = study
    async with AsyncClient(gateway=address) as client:
        with pytest.raises(InvalidInput, match="64 MiB"):
            await client.submit(b"x" * (64 * MIB + 1))
        with pytest.raises(NotFound):
            await client.submit("nowhere.dcm")
        with pytest.raises(InvalidInput):
            await client.submit(b"")
    assert servicer.films == {}


async def test_jobs_run_and_are_cancelled(study: Any) -> None:
    _, address = study
    async with AsyncClient(gateway=address) as client:
        film = await client.submit(b"film")
        job = await client.create_job([film.film_id])
        assert (job.state, job.total, job.final) == ("running", 1, False)
        assert [j.state async for j in client.watch_job(job.id)] == ["running", "done"]
        assert (await client.job(job.id)).final
        assert (await client.cancel_job(job.id)).state == "cancelled"
        with pytest.raises(NotFound):
            await client.create_job(["f404"])


async def test_cohorts_are_kept_listed_and_clustered(study: Any) -> None:
    _, address = study
    async with AsyncClient(gateway=address) as client:
        made = [await client.create_cohort([f"f{i}"], display_name=str(i), labels={f"f{i}": "a"}) for i in range(103)]
        listed = await client.cohorts()
        assert [c.id for c in listed] == [c.id for c in made]  # over more than one page
        assert len(await client.cohorts(limit=2)) == 2
        assert (await client.cohort(made[5].id)).labels == {"f5": "a"}
        outcome = await client.cluster_cohort(made[5].id)
        assert outcome.sweep is not None
        assert outcome.sweep.recommended_k == outcome.clustering.k == 2
        assert outcome.clustering.members[0].id == "f5"
        assert outcome.report_html == b"<html></html>"
        assert (await client.cluster_cohort(made[5].id, k=4)).sweep is None
        await client.delete_cohort(made[5].id)
        with pytest.raises(NotFound):
            await client.cohort(made[5].id)
        with pytest.raises(InvalidInput):
            await client.create_cohort([])


async def test_the_sync_client_does_the_same_from_a_thread(study: Any) -> None:
    _, address = study

    def use() -> list[str]:
        with Client(gateway=address) as client:
            film = client.submit(b"film")
            return [f.state for f in client.watch([film.film_id])]

    assert await asyncio.to_thread(use) == ["received", "done"]


async def test_a_deadline_that_passes_is_said(study: Any) -> None:
    _, address = study
    async with AsyncClient(gateway=address, timeout=0.3) as client:
        with pytest.raises(Expired, match="the gateway at"):
            await client.job("never answered")
