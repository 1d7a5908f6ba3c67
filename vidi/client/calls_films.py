"""Calls of the gateway: films, jobs, cohorts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path

from vidi.api.gateway.v1 import gateway_pb2
from vidi.client.connection import Connection
from vidi.client.films import KINDS, Cohort, CohortClustering, Film, Job, ObjectKind, Receipt
from vidi.client.images import read_file
from vidi.client.models import ModelRef, model_ref
from vidi.errors import InvalidInput, Unavailable
from vidi.settings import MIB

PAGE = 100
MAX_DICOM = 64 * MIB

#: Pauses in seconds before a gateway that went away in the middle of a watch is asked again.
COMEBACK = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)


class FilmCalls(Connection):
    """Hand films in, get results, run jobs, keep cohorts."""

    async def submit(
        self,
        dicom: bytes | str | os.PathLike[str],
        *,
        model: str | ModelRef = "",
        timeout: float | None = None,
    ) -> Receipt:
        """Hand in one DICOM Part 10 file, by bytes or path; returns after it is stored durably.

        Raises
        ------
        InvalidInput
            Not a DICOM Part 10 file, or above 64 MiB; the path cannot be read.
        AlreadyExists
            Other pixels came under the same SOP Instance UID before.
        NotFound
            No file at the path, or no such model.
        Exhausted, Unavailable
            As gateway.proto says.
        """
        data = dicom if isinstance(dicom, bytes) else await asyncio.to_thread(read_file, Path(dicom))
        if len(data) > MAX_DICOM:
            raise InvalidInput(f"{len(data) / MIB:.0f} MiB; at most {MAX_DICOM // MIB} MiB are taken", field="dicom")
        request = gateway_pb2.SubmitInstanceRequest(dicom=data, model=model_ref(model))
        call = self._stub("gateway").SubmitInstance(request, timeout=self._deadline(timeout))
        return Receipt.from_proto(await self._answer("gateway", call))

    async def result(self, film_id: str, *, model: str | ModelRef = "", timeout: float | None = None) -> Film:
        """Return a film and, when it is done, its result; `model`: of that line, "": of the line it arrived on.

        Raises
        ------
        NotFound
            No such film.
        """
        request = gateway_pb2.GetResultRequest(film_id=film_id, model=model_ref(model))
        call = self._stub("gateway").GetResult(request, timeout=self._deadline(timeout))
        return Film.from_proto((await self._answer("gateway", call)).film)

    async def watch(
        self, film_ids: Iterable[str] = (), *, model: str | ModelRef = "", timeout: float | None = None
    ) -> AsyncGenerator[Film, None]:
        """Yield the named films now and at every change, until all are final; without names every change, for ever.

        A gateway that goes away while named films are watched is asked again for some seconds: it may be restarting.
        `timeout` is for one stream; None: none.

        Raises
        ------
        NotFound
            No such film.
        Unavailable
            The gateway cannot be reached, or did not come back.
        """
        request = gateway_pb2.WatchResultsRequest(film_ids=film_ids, model=model_ref(model))
        seen: dict[str, Film] = {}
        pauses: Iterator[float] = iter(())
        while True:
            call = self._stub("gateway").WatchResults(request, timeout=timeout)
            try:
                async with aclosing(self._answers("gateway", call)) as responses:
                    async for response in responses:
                        film = Film.from_proto(response.film)
                        if seen.get(film.film_id) != film:  # else told already, before the stream broke
                            seen[film.film_id] = film
                            pauses = iter(COMEBACK)
                            yield film
                return
            except Unavailable:
                pause = next(pauses, None)
                if pause is None or not request.film_ids:
                    raise
                await asyncio.sleep(pause)

    async def download(
        self, film_id: str, sop_instance_uid: str, kind: ObjectKind, *, timeout: float | None = None
    ) -> bytes:
        """Return one result object: a DICOM instance, or the overlay as PNG.

        Raises
        ------
        NotFound
            No such film or object.
        """
        request = gateway_pb2.GetObjectRequest(film_id=film_id, sop_instance_uid=sop_instance_uid, kind=KINDS[kind])
        call = self._stub("gateway").GetObject(request, timeout=self._deadline(timeout))
        return b"".join([response.chunk async for response in self._answers("gateway", call)])

    async def create_job(
        self, film_ids: Iterable[str], *, model: str | ModelRef = "", timeout: float | None = None
    ) -> Job:
        """Explain stored films with a model, in the background.

        Raises
        ------
        NotFound
            A film or the model is not there.
        """
        request = gateway_pb2.CreateExplainJobRequest(film_ids=film_ids, model=model_ref(model))
        call = self._stub("gateway").CreateExplainJob(request, timeout=self._deadline(timeout))
        return Job.from_proto((await self._answer("gateway", call)).job)

    async def job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Return a job.

        Raises
        ------
        NotFound
            No such job.
        """
        request = gateway_pb2.GetJobRequest(id=job_id)
        call = self._stub("gateway").GetJob(request, timeout=self._deadline(timeout))
        return Job.from_proto((await self._answer("gateway", call)).job)

    async def watch_job(self, job_id: str, *, timeout: float | None = None) -> AsyncGenerator[Job, None]:
        """Yield a job now and at every change, until it is final.

        Raises
        ------
        NotFound
            No such job.
        """
        call = self._stub("gateway").WatchJob(gateway_pb2.WatchJobRequest(id=job_id), timeout=timeout)
        async with aclosing(self._answers("gateway", call)) as responses:
            async for response in responses:
                yield Job.from_proto(response.job)

    async def cancel_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Cancel a job: films that have not started are left out.

        Raises
        ------
        NotFound
            No such job.
        """
        request = gateway_pb2.CancelJobRequest(id=job_id)
        call = self._stub("gateway").CancelJob(request, timeout=self._deadline(timeout))
        return Job.from_proto((await self._answer("gateway", call)).job)

    async def create_cohort(
        self,
        film_ids: Iterable[str],
        *,
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Cohort:
        """Make a named list of films. `labels`: a reference label for every film, by film id, or None.

        Raises
        ------
        NotFound
            A film is not there.
        InvalidInput
            No films, or labels for some of them only.
        """
        request = gateway_pb2.CreateCohortRequest(display_name=display_name, film_ids=film_ids, labels=labels or {})
        call = self._stub("gateway").CreateCohort(request, timeout=self._deadline(timeout))
        return Cohort.from_proto((await self._answer("gateway", call)).cohort)

    async def cohort(self, cohort_id: str, *, timeout: float | None = None) -> Cohort:
        """Return a cohort.

        Raises
        ------
        NotFound
            No such cohort.
        """
        request = gateway_pb2.GetCohortRequest(id=cohort_id)
        call = self._stub("gateway").GetCohort(request, timeout=self._deadline(timeout))
        return Cohort.from_proto((await self._answer("gateway", call)).cohort)

    async def cohorts(self, *, limit: int = 1000, timeout: float | None = None) -> tuple[Cohort, ...]:
        """Return cohorts, newest first, at most `limit`; without film ids."""
        found: list[Cohort] = []
        token = ""
        while len(found) < limit:
            request = gateway_pb2.ListCohortsRequest(page_size=min(PAGE, limit - len(found)), page_token=token)
            call = self._stub("gateway").ListCohorts(request, timeout=self._deadline(timeout))
            page = await self._answer("gateway", call)
            found += [Cohort.from_proto(c) for c in page.cohorts]
            token = page.next_page_token
            if not token:
                break
        return tuple(found)

    async def delete_cohort(self, cohort_id: str, *, timeout: float | None = None) -> None:
        """Delete a cohort; its films stay.

        Raises
        ------
        NotFound
            No such cohort.
        """
        request = gateway_pb2.DeleteCohortRequest(id=cohort_id)
        await self._answer("gateway", self._stub("gateway").DeleteCohort(request, timeout=self._deadline(timeout)))

    async def cluster_cohort(
        self,
        cohort_id: str,
        *,
        k: int = 0,
        seed: int = 0,
        model: str | ModelRef = "",
        timeout: float | None = None,
    ) -> CohortClustering:
        """Cluster a cohort's done films by their explanations; `k` 0: chosen by a sweep.

        Raises
        ------
        NotFound
            No such cohort.
        PreconditionFailed
            Fewer than two done films, or results of different model digests.
        """
        request = gateway_pb2.ClusterCohortRequest(cohort_id=cohort_id, k=k, seed=seed, model=model_ref(model))
        call = self._stub("gateway").ClusterCohort(request, timeout=self._deadline(timeout))
        return CohortClustering.from_proto(await self._answer("gateway", call))
