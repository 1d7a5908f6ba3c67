"""StudyService over gRPC: a thin skin over the handlers (gateway.proto says what each call does)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

from vidi.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from vidi_gateway.handlers import protos
from vidi_gateway.handlers.cohorts import CohortHandler
from vidi_gateway.handlers.films import Films
from vidi_gateway.handlers.jobs import JobHandler

NAME = "vidi.api.gateway.v1.StudyService"
CHUNK = 1 << 20
PAGE_SIZE = 100


class StudyServicer(gateway_pb2_grpc.StudyServiceServicer):
    """Serves StudyService.

    Parameters
    ----------
    films, jobs, cohorts
        The handlers.
    """

    def __init__(self, films: Films, jobs: JobHandler, cohorts: CohortHandler) -> None:
        self._films = films
        self._jobs = jobs
        self._cohorts = cohorts

    async def SubmitInstance(
        self, request: gateway_pb2.SubmitInstanceRequest, context: Any
    ) -> gateway_pb2.SubmitInstanceResponse:
        """Take in one DICOM instance."""
        receipt = await self._films.submit(request.dicom, request.model.name, source="grpc")
        if receipt.film_id == "" and receipt.refusal is not None:  # dropped: not a film at all
            return gateway_pb2.SubmitInstanceResponse(
                state=gateway_pb2.FILM_STATE_REFUSED, reason_code=receipt.refusal.code, reason=receipt.refusal.message
            )
        return gateway_pb2.SubmitInstanceResponse(
            film_id=receipt.film_id, state=protos.FILM_STATES[receipt.state], duplicate=receipt.duplicate
        )

    async def GetResult(self, request: gateway_pb2.GetResultRequest, context: Any) -> gateway_pb2.GetResultResponse:
        """Return a film."""
        return gateway_pb2.GetResultResponse(
            film=protos.film(await self._films.get(request.film_id, request.model.name))
        )

    async def WatchResults(
        self, request: gateway_pb2.WatchResultsRequest, context: Any
    ) -> AsyncIterator[gateway_pb2.WatchResultsResponse]:
        """Stream films as they change."""
        async for record in self._films.watch(request.film_ids, request.model.name):
            yield gateway_pb2.WatchResultsResponse(film=protos.film(record))

    async def GetObject(
        self, request: gateway_pb2.GetObjectRequest, context: Any
    ) -> AsyncIterator[gateway_pb2.GetObjectResponse]:
        """Stream one result object."""
        kind = protos.KIND_NAMES[request.kind]
        reader = f"grpc:{caller(context)}"
        data = await self._films.object(request.film_id, request.sop_instance_uid, kind, reader=reader)
        for start in range(0, len(data), CHUNK):
            yield gateway_pb2.GetObjectResponse(chunk=data[start : start + CHUNK])

    async def CreateExplainJob(
        self, request: gateway_pb2.CreateExplainJobRequest, context: Any
    ) -> gateway_pb2.CreateExplainJobResponse:
        """Start a background job."""
        job = await self._jobs.create(request.film_ids, request.model.name, request.model.digest)
        return gateway_pb2.CreateExplainJobResponse(job=protos.job(job))

    async def GetJob(self, request: gateway_pb2.GetJobRequest, context: Any) -> gateway_pb2.GetJobResponse:
        """Return a job."""
        return gateway_pb2.GetJobResponse(job=protos.job(await self._jobs.get(request.id)))

    async def WatchJob(
        self, request: gateway_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[gateway_pb2.WatchJobResponse]:
        """Stream a job as it changes."""
        async for job in self._jobs.watch(request.id):
            yield gateway_pb2.WatchJobResponse(job=protos.job(job))

    async def CancelJob(self, request: gateway_pb2.CancelJobRequest, context: Any) -> gateway_pb2.CancelJobResponse:
        """Cancel a job."""
        return gateway_pb2.CancelJobResponse(job=protos.job(await self._jobs.cancel(request.id)))

    async def CreateCohort(
        self, request: gateway_pb2.CreateCohortRequest, context: Any
    ) -> gateway_pb2.CreateCohortResponse:
        """Make a cohort."""
        cohort = await self._cohorts.create(request.film_ids, request.display_name, dict(request.labels))
        return gateway_pb2.CreateCohortResponse(cohort=protos.cohort(cohort))

    async def GetCohort(self, request: gateway_pb2.GetCohortRequest, context: Any) -> gateway_pb2.GetCohortResponse:
        """Return a cohort."""
        return gateway_pb2.GetCohortResponse(cohort=protos.cohort(await self._cohorts.get(request.id)))

    async def ListCohorts(
        self, request: gateway_pb2.ListCohortsRequest, context: Any
    ) -> gateway_pb2.ListCohortsResponse:
        """List cohorts."""
        listed, token = await self._cohorts.page(request.page_size or PAGE_SIZE, request.page_token)
        return gateway_pb2.ListCohortsResponse(cohorts=[protos.cohort(c) for c in listed], next_page_token=token)

    async def DeleteCohort(
        self, request: gateway_pb2.DeleteCohortRequest, context: Any
    ) -> gateway_pb2.DeleteCohortResponse:
        """Delete a cohort."""
        await self._cohorts.delete(request.id)
        return gateway_pb2.DeleteCohortResponse()

    async def ClusterCohort(
        self, request: gateway_pb2.ClusterCohortRequest, context: Any
    ) -> gateway_pb2.ClusterCohortResponse:
        """Cluster a cohort."""
        return await self._cohorts.cluster(request.cohort_id, model=request.model.name, k=request.k, seed=request.seed)


def caller(context: Any) -> str:
    """Return the address that a call came from, without its port."""
    address = str(context.peer()).partition(":")[2]
    return unquote(address.rpartition(":")[0]).strip("[]") or address


def add_study_service(server: Any, servicer: StudyServicer) -> None:
    """Register on a gRPC server."""
    gateway_pb2_grpc.add_StudyServiceServicer_to_server(servicer, server)
