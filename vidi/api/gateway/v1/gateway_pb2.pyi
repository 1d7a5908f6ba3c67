import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from vidi.api.clusterer.v1 import clusterer_pb2 as _clusterer_pb2
from vidi.api.common.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FilmState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILM_STATE_UNSPECIFIED: _ClassVar[FilmState]
    FILM_STATE_RECEIVED: _ClassVar[FilmState]
    FILM_STATE_PROCESSING: _ClassVar[FilmState]
    FILM_STATE_DONE: _ClassVar[FilmState]
    FILM_STATE_REFUSED: _ClassVar[FilmState]
    FILM_STATE_FAILED: _ClassVar[FilmState]
    FILM_STATE_QUARANTINED: _ClassVar[FilmState]
    FILM_STATE_EXPLAINED: _ClassVar[FilmState]
    FILM_STATE_WITHDRAWN: _ClassVar[FilmState]

class ObjectKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBJECT_KIND_UNSPECIFIED: _ClassVar[ObjectKind]
    OBJECT_KIND_STRUCTURED_REPORT: _ClassVar[ObjectKind]
    OBJECT_KIND_PARAMETRIC_MAP: _ClassVar[ObjectKind]
    OBJECT_KIND_SECONDARY_CAPTURE: _ClassVar[ObjectKind]
    OBJECT_KIND_OVERLAY_PNG: _ClassVar[ObjectKind]
    OBJECT_KIND_REJECTION_NOTE: _ClassVar[ObjectKind]

class DeliveryState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_STATE_UNSPECIFIED: _ClassVar[DeliveryState]
    DELIVERY_STATE_PENDING: _ClassVar[DeliveryState]
    DELIVERY_STATE_SENT: _ClassVar[DeliveryState]
    DELIVERY_STATE_DEAD_LETTER: _ClassVar[DeliveryState]
    DELIVERY_STATE_CONFIRMED: _ClassVar[DeliveryState]
    DELIVERY_STATE_CANCELLED: _ClassVar[DeliveryState]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_DONE: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
FILM_STATE_UNSPECIFIED: FilmState
FILM_STATE_RECEIVED: FilmState
FILM_STATE_PROCESSING: FilmState
FILM_STATE_DONE: FilmState
FILM_STATE_REFUSED: FilmState
FILM_STATE_FAILED: FilmState
FILM_STATE_QUARANTINED: FilmState
FILM_STATE_EXPLAINED: FilmState
FILM_STATE_WITHDRAWN: FilmState
OBJECT_KIND_UNSPECIFIED: ObjectKind
OBJECT_KIND_STRUCTURED_REPORT: ObjectKind
OBJECT_KIND_PARAMETRIC_MAP: ObjectKind
OBJECT_KIND_SECONDARY_CAPTURE: ObjectKind
OBJECT_KIND_OVERLAY_PNG: ObjectKind
OBJECT_KIND_REJECTION_NOTE: ObjectKind
DELIVERY_STATE_UNSPECIFIED: DeliveryState
DELIVERY_STATE_PENDING: DeliveryState
DELIVERY_STATE_SENT: DeliveryState
DELIVERY_STATE_DEAD_LETTER: DeliveryState
DELIVERY_STATE_CONFIRMED: DeliveryState
DELIVERY_STATE_CANCELLED: DeliveryState
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_DONE: JobState
JOB_STATE_CANCELLED: JobState

