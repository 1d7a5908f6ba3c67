"""Real classifier, explainer and clusterer in a process of their own; and a small StudyService in this one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from vidi.errors import AlreadyExists, NotFound, Unavailable
from vidi.rpc.server import running
from vidi.service import Mounted, Service
from vidi.settings import MIB, ServiceSettings

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from vidi.embedded import BACKENDS, suite

async def main():
    where = {"data_dir": Path(sys.argv[1]), "model_dir": Path(sys.argv[2]), "default_model": "tiny-pneumonia"}
    async with suite(services=BACKENDS, **where) as running:
        print(json.dumps(running.addresses), flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture(scope="session")
def backends(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of running services, by name."""
    folder = tmp_path_factory.mktemp("backends")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(folder / "data"), str(model_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(120)


class Study(gateway_pb2_grpc.StudyServiceServicer):
    """Keeps films, jobs and cohorts in memory; a film is done when it is watched for the second time."""

    def __init__(self) -> None:
        self.films: dict[str, gateway_pb2.Film] = {}
        self.dicom: dict[str, bytes] = {}
        self.cohorts: dict[str, gateway_pb2.Cohort] = {}
        self.jobs: dict[str, gateway_pb2.Job] = {}
        self.models: list[str] = []
        self.watches = 0
        self.breaks = 0

    async def SubmitInstance(self, request: Any, context: Any) -> Any:
        self.models.append(request.model.name)
        if request.dicom == b"other pixels":
            raise AlreadyExists("film", "f1", "other pixels came under the same SOP Instance UID")
        film_id = "f" + hashlib.sha256(request.dicom).hexdigest()[:31]
        duplicate = film_id in self.films
        film = self.films.setdefault(film_id, gateway_pb2.Film(film_id=film_id, state=gateway_pb2.FILM_STATE_RECEIVED))
        self.dicom[film_id] = request.dicom
        return gateway_pb2.SubmitInstanceResponse(film_id=film_id, state=film.state, duplicate=duplicate)

    async def GetResult(self, request: Any, context: Any) -> Any:
        return gateway_pb2.GetResultResponse(film=self._film(request.film_id))

    async def WatchResults(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for film_id in request.film_ids:
            yield gateway_pb2.WatchResultsResponse(film=self._film(film_id))
        self.watches += 1
        if self.watches <= self.breaks:
            raise Unavailable("restarting")
        for film_id in request.film_ids:
            film = self._film(film_id)
            film.state = gateway_pb2.FILM_STATE_DONE
            film.result.prediction = "pneumonia"
            film.result.objects.add(
                sop_instance_uid="1.2.3",
                kind=gateway_pb2.OBJECT_KIND_PARAMETRIC_MAP,
                sign="glum",
                deliveries=[{"destination": "pacs", "state": gateway_pb2.DELIVERY_STATE_SENT, "attempts": 2}],
            )
            yield gateway_pb2.WatchResultsResponse(film=film)

    async def GetObject(self, request: Any, context: Any) -> AsyncIterator[Any]:
        data = self.dicom[self._film(request.film_id).film_id]
        for start in range(0, len(data), MIB):
            yield gateway_pb2.GetObjectResponse(chunk=data[start : start + MIB])

    async def CreateExplainJob(self, request: Any, context: Any) -> Any:
        total = len([self._film(f) for f in request.film_ids])
        job = gateway_pb2.Job(id=f"j{len(self.jobs)}", state=gateway_pb2.JOB_STATE_RUNNING, total=total)
        self.jobs[job.id] = job
        return gateway_pb2.CreateExplainJobResponse(job=job)

    async def GetJob(self, request: Any, context: Any) -> Any:
        if request.id == "never answered":
            await asyncio.Event().wait()
        return gateway_pb2.GetJobResponse(job=self._job(request.id))

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        job = self._job(request.id)
        while job.done < job.total:
            yield gateway_pb2.WatchJobResponse(job=job)
            job.done += 1
        job.state = gateway_pb2.JOB_STATE_DONE
        yield gateway_pb2.WatchJobResponse(job=job)

    async def CancelJob(self, request: Any, context: Any) -> Any:
        job = self._job(request.id)
        job.state = gateway_pb2.JOB_STATE_CANCELLED
        return gateway_pb2.CancelJobResponse(job=job)

    async def CreateCohort(self, request: Any, context: Any) -> Any:
        cohort = gateway_pb2.Cohort(
            id=f"c{len(self.cohorts)}",
            display_name=request.display_name,
            film_ids=request.film_ids,
            labels=request.labels,
            count=len(request.film_ids),
        )
        self.cohorts[cohort.id] = cohort
        return gateway_pb2.CreateCohortResponse(cohort=cohort)

    async def GetCohort(self, request: Any, context: Any) -> Any:
        return gateway_pb2.GetCohortResponse(cohort=self._cohort(request.id))

    async def ListCohorts(self, request: Any, context: Any) -> Any:
        start = int(request.page_token or 0)
        page = list(self.cohorts.values())[start : start + request.page_size]
        rest = start + len(page) < len(self.cohorts)
        return gateway_pb2.ListCohortsResponse(cohorts=page, next_page_token=str(start + len(page)) if rest else "")

    async def DeleteCohort(self, request: Any, context: Any) -> Any:
        del self.cohorts[self._cohort(request.id).id]
        return gateway_pb2.DeleteCohortResponse()

    async def ClusterCohort(self, request: Any, context: Any) -> Any:
        cohort = self._cohort(request.cohort_id)
        members = [clusterer_pb2.Member(id=film_id, cluster=i % 2) for i, film_id in enumerate(cohort.film_ids)]
        response = gateway_pb2.ClusterCohortResponse(report_html=b"<html></html>")
        response.clustering.k = request.k or 2
        response.clustering.members.extend(members)
        if not request.k:
            response.sweep.recommended_k = 2
        return response

    def _film(self, film_id: str) -> Any:
        return self._known("film", self.films, film_id)

    def _job(self, job_id: str) -> Any:
        return self._known("job", self.jobs, job_id)

    def _cohort(self, cohort_id: str) -> Any:
        return self._known("cohort", self.cohorts, cohort_id)

    @staticmethod
    def _known(kind: str, found: dict[str, Any], name: str) -> Any:
        if name not in found:
            raise NotFound(kind, name)
        return found[name]


@pytest.fixture
async def study() -> AsyncIterator[tuple[Study, str]]:
    """A StudyService and its address."""
    servicer = Study()

    @asynccontextmanager
    async def opened(_settings: Any) -> AsyncIterator[Mounted]:
        def add_to(server: Any) -> None:
            gateway_pb2_grpc.add_StudyServiceServicer_to_server(servicer, server)

        yield Mounted(add_to=add_to, names=("vidi.api.gateway.v1.StudyService",))

    settings = ServiceSettings(max_receive_bytes=65 * MIB, grace_seconds=5.0)
    async with running(Service("study", ServiceSettings, opened), settings) as server:
        yield servicer, server.address
