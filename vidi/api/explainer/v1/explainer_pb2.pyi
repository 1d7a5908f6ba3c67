from buf.validate import validate_pb2 as _validate_pb2
from google.rpc import status_pb2 as _status_pb2
from vidi.api.common.v1 import common_pb2 as _common_pb2
from vidi.api.explainer.v1 import quality_pb2 as _quality_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TargetKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TARGET_KIND_UNSPECIFIED: _ClassVar[TargetKind]
    TARGET_KIND_LOGIT: _ClassVar[TargetKind]
    TARGET_KIND_CLASS_VS_MEAN: _ClassVar[TargetKind]
    TARGET_KIND_CLASS_VS_CLASS: _ClassVar[TargetKind]
TARGET_KIND_UNSPECIFIED: TargetKind
TARGET_KIND_LOGIT: TargetKind
TARGET_KIND_CLASS_VS_MEAN: TargetKind
TARGET_KIND_CLASS_VS_CLASS: TargetKind

class Target(_message.Message):
    __slots__ = ("kind", "class_a", "class_b")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CLASS_A_FIELD_NUMBER: _ClassVar[int]
    CLASS_B_FIELD_NUMBER: _ClassVar[int]
    kind: TargetKind
    class_a: str
    class_b: str
    def __init__(self, kind: _Optional[_Union[TargetKind, str]] = ..., class_a: _Optional[str] = ..., class_b: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("model", "image", "target", "map_dtype", "include_channels", "bypass_cache")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MAP_DTYPE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    BYPASS_CACHE_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    image: _common_pb2.Image
    target: Target
    map_dtype: _common_pb2.DataType
    include_channels: bool
    bypass_cache: bool
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., map_dtype: _Optional[_Union[_common_pb2.DataType, str]] = ..., include_channels: _Optional[bool] = ..., bypass_cache: _Optional[bool] = ...) -> None: ...

class Method(_message.Message):
    __slots__ = ("engine", "engine_version", "precision", "references", "background_digest")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_DIGEST_FIELD_NUMBER: _ClassVar[int]
    engine: str
    engine_version: str
    precision: str
    references: int
    background_digest: str
    def __init__(self, engine: _Optional[str] = ..., engine_version: _Optional[str] = ..., precision: _Optional[str] = ..., references: _Optional[int] = ..., background_digest: _Optional[str] = ...) -> None: ...

