"""Cohorts: lists of films, clustered by their explanations through the clusterer, and reported."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.api.common.v1 import common_pb2
from vidi.api.gateway.v1 import gateway_pb2
from vidi.errors import PreconditionFailed
from vidi.report import FilmCard, cohort_report
from vidi_gateway.clients import Services
from vidi_gateway.outcome import FilmOutcome
from vidi_gateway.store.cohorts import Cohort, Cohorts
from vidi_gateway.store.files import Store
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.records import FilmRecord, FilmState
from vidi_gateway.threads import Threads

FEATURE_SPACE = "pooled14-signed"
BATCH = 256
#: Films shown with picture and maps in the report; the others stand in its table.
CARDS = 200


@dataclass(frozen=True)
class _Member:
    """A film of a cohort that is done, with its outcome."""

    record: FilmRecord
    outcome: FilmOutcome


class CohortHandler:
    """Makes, lists and clusters cohorts.

    Parameters
    ----------
    cohorts, journal, store
        Where cohorts, films and outcomes are.
    services
        The clusterer and the classifier (for the model's description).
    threads
        For blocking work.
    """

    def __init__(
        self, cohorts: Cohorts, journal: Journal, store: Store, services: Services, threads: Threads, default_model: str
    ) -> None:
        self._cohorts = cohorts
        self._journal = journal
        self._store = store
        self._services = services
        self._threads = threads
        self._default_model = default_model

    async def create(self, film_ids: Sequence[str], display_name: str, labels: dict[str, str]) -> Cohort:
        """See `Cohorts.create`."""
        return await self._threads.run(self._cohorts.create, film_ids, display_name, labels)

    async def get(self, cohort_id: str) -> Cohort:
        """See `Cohorts.get`."""
        return await self._threads.run(self._cohorts.get, cohort_id)

    async def page(self, size: int, token: str) -> tuple[list[Cohort], str]:
        """See `Cohorts.page`."""
        return await self._threads.run(self._cohorts.page, size, token)

    async def delete(self, cohort_id: str) -> None:
        """See `Cohorts.delete`."""
        await self._threads.run(self._cohorts.delete, cohort_id)

    async def cluster(
        self, cohort_id: str, *, model: str = "", k: int = 0, seed: int = 0
    ) -> gateway_pb2.ClusterCohortResponse:
        """Cluster the done films of a cohort by their attribution vectors (paper, section 3.3).

        Parameters
        ----------
        cohort_id
            The cohort.
        model
            Model line; empty: the line on which most of the cohort's films arrived.
        k
            Number of clusters; 0: chosen by a sweep.
        seed
            Seed of all randomness.

        Raises
        ------
        NotFound
            No such cohort.
        PreconditionFailed
            Fewer than two done films, or results of different model digests.
        """
        cohort = await self.get(cohort_id)
        members = await self._threads.run(self._members, cohort, model)
        config = _config(members, cohort, seed)
        batches = list(_batches(members, cohort))
        response = gateway_pb2.ClusterCohortResponse()
        if not k:
            sweep = await self._services.sweep_k(clusterer_pb2.SweepKConfig(kmeans=config), batches)
            response.sweep.CopyFrom(sweep)
            k = sweep.recommended_k
        name = cohort.display_name[:128]
        fit = clusterer_pb2.FitConfig(kmeans=config, k=k, display_name=name)
        fitted = await self._services.fit(fit, batches)
        response.clustering.CopyFrom(fitted.clustering)
        await self._threads.run(self._cohorts.add_clustering, cohort_id, fitted.clustering.id)
        described = await self._services.model(config.provenance.model.name, config.provenance.model.digest)
        response.report_html = await self._threads.run(_report, response, members, cohort, described)
        return response

    def _members(self, cohort: Cohort, model: str) -> list[_Member]:
        records = self._journal.records(cohort.film_ids, model)
        if not model:
            arrived = [r.film.model for r in records.values()]
            model = max(sorted(set(arrived)), key=arrived.count) if arrived else self._default_model
            records = self._journal.records(cohort.film_ids, model)
        done = [
            r
            for film_id in cohort.film_ids
            if (r := records.get(film_id))
            and r.analysis
            and r.analysis.state is FilmState.DONE
            and r.analysis.outcome_key
        ]
        if len(done) < 2:
            raise PreconditionFailed(
                f"{len(done)} of the cohort's {cohort.count} films are done on model {model!r}; clustering needs two",
                reason="TOO_FEW_FILMS",
            )
        members = [
            _Member(r, FilmOutcome.from_bytes(self._store.get(r.analysis.outcome_key))) for r in done if r.analysis
        ]
        kinds = {(m.outcome.model.digest, m.outcome.background_digest, _method(m.outcome)) for m in members}
        if len(kinds) > 1:
            raise PreconditionFailed(
                "the cohort's results come from different model digests, references or engines: never mixed",
                reason="MIXED_MODELS",
            )
        return members


def _method(outcome: FilmOutcome) -> str:
    return f"{outcome.engine}/{outcome.precision}"


def _config(members: list[_Member], cohort: Cohort, seed: int) -> clusterer_pb2.KMeansConfig:
    outcome = members[0].outcome
    info = outcome.model
    provenance = clusterer_pb2.Provenance(
        model=common_pb2.ModelRef(name=info.name, version=info.version, digest=info.digest),
        background_digest=outcome.background_digest,
        feature_space=FEATURE_SPACE,
        method=_method(outcome),
        classes=[c.name for c in outcome.classes],
    )
    source = clusterer_pb2.LABEL_SOURCE_REFERENCE if cohort.labels else clusterer_pb2.LABEL_SOURCE_PREDICTED
    return clusterer_pb2.KMeansConfig(provenance=provenance, seed=seed, label_source=source)


def _label(member: _Member, cohort: Cohort) -> str:
    return cohort.labels.get(member.record.film_id) or member.outcome.favoured.name


def _batches(members: list[_Member], cohort: Cohort) -> Any:
    for start in range(0, len(members), BATCH):
        part = members[start : start + BATCH]
        yield clusterer_pb2.VectorBatch(
            ids=[m.record.film_id for m in part],
            vectors=tensors.encode(np.stack([m.outcome.attribution_vector for m in part])),
            labels=[_label(m, cohort) for m in part],
        )


def _report(
    response: gateway_pb2.ClusterCohortResponse, members: list[_Member], cohort: Cohort, model: common_pb2.Model
) -> bytes:
    cards = [_card(m, cohort) for m in members[:CARDS]]
    return cohort_report(
        title=cohort.display_name or "Cohort",
        clustering=response.clustering,
        sweep=response.sweep if response.HasField("sweep") else None,
        films=cards,
        model=model,
        generated=dt.datetime.now(dt.UTC),
    )


def _card(member: _Member, cohort: Cohort) -> FilmCard:
    outcome, film = member.outcome, member.record.film
    return FilmCard(
        id=film.film_id,
        thumbnail=outcome.seen,
        maps={c.name: c.map for c in outcome.classes},
        prediction=outcome.favoured.name,
        probabilities={c.name: c.probability for c in outcome.classes},
        calibrated=outcome.model.calibrated,
        label=cohort.labels.get(film.film_id),
        residuals={c.name: c.additivity_residual for c in outcome.classes},
        warnings=[(n.code, n.message) for n in outcome.notes],
        status=str(film.state),
        reason=film.reason,
    )
