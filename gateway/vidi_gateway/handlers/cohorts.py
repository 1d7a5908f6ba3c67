"""Cohorts: lists of films, clustered by their explanations through the clusterer, and reported."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
#: Films with picture and maps in the report: typical and extreme ones first. The others stand in its table.
PICTURES = 200


@dataclass(frozen=True, eq=False)
class _Member:
    """A film of a cohort that is done. Its maps stay in the store: a cohort's would not fit into memory."""

    record: FilmRecord
    vector: npt.NDArray[np.float32]
    favoured: str


@dataclass(frozen=True, eq=False)
class _Members:
    """The films of a cohort: done ones to be clustered, the others to be named."""

    done: list[_Member]
    others: list[FilmRecord]
    provenance: clusterer_pb2.Provenance


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
        source = clusterer_pb2.LABEL_SOURCE_REFERENCE if cohort.labels else clusterer_pb2.LABEL_SOURCE_PREDICTED
        config = clusterer_pb2.KMeansConfig(provenance=members.provenance, seed=seed, label_source=source)
        batches = list(_batches(members.done, cohort))
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
        ref = members.provenance.model
        described = await self._services.model(ref.name, ref.digest)
        response.report_html = await self._threads.run(self._report, response, members, cohort, described)
        return response

    def _members(self, cohort: Cohort, model: str) -> _Members:
        records = self._journal.records(cohort.film_ids, model)
        if not model:
            arrived = [r.film.model for r in records.values()]
            model = max(sorted(set(arrived)), key=arrived.count) if arrived else self._default_model
            records = self._journal.records(cohort.film_ids, model)
        done: list[_Member] = []
        others: list[FilmRecord] = []
        provenances: dict[bytes, clusterer_pb2.Provenance] = {}
        for film_id in cohort.film_ids:
            record = records[film_id]
            outcome = self._outcome(record)
            if outcome is None:
                others.append(record)
                continue
            done.append(_Member(record, outcome.attribution_vector, outcome.favoured.name))
            provenance = _provenance(outcome)
            provenances[provenance.SerializeToString(deterministic=True)] = provenance
        if len(done) < 2:
            raise PreconditionFailed(
                f"{len(done)} of the cohort's {cohort.count} films are done on model {model!r}; clustering needs two",
                reason="TOO_FEW_FILMS",
            )
        if len(provenances) > 1:
            raise PreconditionFailed(
                "the cohort's results come from different model digests, references or engines: never mixed",
                reason="MIXED_MODELS",
            )
        return _Members(done, others, next(iter(provenances.values())))

    def _outcome(self, record: FilmRecord) -> FilmOutcome | None:
        analysis = record.analysis
        if analysis is None or analysis.state is not FilmState.DONE or not analysis.outcome_key:
            return None
        return FilmOutcome.from_bytes(self._store.get(analysis.outcome_key))

    def _report(
        self,
        response: gateway_pb2.ClusterCohortResponse,
        members: _Members,
        cohort: Cohort,
        model: common_pb2.Model,
    ) -> bytes:
        clusters = response.clustering.clusters
        telling = [i for c in clusters for i in (*c.medoid_ids, *c.extreme_ids)]
        ordered = dict.fromkeys([*telling, *(m.record.film_id for m in members.done)])
        pictured = set(list(ordered)[:PICTURES])
        cards = [
            _card(m.record, cohort, self._outcome(m.record) if m.record.film_id in pictured else None)
            for m in members.done
        ]
        return cohort_report(
            title=cohort.display_name or "Cohort",
            clustering=response.clustering,
            sweep=response.sweep if response.HasField("sweep") else None,
            films=cards + [_card(record, cohort, None) for record in members.others],
            model=model,
            generated=dt.datetime.now(dt.UTC),
        )


def _provenance(outcome: FilmOutcome) -> clusterer_pb2.Provenance:
    info = outcome.model
    return clusterer_pb2.Provenance(
        model=common_pb2.ModelRef(name=info.name, version=info.version, digest=info.digest),
        background_digest=outcome.background_digest,
        feature_space=FEATURE_SPACE,
        method=f"{outcome.engine}/{outcome.precision}",
        classes=[c.name for c in outcome.classes],
    )


def _label(member: _Member, cohort: Cohort) -> str:
    return cohort.labels.get(member.record.film_id) or member.favoured


def _batches(members: list[_Member], cohort: Cohort) -> Iterator[clusterer_pb2.VectorBatch]:
    for start in range(0, len(members), BATCH):
        part = members[start : start + BATCH]
        yield clusterer_pb2.VectorBatch(
            ids=[m.record.film_id for m in part],
            vectors=tensors.encode(np.stack([m.vector for m in part])),
            labels=[_label(m, cohort) for m in part],
        )


def _card(record: FilmRecord, cohort: Cohort, outcome: FilmOutcome | None) -> FilmCard:
    """A film's card: with picture and maps when its outcome is given, and what the journal says of it."""
    film, analysis = record.film, record.analysis
    summary = analysis.summary if analysis else None
    if analysis is None or summary is None or analysis.state is not FilmState.DONE:
        state = analysis or film
        reason = f"{state.reason_code}: {state.reason}" if state.reason_code else ""
        return FilmCard(id=film.film_id, status=str(state.state), reason=reason, label=cohort.labels.get(film.film_id))
    return FilmCard(
        id=film.film_id,
        thumbnail=outcome.seen if outcome else None,
        maps={c.name: c.map for c in outcome.classes} if outcome else {},
        prediction=summary.prediction,
        probabilities={c.name: c.probability for c in summary.classes},
        calibrated=summary.calibrated,
        label=cohort.labels.get(film.film_id),
        residuals={c.name: c.additivity_residual for c in summary.classes},
        warnings=[(n.code, n.message) for n in summary.notes],
    )
