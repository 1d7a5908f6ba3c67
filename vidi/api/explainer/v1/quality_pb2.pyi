from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Measure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEASURE_UNSPECIFIED: _ClassVar[Measure]
    MEASURE_ADDITIVITY: _ClassVar[Measure]
    MEASURE_SIGN_DISAGREEMENT: _ClassVar[Measure]
    MEASURE_DELETION_INSERTION: _ClassVar[Measure]
    MEASURE_REPEATABILITY: _ClassVar[Measure]
    MEASURE_NOISE_FLOOR: _ClassVar[Measure]
    MEASURE_AREAS: _ClassVar[Measure]
    MEASURE_TRUTH: _ClassVar[Measure]

class Perturbation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERTURBATION_UNSPECIFIED: _ClassVar[Perturbation]
    PERTURBATION_SHIFT: _ClassVar[Perturbation]
    PERTURBATION_ROTATION: _ClassVar[Perturbation]
    PERTURBATION_JPEG: _ClassVar[Perturbation]
MEASURE_UNSPECIFIED: Measure
MEASURE_ADDITIVITY: Measure
MEASURE_SIGN_DISAGREEMENT: Measure
MEASURE_DELETION_INSERTION: Measure
MEASURE_REPEATABILITY: Measure
MEASURE_NOISE_FLOOR: Measure
MEASURE_AREAS: Measure
MEASURE_TRUTH: Measure
PERTURBATION_UNSPECIFIED: Perturbation
PERTURBATION_SHIFT: Perturbation
PERTURBATION_ROTATION: Perturbation
PERTURBATION_JPEG: Perturbation

class Curve(_message.Message):
    __slots__ = ("values", "area")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    AREA_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    area: float
    def __init__(self, values: _Optional[_Iterable[float]] = ..., area: _Optional[float] = ...) -> None: ...

class DeletionInsertion(_message.Message):
    __slots__ = ("deletion", "insertion", "random_deletion", "random_insertion")
    DELETION_FIELD_NUMBER: _ClassVar[int]
    INSERTION_FIELD_NUMBER: _ClassVar[int]
    RANDOM_DELETION_FIELD_NUMBER: _ClassVar[int]
    RANDOM_INSERTION_FIELD_NUMBER: _ClassVar[int]
    deletion: Curve
    insertion: Curve
    random_deletion: Curve
    random_insertion: Curve
    def __init__(self, deletion: _Optional[_Union[Curve, _Mapping]] = ..., insertion: _Optional[_Union[Curve, _Mapping]] = ..., random_deletion: _Optional[_Union[Curve, _Mapping]] = ..., random_insertion: _Optional[_Union[Curve, _Mapping]] = ...) -> None: ...

class Repeatability(_message.Message):
    __slots__ = ("perturbation", "sigma", "rank_correlation", "cosine")
    PERTURBATION_FIELD_NUMBER: _ClassVar[int]
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    RANK_CORRELATION_FIELD_NUMBER: _ClassVar[int]
    COSINE_FIELD_NUMBER: _ClassVar[int]
    perturbation: Perturbation
    sigma: float
    rank_correlation: float
    cosine: float
    def __init__(self, perturbation: _Optional[_Union[Perturbation, str]] = ..., sigma: _Optional[float] = ..., rank_correlation: _Optional[float] = ..., cosine: _Optional[float] = ...) -> None: ...

class NoiseFloor(_message.Message):
    __slots__ = ("value", "percentile", "seeds", "by_seed")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PERCENTILE_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    BY_SEED_FIELD_NUMBER: _ClassVar[int]
    value: float
    percentile: float
    seeds: _containers.RepeatedScalarFieldContainer[int]
    by_seed: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, value: _Optional[float] = ..., percentile: _Optional[float] = ..., seeds: _Optional[_Iterable[int]] = ..., by_seed: _Optional[_Iterable[float]] = ...) -> None: ...

class Area(_message.Message):
    __slots__ = ("mass_share", "pixels", "grid_share", "level")
    MASS_SHARE_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    GRID_SHARE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    mass_share: float
    pixels: int
    grid_share: float
    level: float
    def __init__(self, mass_share: _Optional[float] = ..., pixels: _Optional[int] = ..., grid_share: _Optional[float] = ..., level: _Optional[float] = ...) -> None: ...

