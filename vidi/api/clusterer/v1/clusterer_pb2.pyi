import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from vidi.api.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LabelSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_SOURCE_UNSPECIFIED: _ClassVar[LabelSource]
    LABEL_SOURCE_REFERENCE: _ClassVar[LabelSource]
    LABEL_SOURCE_PREDICTED: _ClassVar[LabelSource]
LABEL_SOURCE_UNSPECIFIED: LabelSource
LABEL_SOURCE_REFERENCE: LabelSource
LABEL_SOURCE_PREDICTED: LabelSource

class Provenance(_message.Message):
    __slots__ = ("model", "background_digest", "feature_space", "method", "classes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SPACE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    background_digest: str
    feature_space: str
    method: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., background_digest: _Optional[str] = ..., feature_space: _Optional[str] = ..., method: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ...) -> None: ...

class VectorBatch(_message.Message):
    __slots__ = ("ids", "vectors", "labels")
    IDS_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    vectors: _common_pb2.Tensor
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., vectors: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class KMeansConfig(_message.Message):
    __slots__ = ("provenance", "restarts", "max_iterations", "seed", "label_source")
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MAX_ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    LABEL_SOURCE_FIELD_NUMBER: _ClassVar[int]
    provenance: Provenance
    restarts: int
    max_iterations: int
    seed: int
    label_source: LabelSource
    def __init__(self, provenance: _Optional[_Union[Provenance, _Mapping]] = ..., restarts: _Optional[int] = ..., max_iterations: _Optional[int] = ..., seed: _Optional[int] = ..., label_source: _Optional[_Union[LabelSource, str]] = ...) -> None: ...

class SweepKConfig(_message.Message):
    __slots__ = ("kmeans", "ks")
    KMEANS_FIELD_NUMBER: _ClassVar[int]
    KS_FIELD_NUMBER: _ClassVar[int]
    kmeans: KMeansConfig
    ks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, kmeans: _Optional[_Union[KMeansConfig, _Mapping]] = ..., ks: _Optional[_Iterable[int]] = ...) -> None: ...

class SweepKRequest(_message.Message):
    __slots__ = ("config", "batch")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    config: SweepKConfig
    batch: VectorBatch
    def __init__(self, config: _Optional[_Union[SweepKConfig, _Mapping]] = ..., batch: _Optional[_Union[VectorBatch, _Mapping]] = ...) -> None: ...

class Agreement(_message.Message):
    __slots__ = ("homogeneity", "completeness", "v_measure", "adjusted_mutual_information")
    HOMOGENEITY_FIELD_NUMBER: _ClassVar[int]
    COMPLETENESS_FIELD_NUMBER: _ClassVar[int]
    V_MEASURE_FIELD_NUMBER: _ClassVar[int]
    ADJUSTED_MUTUAL_INFORMATION_FIELD_NUMBER: _ClassVar[int]
    homogeneity: float
    completeness: float
    v_measure: float
    adjusted_mutual_information: float
    def __init__(self, homogeneity: _Optional[float] = ..., completeness: _Optional[float] = ..., v_measure: _Optional[float] = ..., adjusted_mutual_information: _Optional[float] = ...) -> None: ...

class SweepPoint(_message.Message):
    __slots__ = ("k", "inertia", "agreement", "random_baseline", "sizes", "compute_seconds")
    K_FIELD_NUMBER: _ClassVar[int]
    INERTIA_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    RANDOM_BASELINE_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    k: int
    inertia: float
    agreement: Agreement
    random_baseline: Agreement
    sizes: _containers.RepeatedScalarFieldContainer[int]
    compute_seconds: float
    def __init__(self, k: _Optional[int] = ..., inertia: _Optional[float] = ..., agreement: _Optional[_Union[Agreement, _Mapping]] = ..., random_baseline: _Optional[_Union[Agreement, _Mapping]] = ..., sizes: _Optional[_Iterable[int]] = ..., compute_seconds: _Optional[float] = ...) -> None: ...

class SweepKResponse(_message.Message):
    __slots__ = ("points", "recommended_k", "reason", "backend", "count", "circular")
    POINTS_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_K_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CIRCULAR_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[SweepPoint]
    recommended_k: int
    reason: str
    backend: str
    count: int
    circular: bool
    def __init__(self, points: _Optional[_Iterable[_Union[SweepPoint, _Mapping]]] = ..., recommended_k: _Optional[int] = ..., reason: _Optional[str] = ..., backend: _Optional[str] = ..., count: _Optional[int] = ..., circular: _Optional[bool] = ...) -> None: ...

class FitConfig(_message.Message):
    __slots__ = ("kmeans", "k", "display_name")
    KMEANS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    kmeans: KMeansConfig
    k: int
    display_name: str
    def __init__(self, kmeans: _Optional[_Union[KMeansConfig, _Mapping]] = ..., k: _Optional[int] = ..., display_name: _Optional[str] = ...) -> None: ...

