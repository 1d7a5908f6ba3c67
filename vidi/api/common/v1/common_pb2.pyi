from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_UINT8: _ClassVar[DataType]
    DATA_TYPE_UINT16: _ClassVar[DataType]
    DATA_TYPE_INT32: _ClassVar[DataType]
    DATA_TYPE_INT64: _ClassVar[DataType]
    DATA_TYPE_FLOAT16: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]
    DATA_TYPE_FLOAT64: _ClassVar[DataType]
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_UINT8: DataType
DATA_TYPE_UINT16: DataType
DATA_TYPE_INT32: DataType
DATA_TYPE_INT64: DataType
DATA_TYPE_FLOAT16: DataType
DATA_TYPE_FLOAT32: DataType
DATA_TYPE_FLOAT64: DataType

class Tensor(_message.Message):
    __slots__ = ("dtype", "shape", "data")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    dtype: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, dtype: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("encoded", "tensor")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    tensor: Tensor
    def __init__(self, encoded: _Optional[bytes] = ..., tensor: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class ModelRef(_message.Message):
    __slots__ = ("name", "version", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Code(_message.Message):
    __slots__ = ("value", "scheme", "meaning")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    value: str
    scheme: str
    meaning: str
    def __init__(self, value: _Optional[str] = ..., scheme: _Optional[str] = ..., meaning: _Optional[str] = ...) -> None: ...

class ModelClass(_message.Message):
    __slots__ = ("index", "name", "code")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    code: Code
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ..., code: _Optional[_Union[Code, _Mapping]] = ...) -> None: ...

class IntendedUse(_message.Message):
    __slots__ = ("statement", "age_min_years", "age_max_years", "modalities", "views", "source_population", "content_qualification", "subjects")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    AGE_MIN_YEARS_FIELD_NUMBER: _ClassVar[int]
    AGE_MAX_YEARS_FIELD_NUMBER: _ClassVar[int]
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_POPULATION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_QUALIFICATION_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    statement: str
    age_min_years: float
    age_max_years: float
    modalities: _containers.RepeatedScalarFieldContainer[str]
    views: _containers.RepeatedScalarFieldContainer[str]
    source_population: str
    content_qualification: str
    subjects: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, statement: _Optional[str] = ..., age_min_years: _Optional[float] = ..., age_max_years: _Optional[float] = ..., modalities: _Optional[_Iterable[str]] = ..., views: _Optional[_Iterable[str]] = ..., source_population: _Optional[str] = ..., content_qualification: _Optional[str] = ..., subjects: _Optional[_Iterable[str]] = ...) -> None: ...

class ModelMetric(_message.Message):
    __slots__ = ("name", "value", "ci_low", "ci_high", "split")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CI_LOW_FIELD_NUMBER: _ClassVar[int]
    CI_HIGH_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    ci_low: float
    ci_high: float
    split: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., ci_low: _Optional[float] = ..., ci_high: _Optional[float] = ..., split: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("ref", "arch", "width", "classes", "input_height", "input_width", "preprocessing_version", "preprocessing_digest", "intended_use", "training_data", "training_data_licence", "metrics", "weights_digest", "background_digest", "background_size", "background_description", "calibrated", "map_scale", "is_default", "preprocessing_geometry")
    REF_FIELD_NUMBER: _ClassVar[int]
    ARCH_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    INPUT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INPUT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INTENDED_USE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_DATA_FIELD_NUMBER: _ClassVar[int]
    TRAINING_DATA_LICENCE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_SIZE_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CALIBRATED_FIELD_NUMBER: _ClassVar[int]
    MAP_SCALE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_GEOMETRY_FIELD_NUMBER: _ClassVar[int]
    ref: ModelRef
    arch: str
    width: float
    classes: _containers.RepeatedCompositeFieldContainer[ModelClass]
    input_height: int
    input_width: int
    preprocessing_version: str
    preprocessing_digest: str
    intended_use: IntendedUse
    training_data: str
    training_data_licence: str
    metrics: _containers.RepeatedCompositeFieldContainer[ModelMetric]
    weights_digest: str
    background_digest: str
    background_size: int
    background_description: str
    calibrated: bool
    map_scale: float
    is_default: bool
    preprocessing_geometry: str
    def __init__(self, ref: _Optional[_Union[ModelRef, _Mapping]] = ..., arch: _Optional[str] = ..., width: _Optional[float] = ..., classes: _Optional[_Iterable[_Union[ModelClass, _Mapping]]] = ..., input_height: _Optional[int] = ..., input_width: _Optional[int] = ..., preprocessing_version: _Optional[str] = ..., preprocessing_digest: _Optional[str] = ..., intended_use: _Optional[_Union[IntendedUse, _Mapping]] = ..., training_data: _Optional[str] = ..., training_data_licence: _Optional[str] = ..., metrics: _Optional[_Iterable[_Union[ModelMetric, _Mapping]]] = ..., weights_digest: _Optional[str] = ..., background_digest: _Optional[str] = ..., background_size: _Optional[int] = ..., background_description: _Optional[str] = ..., calibrated: _Optional[bool] = ..., map_scale: _Optional[float] = ..., is_default: _Optional[bool] = ..., preprocessing_geometry: _Optional[str] = ...) -> None: ...

class Affine(_message.Message):
    __slots__ = ("a", "b", "c", "d", "e", "f")
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    C_FIELD_NUMBER: _ClassVar[int]
    D_FIELD_NUMBER: _ClassVar[int]
    E_FIELD_NUMBER: _ClassVar[int]
    F_FIELD_NUMBER: _ClassVar[int]
    a: float
    b: float
    c: float
    d: float
    e: float
    f: float
    def __init__(self, a: _Optional[float] = ..., b: _Optional[float] = ..., c: _Optional[float] = ..., d: _Optional[float] = ..., e: _Optional[float] = ..., f: _Optional[float] = ...) -> None: ...