class Areas(_message.Message):
    __slots__ = ("stands_out", "mass_above_floor", "areas")
    STANDS_OUT_FIELD_NUMBER: _ClassVar[int]
    MASS_ABOVE_FLOOR_FIELD_NUMBER: _ClassVar[int]
    AREAS_FIELD_NUMBER: _ClassVar[int]
    stands_out: bool
    mass_above_floor: float
    areas: _containers.RepeatedCompositeFieldContainer[Area]
    def __init__(self, stands_out: _Optional[bool] = ..., mass_above_floor: _Optional[float] = ..., areas: _Optional[_Iterable[_Union[Area, _Mapping]]] = ...) -> None: ...

class TruthScore(_message.Message):
    __slots__ = ("favorable_inside", "points_inside")
    FAVORABLE_INSIDE_FIELD_NUMBER: _ClassVar[int]
    POINTS_INSIDE_FIELD_NUMBER: _ClassVar[int]
    favorable_inside: float
    points_inside: bool
    def __init__(self, favorable_inside: _Optional[float] = ..., points_inside: _Optional[bool] = ...) -> None: ...

class TruthAgreement(_message.Message):
    __slots__ = ("map", "rivals")
    class RivalsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TruthScore
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TruthScore, _Mapping]] = ...) -> None: ...
    MAP_FIELD_NUMBER: _ClassVar[int]
    RIVALS_FIELD_NUMBER: _ClassVar[int]
    map: TruthScore
    rivals: _containers.MessageMap[str, TruthScore]
    def __init__(self, map: _Optional[_Union[TruthScore, _Mapping]] = ..., rivals: _Optional[_Mapping[str, TruthScore]] = ...) -> None: ...

class TruthChance(_message.Message):
    __slots__ = ("favorable_inside", "points_inside", "tolerance")
    FAVORABLE_INSIDE_FIELD_NUMBER: _ClassVar[int]
    POINTS_INSIDE_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    favorable_inside: float
    points_inside: float
    tolerance: float
    def __init__(self, favorable_inside: _Optional[float] = ..., points_inside: _Optional[float] = ..., tolerance: _Optional[float] = ...) -> None: ...

class OutputQuality(_message.Message):
    __slots__ = ("name", "index", "output", "base_value", "additivity_residual", "sign_disagreement", "deletion_insertion", "repeatability", "areas", "truth", "noise_floor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    BASE_VALUE_FIELD_NUMBER: _ClassVar[int]
    ADDITIVITY_RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    SIGN_DISAGREEMENT_FIELD_NUMBER: _ClassVar[int]
    DELETION_INSERTION_FIELD_NUMBER: _ClassVar[int]
    REPEATABILITY_FIELD_NUMBER: _ClassVar[int]
    AREAS_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    NOISE_FLOOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    index: int
    output: float
    base_value: float
    additivity_residual: float
    sign_disagreement: float
    deletion_insertion: DeletionInsertion
    repeatability: _containers.RepeatedCompositeFieldContainer[Repeatability]
    areas: Areas
    truth: TruthAgreement
    noise_floor: NoiseFloor
    def __init__(self, name: _Optional[str] = ..., index: _Optional[int] = ..., output: _Optional[float] = ..., base_value: _Optional[float] = ..., additivity_residual: _Optional[float] = ..., sign_disagreement: _Optional[float] = ..., deletion_insertion: _Optional[_Union[DeletionInsertion, _Mapping]] = ..., repeatability: _Optional[_Iterable[_Union[Repeatability, _Mapping]]] = ..., areas: _Optional[_Union[Areas, _Mapping]] = ..., truth: _Optional[_Union[TruthAgreement, _Mapping]] = ..., noise_floor: _Optional[_Union[NoiseFloor, _Mapping]] = ...) -> None: ...

class LeftOutMeasure(_message.Message):
    __slots__ = ("measure", "reason")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    measure: Measure
    reason: str
    def __init__(self, measure: _Optional[_Union[Measure, str]] = ..., reason: _Optional[str] = ...) -> None: ...