class FitRequest(_message.Message):
    __slots__ = ("config", "batch")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    config: FitConfig
    batch: VectorBatch
    def __init__(self, config: _Optional[_Union[FitConfig, _Mapping]] = ..., batch: _Optional[_Union[VectorBatch, _Mapping]] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("id", "cluster", "distance", "label")
    ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    cluster: int
    distance: float
    label: str
    def __init__(self, id: _Optional[str] = ..., cluster: _Optional[int] = ..., distance: _Optional[float] = ..., label: _Optional[str] = ...) -> None: ...

class LabelCount(_message.Message):
    __slots__ = ("label", "count")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    label: str
    count: int
    def __init__(self, label: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Cluster(_message.Message):
    __slots__ = ("index", "size", "medoid_ids", "extreme_ids", "labels", "purity", "mean_distance", "max_distance", "favorable_sums", "glum_sums")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MEDOID_IDS_FIELD_NUMBER: _ClassVar[int]
    EXTREME_IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PURITY_FIELD_NUMBER: _ClassVar[int]
    MEAN_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    MAX_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    FAVORABLE_SUMS_FIELD_NUMBER: _ClassVar[int]
    GLUM_SUMS_FIELD_NUMBER: _ClassVar[int]
    index: int
    size: int
    medoid_ids: _containers.RepeatedScalarFieldContainer[str]
    extreme_ids: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedCompositeFieldContainer[LabelCount]
    purity: float
    mean_distance: float
    max_distance: float
    favorable_sums: _containers.RepeatedScalarFieldContainer[float]
    glum_sums: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, index: _Optional[int] = ..., size: _Optional[int] = ..., medoid_ids: _Optional[_Iterable[str]] = ..., extreme_ids: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[_Union[LabelCount, _Mapping]]] = ..., purity: _Optional[float] = ..., mean_distance: _Optional[float] = ..., max_distance: _Optional[float] = ..., favorable_sums: _Optional[_Iterable[float]] = ..., glum_sums: _Optional[_Iterable[float]] = ...) -> None: ...

class Clustering(_message.Message):
    __slots__ = ("id", "display_name", "create_time", "kmeans", "k", "dimension", "count", "inertia", "agreement", "random_baseline", "clusters", "centroids", "members", "backend")
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    KMEANS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    INERTIA_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    RANDOM_BASELINE_FIELD_NUMBER: _ClassVar[int]
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    CENTROIDS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    create_time: _timestamp_pb2.Timestamp
    kmeans: KMeansConfig
    k: int
    dimension: int
    count: int
    inertia: float
    agreement: Agreement
    random_baseline: Agreement
    clusters: _containers.RepeatedCompositeFieldContainer[Cluster]
    centroids: _common_pb2.Tensor
    members: _containers.RepeatedCompositeFieldContainer[Member]
    backend: str
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kmeans: _Optional[_Union[KMeansConfig, _Mapping]] = ..., k: _Optional[int] = ..., dimension: _Optional[int] = ..., count: _Optional[int] = ..., inertia: _Optional[float] = ..., agreement: _Optional[_Union[Agreement, _Mapping]] = ..., random_baseline: _Optional[_Union[Agreement, _Mapping]] = ..., clusters: _Optional[_Iterable[_Union[Cluster, _Mapping]]] = ..., centroids: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., backend: _Optional[str] = ...) -> None: ...

class FitResponse(_message.Message):
    __slots__ = ("clustering",)
    CLUSTERING_FIELD_NUMBER: _ClassVar[int]
    clustering: Clustering
    def __init__(self, clustering: _Optional[_Union[Clustering, _Mapping]] = ...) -> None: ...

class AssignRequest(_message.Message):
    __slots__ = ("request_id", "clustering_id", "provenance", "batch")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTERING_ID_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    clustering_id: str
    provenance: Provenance
    batch: VectorBatch
    def __init__(self, request_id: _Optional[str] = ..., clustering_id: _Optional[str] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., batch: _Optional[_Union[VectorBatch, _Mapping]] = ...) -> None: ...

class Assignments(_message.Message):
    __slots__ = ("assignments",)
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    assignments: _containers.RepeatedCompositeFieldContainer[Assignment]
    def __init__(self, assignments: _Optional[_Iterable[_Union[Assignment, _Mapping]]] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("id", "cluster", "distance", "outlier")
    ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    OUTLIER_FIELD_NUMBER: _ClassVar[int]
    id: str
    cluster: int
    distance: float
    outlier: bool
    def __init__(self, id: _Optional[str] = ..., cluster: _Optional[int] = ..., distance: _Optional[float] = ..., outlier: _Optional[bool] = ...) -> None: ...

class AssignResponse(_message.Message):
    __slots__ = ("request_id", "assignments", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    assignments: Assignments
    error: _status_pb2.Status
    def __init__(self, request_id: _Optional[str] = ..., assignments: _Optional[_Union[Assignments, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class GetClusteringRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetClusteringResponse(_message.Message):
    __slots__ = ("clustering",)
    CLUSTERING_FIELD_NUMBER: _ClassVar[int]
    clustering: Clustering
    def __init__(self, clustering: _Optional[_Union[Clustering, _Mapping]] = ...) -> None: ...

class ListClusteringsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListClusteringsResponse(_message.Message):
    __slots__ = ("clusterings", "next_page_token")
    CLUSTERINGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    clusterings: _containers.RepeatedCompositeFieldContainer[Clustering]
    next_page_token: str
    def __init__(self, clusterings: _Optional[_Iterable[_Union[Clustering, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteClusteringRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteClusteringResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