class ClassAttribution(_message.Message):
    __slots__ = ("name", "index", "map", "map_scale", "sum", "favorable_sum", "glum_sum", "output", "base_value", "additivity_residual", "channels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    MAP_SCALE_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    FAVORABLE_SUM_FIELD_NUMBER: _ClassVar[int]
    GLUM_SUM_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    BASE_VALUE_FIELD_NUMBER: _ClassVar[int]
    ADDITIVITY_RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    index: int
    map: _common_pb2.Tensor
    map_scale: float
    sum: float
    favorable_sum: float
    glum_sum: float
    output: float
    base_value: float
    additivity_residual: float
    channels: _common_pb2.Tensor
    def __init__(self, name: _Optional[str] = ..., index: _Optional[int] = ..., map: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., map_scale: _Optional[float] = ..., sum: _Optional[float] = ..., favorable_sum: _Optional[float] = ..., glum_sum: _Optional[float] = ..., output: _Optional[float] = ..., base_value: _Optional[float] = ..., additivity_residual: _Optional[float] = ..., channels: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("model", "method", "target", "attributions", "attribution_vector", "logits", "map_to_image", "cache_hit", "cache_key", "compute_seconds", "preprocessing_digest")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_VECTOR_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    MAP_TO_IMAGE_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_FIELD_NUMBER: _ClassVar[int]
    CACHE_KEY_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_DIGEST_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    method: Method
    target: Target
    attributions: _containers.RepeatedCompositeFieldContainer[ClassAttribution]
    attribution_vector: _common_pb2.Tensor
    logits: _containers.RepeatedScalarFieldContainer[float]
    map_to_image: _common_pb2.Affine
    cache_hit: bool
    cache_key: str
    compute_seconds: float
    preprocessing_digest: str
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., method: _Optional[_Union[Method, _Mapping]] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., attributions: _Optional[_Iterable[_Union[ClassAttribution, _Mapping]]] = ..., attribution_vector: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ..., logits: _Optional[_Iterable[float]] = ..., map_to_image: _Optional[_Union[_common_pb2.Affine, _Mapping]] = ..., cache_hit: _Optional[bool] = ..., cache_key: _Optional[str] = ..., compute_seconds: _Optional[float] = ..., preprocessing_digest: _Optional[str] = ...) -> None: ...

class ExplainStreamRequest(_message.Message):
    __slots__ = ("request_id", "request")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    request: ExplainRequest
    def __init__(self, request_id: _Optional[str] = ..., request: _Optional[_Union[ExplainRequest, _Mapping]] = ...) -> None: ...

class ExplainStreamResponse(_message.Message):
    __slots__ = ("request_id", "response", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    response: ExplainResponse
    error: _status_pb2.Status
    def __init__(self, request_id: _Optional[str] = ..., response: _Optional[_Union[ExplainResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class AssessExplanationRequest(_message.Message):
    __slots__ = ("model", "image", "target", "measures", "seed", "steps", "truth_mask")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TRUTH_MASK_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    image: _common_pb2.Image
    target: Target
    measures: _containers.RepeatedScalarFieldContainer[_quality_pb2.Measure]
    seed: int
    steps: int
    truth_mask: _common_pb2.Tensor
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., image: _Optional[_Union[_common_pb2.Image, _Mapping]] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., measures: _Optional[_Iterable[_Union[_quality_pb2.Measure, str]]] = ..., seed: _Optional[int] = ..., steps: _Optional[int] = ..., truth_mask: _Optional[_Union[_common_pb2.Tensor, _Mapping]] = ...) -> None: ...

class ForgetExplanationsRequest(_message.Message):
    __slots__ = ("cache_keys",)
    CACHE_KEYS_FIELD_NUMBER: _ClassVar[int]
    cache_keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cache_keys: _Optional[_Iterable[str]] = ...) -> None: ...

class ForgetExplanationsResponse(_message.Message):
    __slots__ = ("forgotten", "absent")
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    forgotten: int
    absent: int
    def __init__(self, forgotten: _Optional[int] = ..., absent: _Optional[int] = ...) -> None: ...

class AssessExplanationResponse(_message.Message):
    __slots__ = ("model", "method", "target", "measures", "left_out", "outputs", "truth_chance", "smoothing_sigma", "seed", "steps", "compute_seconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TRUTH_CHANCE_FIELD_NUMBER: _ClassVar[int]
    SMOOTHING_SIGMA_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: _common_pb2.ModelRef
    method: Method
    target: Target
    measures: _containers.RepeatedScalarFieldContainer[_quality_pb2.Measure]
    left_out: _containers.RepeatedCompositeFieldContainer[_quality_pb2.LeftOutMeasure]
    outputs: _containers.RepeatedCompositeFieldContainer[_quality_pb2.OutputQuality]
    truth_chance: _quality_pb2.TruthChance
    smoothing_sigma: float
    seed: int
    steps: int
    compute_seconds: float
    def __init__(self, model: _Optional[_Union[_common_pb2.ModelRef, _Mapping]] = ..., method: _Optional[_Union[Method, _Mapping]] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., measures: _Optional[_Iterable[_Union[_quality_pb2.Measure, str]]] = ..., left_out: _Optional[_Iterable[_Union[_quality_pb2.LeftOutMeasure, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_quality_pb2.OutputQuality, _Mapping]]] = ..., truth_chance: _Optional[_Union[_quality_pb2.TruthChance, _Mapping]] = ..., smoothing_sigma: _Optional[float] = ..., seed: _Optional[int] = ..., steps: _Optional[int] = ..., compute_seconds: _Optional[float] = ...) -> None: ...
