"""The public Python client: `AsyncClient`, `Client`, and the values they return.

Errors are those of `vidi.errors`. Arrays are read-only views of what the server sent.
"""

from __future__ import annotations

from vidi.client.aio import AsyncClient
from vidi.client.clusters import Agreement, Assignment, Cluster, Clustering, Member, Sweep, SweepPoint
from vidi.client.films import (
    ClassResult,
    Cohort,
    CohortClustering,
    Delivery,
    Film,
    FilmResult,
    FilmWarning,
    Job,
    Receipt,
    ResultObject,
)
from vidi.client.images import ImageLike
from vidi.client.models import Code, IntendedUse, Model, ModelClass, ModelMetric, ModelRef
from vidi.client.quality import (
    Area,
    Areas,
    Assessment,
    Curve,
    DeletionInsertion,
    NoiseFloor,
    OutputQuality,
    Repeatability,
    TruthAgreement,
    TruthChance,
    TruthScore,
)
from vidi.client.results import (
    Answer,
    Attribution,
    Classification,
    ClassScore,
    Explanation,
    Method,
    Provenance,
    Target,
)
from vidi.client.sync import Client

__all__ = [
    "Agreement",
    "Answer",
    "Area",
    "Areas",
    "Assessment",
    "Assignment",
    "AsyncClient",
    "Attribution",
    "ClassResult",
    "ClassScore",
    "Classification",
    "Client",
    "Cluster",
    "Clustering",
    "Code",
    "Cohort",
    "CohortClustering",
    "Curve",
    "DeletionInsertion",
    "Delivery",
    "Explanation",
    "Film",
    "FilmResult",
    "FilmWarning",
    "ImageLike",
    "IntendedUse",
    "Job",
    "Member",
    "Method",
    "Model",
    "ModelClass",
    "ModelMetric",
    "ModelRef",
    "NoiseFloor",
    "OutputQuality",
    "Provenance",
    "Receipt",
    "Repeatability",
    "ResultObject",
    "Sweep",
    "SweepPoint",
    "Target",
    "TruthAgreement",
    "TruthChance",
    "TruthScore",
]