class SubmitInstanceRequest(_message.Message):
    __slots__ = ("dicom", "model")
    DICOM_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    dicom: bytes
    model: _common_pb2.ModelRef
    def __init__(self, dicom: _Optional[bytes] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class SubmitInstanceResponse(_message.Message):
    __slots__ = ("film_id", "state", "duplicate", "reason_code", "reason")
    FILM_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    REASON_CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    film_id: str
    state: FilmState
    duplicate: bool
    reason_code: str
    reason: str
    def __init__(self, film_id: _Optional[str] = ..., state: _Optional[_Union[FilmState, str]] = ..., duplicate: _Optional[bool] = ..., reason_code: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class GetResultRequest(_message.Message):
    __slots__ = ("film_id", "model")
    FILM_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    film_id: str
    model: _common_pb2.ModelRef
    def __init__(self, film_id: _Optional[str] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("destination", "state", "attempts", "last_error")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    destination: str
    state: DeliveryState
    attempts: int
    last_error: str
    def __init__(self, destination: _Optional[str] = ..., state: _Optional[_Union[DeliveryState, str]] = ..., attempts: _Optional[int] = ..., last_error: _Optional[str] = ...) -> None: ...

class ResultObject(_message.Message):
    __slots__ = ("sop_instance_uid", "kind", "media_type", "size_bytes", "digest", "class_name", "sign", "deliveries")
    SOP_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    SIGN_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    sop_instance_uid: str
    kind: ObjectKind
    media_type: str
    size_bytes: int
    digest: str
    class_name: str
    sign: str
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    def __init__(self, sop_instance_uid: _Optional[str] = ..., kind: _Optional[_Union[ObjectKind, str]] = ..., media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., digest: _Optional[str] = ..., class_name: _Optional[str] = ..., sign: _Optional[str] = ..., deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ...) -> None: ...

class Warning(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ClassResult(_message.Message):
    __slots__ = ("name", "probability", "logit", "additivity_residual", "favorable_sum", "glum_sum")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LOGIT_FIELD_NUMBER: _ClassVar[int]
    ADDITIVITY_RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    FAVORABLE_SUM_FIELD_NUMBER: _ClassVar[int]
    GLUM_SUM_FIELD_NUMBER: _ClassVar[int]
    name: str
    probability: float
    logit: float
    additivity_residual: float
    favorable_sum: float
    glum_sum: float
    def __init__(self, name: _Optional[str] = ..., probability: _Optional[float] = ..., logit: _Optional[float] = ..., additivity_residual: _Optional[float] = ..., favorable_sum: _Optional[float] = ..., glum_sum: _Optional[float] = ...) -> None: ...

class FilmResult(_message.Message):
    __slots__ = ("model", "prediction", "classes", "calibrated", "warnings", "cache_hit", "explanation_key", "background_digest", "method", "objects", "map_to_film", "superseded_by", "urgency")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CALIBRATED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_KEY_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_DIGEST_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    MAP_TO_FILM_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_BY_FIELD_NUMBER: _ClassVar[int]
    URGENCY_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    prediction: str
    classes: _containers.RepeatedCompositeFieldContainer[ClassResult]
    calibrated: bool
    warnings: _containers.RepeatedCompositeFieldContainer[Warning]
    cache_hit: bool
    explanation_key: str
    background_digest: str
    method: str
    objects: _containers.RepeatedCompositeFieldContainer[ResultObject]
    map_to_film: _common_pb2.Affine
    superseded_by: str
    urgency: float
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., prediction: _Optional[str] = ..., classes: _Optional[_Iterable[_Union[ClassResult, _Mapping]]] = ..., calibrated: _Optional[bool] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ..., cache_hit: _Optional[bool] = ..., explanation_key: _Optional[str] = ..., background_digest: _Optional[str] = ..., method: _Optional[str] = ..., objects: _Optional[_Iterable[_Union[ResultObject, _Mapping]]] = ..., map_to_film: _Optional[_Union[_common_pb2.Affine, _Mapping]] = ..., superseded_by: _Optional[str] = ..., urgency: _Optional[float] = ...) -> None: ...

class Film(_message.Message):
    __slots__ = ("film_id", "state", "reason_code", "reason", "receive_time", "update_time", "result")
    FILM_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    film_id: str
    state: FilmState
    reason_code: str
    reason: str
    receive_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    result: FilmResult
    def __init__(self, film_id: _Optional[str] = ..., state: _Optional[_Union[FilmState, str]] = ..., reason_code: _Optional[str] = ..., reason: _Optional[str] = ..., receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., result: _Optional[_Union[FilmResult, _Mapping]] = ...) -> None: ...

class GetResultResponse(_message.Message):
    __slots__ = ("film",)
    FILM_FIELD_NUMBER: _ClassVar[int]
    film: Film
    def __init__(self, film: _Optional[_Union[Film, _Mapping]] = ...) -> None: ...

class WatchResultsRequest(_message.Message):
    __slots__ = ("film_ids", "model")
    FILM_IDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    film_ids: _containers.RepeatedScalarFieldContainer[str]
    model: _common_pb2.ModelRef
    def __init__(self, film_ids: _Optional[_Iterable[str]] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class WatchResultsResponse(_message.Message):
    __slots__ = ("film",)
    FILM_FIELD_NUMBER: _ClassVar[int]
    film: Film
    def __init__(self, film: _Optional[_Union[Film, _Mapping]] = ...) -> None: ...

class GetObjectRequest(_message.Message):
    __slots__ = ("film_id", "sop_instance_uid", "kind")
    FILM_ID_FIELD_NUMBER: _ClassVar[int]
    SOP_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    film_id: str
    sop_instance_uid: str
    kind: ObjectKind
    def __init__(self, film_id: _Optional[str] = ..., sop_instance_uid: _Optional[str] = ..., kind: _Optional[_Union[ObjectKind, str]] = ...) -> None: ...

class GetObjectResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "state", "total", "done", "failed", "cancelled", "create_time", "model")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: JobState
    total: int
    done: int
    failed: int
    cancelled: int
    create_time: _timestamp_pb2.Timestamp
    model: _common_pb2.ModelRef
    def __init__(self, id: _Optional[str] = ..., state: _Optional[_Union[JobState, str]] = ..., total: _Optional[int] = ..., done: _Optional[int] = ..., failed: _Optional[int] = ..., cancelled: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class CreateExplainJobRequest(_message.Message):
    __slots__ = ("film_ids", "model")
    FILM_IDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    film_ids: _containers.RepeatedScalarFieldContainer[str]
    model: _common_pb2.ModelRef
    def __init__(self, film_ids: _Optional[_Iterable[str]] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class CreateExplainJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class Cohort(_message.Message):
    __slots__ = ("id", "display_name", "film_ids", "labels", "count", "create_time", "clustering_ids")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    FILM_IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CLUSTERING_IDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    display_name: str
    film_ids: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    count: int
    create_time: _timestamp_pb2.Timestamp
    clustering_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., display_name: _Optional[str] = ..., film_ids: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., count: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., clustering_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateCohortRequest(_message.Message):
    __slots__ = ("display_name", "film_ids", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    FILM_IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    display_name: str
    film_ids: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, display_name: _Optional[str] = ..., film_ids: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CreateCohortResponse(_message.Message):
    __slots__ = ("cohort",)
    COHORT_FIELD_NUMBER: _ClassVar[int]
    cohort: Cohort
    def __init__(self, cohort: _Optional[_Union[Cohort, _Mapping]] = ...) -> None: ...

class GetCohortRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetCohortResponse(_message.Message):
    __slots__ = ("cohort",)
    COHORT_FIELD_NUMBER: _ClassVar[int]
    cohort: Cohort
    def __init__(self, cohort: _Optional[_Union[Cohort, _Mapping]] = ...) -> None: ...

class ListCohortsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCohortsResponse(_message.Message):
    __slots__ = ("cohorts", "next_page_token")
    COHORTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    cohorts: _containers.RepeatedCompositeFieldContainer[Cohort]
    next_page_token: str
    def __init__(self, cohorts: _Optional[_Iterable[_Union[Cohort, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteCohortRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteCohortResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClusterCohortRequest(_message.Message):
    __slots__ = ("cohort_id", "k", "seed", "model")
    COHORT_ID_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    cohort_id: str
    k: int
    seed: int
    model: _common_pb2.ModelRef
    def __init__(self, cohort_id: _Optional[str] = ..., k: _Optional[int] = ..., seed: _Optional[int] = ..., model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class ClusterCohortResponse(_message.Message):
    __slots__ = ("clustering", "sweep", "report_html")
    CLUSTERING_FIELD_NUMBER: _ClassVar[int]
    SWEEP_FIELD_NUMBER: _ClassVar[int]
    REPORT_HTML_FIELD_NUMBER: _ClassVar[int]
    clustering: _clusterer_pb2.Clustering
    sweep: _clusterer_pb2.SweepKResponse
    report_html: bytes
    def __init__(self, clustering: _Optional[_Union[_clusterer_pb2.Clustering, _Mapping]] = ..., sweep: _Optional[_Union[_clusterer_pb2.SweepKResponse, _Mapping]] = ..., report_html: _Optional[bytes] = ...) -> None: ...
