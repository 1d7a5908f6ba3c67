"""REST: cohorts and background jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from google.protobuf.json_format import MessageToDict

from vidi_gateway.handlers.cohorts import CohortHandler
from vidi_gateway.handlers.jobs import JobHandler
from vidi_gateway.http.schemas import ClusterCohort, Cohort, CohortClustering, CohortPage, Job, NewCohort, NewJob


def router(cohorts: CohortHandler, jobs: JobHandler) -> APIRouter:
    """Return the routes."""
    api = APIRouter(prefix="/api/v1")

    @api.post("/cohorts", status_code=201, tags=["cohorts"])
    async def create_cohort(new: NewCohort) -> Cohort:
        """Make a cohort of stored films."""
        return Cohort.of(await cohorts.create(new.film_ids, new.display_name, new.labels))

    @api.get("/cohorts", tags=["cohorts"])
    async def list_cohorts(
        page_size: Annotated[int, Query(ge=1, le=1000)] = 100, page_token: Annotated[str, Query(max_length=256)] = ""
    ) -> CohortPage:
        """List cohorts, newest first."""
        listed, token = await cohorts.page(page_size, page_token)
        return CohortPage(cohorts=[Cohort.of(c) for c in listed], next_page_token=token)

    @api.get("/cohorts/{cohort_id}", tags=["cohorts"])
    async def get_cohort(cohort_id: str) -> Cohort:
        """Return a cohort."""
        return Cohort.of(await cohorts.get(cohort_id))

    @api.delete("/cohorts/{cohort_id}", status_code=204, tags=["cohorts"])
    async def delete_cohort(cohort_id: str) -> None:
        """Delete a cohort; its films stay."""
        await cohorts.delete(cohort_id)

    @api.post(
        "/cohorts/{cohort_id}/cluster",
        tags=["cohorts"],
        response_model=CohortClustering,
        responses={200: {"content": {"text/html": {}}}},
    )
    async def cluster(cohort_id: str, how: ClusterCohort, request: Request) -> Any:
        """Cluster the done films of a cohort. With `Accept: text/html` the report comes back, else JSON."""
        outcome = await cohorts.cluster(cohort_id, model=how.model, k=how.k, seed=how.seed)
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(outcome.report_html)
        sweep = MessageToDict(outcome.sweep, preserving_proto_field_name=True) if outcome.HasField("sweep") else None
        clustering = MessageToDict(outcome.clustering, preserving_proto_field_name=True)
        return CohortClustering(clustering=clustering, sweep=sweep)

    @api.post("/jobs", status_code=202, tags=["jobs"])
    async def create_job(new: NewJob) -> Job:
        """Explain stored films with a model, in the background, at lower priority than arriving films."""
        return Job.of(await jobs.create(new.film_ids, new.model))

    @api.get("/jobs/{job_id}", tags=["jobs"])
    async def get_job(job_id: str) -> Job:
        """Return a job."""
        return Job.of(await jobs.get(job_id))

    @api.delete("/jobs/{job_id}", tags=["jobs"])
    async def cancel_job(job_id: str) -> Job:
        """Leave out what has not started; what is done stays."""
        return Job.of(await jobs.cancel(job_id))

    return api
