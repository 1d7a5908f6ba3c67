"""What the services said of one film: the only input, beside its header and picture, of the film's result objects.

A `FilmOutcome` carries no patient data. It is saved as one npz file: the arrays, and everything else as JSON, so that a
retry builds its objects from the numbers of the first attempt.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidi.api.common.v1 import common_pb2
from vidi.errors import InvalidInput
from vidi.imaging.geometry import Affine
from vidi.imaging.notes import Note

Map = npt.NDArray[np.float32]
FORMAT = 1
_PLAIN = (
    "top",
    "target",
    "engine",
    "engine_version",
    "precision",
    "references",
    "background_digest",
    "explanation_key",
    "out_of_population",
)


@dataclass(frozen=True)
class Code:
    """A coded concept (DICOM PS3.3 section 8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class ModelInfo:
    """The model that answered.

    Attributes
    ----------
    name, version, digest
        As in its bundle; `digest` is "sha256:" and hex.
    weights_digest
        Digest of the weights file alone.
    calibrated
        Whether its probabilities are calibrated.
    content_qualification
        DICOM content qualification (PS3.3 C.8.13.2.1.1) of results: "RESEARCH" unless the bundle was cleared for more.
    arch
        Architecture, such as "vgg19_bn".
    intended_use
        Intended use in a sentence or two.
    training_data
        Where the training films came from.
    background_description
        How the references were made.
    preprocessing_digest
        Digest of the preprocessing's parameters.
    map_scale
        Half-width of the fixed colour scale, in logits per pixel after smoothing; 0: not measured.
    """

    name: str
    version: str
    digest: str
    weights_digest: str = ""
    calibrated: bool = False
    content_qualification: str = "RESEARCH"
    arch: str = ""
    intended_use: str = ""
    training_data: str = ""
    background_description: str = ""
    preprocessing_digest: str = ""
    map_scale: float = 0.0

    @classmethod
    def from_proto(cls, model: common_pb2.Model) -> ModelInfo:
        """Take from the description that a service gives of its model."""
        return cls(
            name=model.ref.name,
            version=model.ref.version,
            digest=model.ref.digest,
            weights_digest=model.weights_digest,
            calibrated=model.calibrated,
            content_qualification=model.intended_use.content_qualification or "RESEARCH",
            arch=model.arch,
            intended_use=model.intended_use.statement,
            training_data=model.training_data,
            background_description=model.background_description,
            preprocessing_digest=model.preprocessing_digest,
            map_scale=model.map_scale,
        )


@dataclass(frozen=True, eq=False)
class ClassOutcome:
    """One class's score and explanation.

    Attributes
    ----------
    name, index, code
        The model's class: its name, position in the output, and code in DICOM results.
    probability
        Softmax probability, 0..1; see `ModelInfo.calibrated`.
    logit
        The network's output for the class.
    base_value
        Mean of the explained output over the references, in logits.
    map
        Attribution per pixel of the model's grid (height, width), float32, in logits: > 0 favorable, < 0 glum.
    total, favorable_sum, glum_sum
        Sum of the map, of its favorable part (>= 0) and of its glum part (<= 0), in logits.
    additivity_residual
        |total - (output - base_value)| relative to |output - base_value|; 0 is exact.
    """

    name: str
    index: int
    code: Code
    probability: float
    logit: float
    base_value: float
    map: Map
    total: float
    favorable_sum: float
    glum_sum: float
    additivity_residual: float


@dataclass(frozen=True, eq=False)
class FilmOutcome:
    """What the services said of one film.

    Attributes
    ----------
    model
        The model that answered.
    classes
        All classes in output order.
    top
        Position in `classes` of the class with the highest probability.
    target
        What the maps add up to: "logit" (the logit of each class) or "class_vs_mean" (less the mean of the others).
    engine, engine_version, precision
        How the maps were computed.
    references, background_digest
        Number of DeepSHAP references, and their digest.
    explanation_key
        Content key of the explanation (hex).
    map_to_film
        Transform from the maps' pixels to the film's.
    notes
        What the reader should know; without patient data.
    out_of_population
        Whether the film lies outside the model's intended use and was processed by a site's override.
    attribution_vector
        The maps sum-pooled to 14 x 14 in class order, float32, length 196 x classes.
    seen
        What the model saw: the film on the maps' grid, float32 in 0..1; empty where it was not kept. Galleries show it.
    """

    model: ModelInfo
    classes: tuple[ClassOutcome, ...]
    top: int
    target: str
    engine: str
    engine_version: str
    precision: str
    references: int
    background_digest: str
    explanation_key: str
    map_to_film: Affine
    notes: tuple[Note, ...] = ()
    out_of_population: bool = False
    attribution_vector: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    seen: Map = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __post_init__(self) -> None:
        """Check what every object relies on.

        Raises
        ------
        InvalidInput
            When there is no class, `top` names none, a map has another shape than the first, or a value is not finite.
        """
        if not self.classes or not 0 <= self.top < len(self.classes):
            raise InvalidInput("an outcome needs at least one class, and `top` must be one of them")
        shape = self.classes[0].map.shape
        for c in self.classes:
            if c.map.ndim != 2 or c.map.shape != shape or c.map.dtype != np.float32:
                raise InvalidInput("the maps of an outcome must be float32 of one shape with two axes")
            numbers = (
                c.probability,
                c.logit,
                c.base_value,
                c.total,
                c.favorable_sum,
                c.glum_sum,
                c.additivity_residual,
            )
            if not all(map(math.isfinite, numbers)) or not bool(np.isfinite(c.map).all()):
                raise InvalidInput("an outcome holds values that are not finite")

    @property
    def favoured(self) -> ClassOutcome:
        """The class with the highest probability."""
        return self.classes[self.top]

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the maps: what the model saw."""
        height, width = self.classes[0].map.shape
        return height, width

    @property
    def digest(self) -> str:
        """Digest of everything in it, "sha256:" and hex."""
        head, arrays = self._parts()
        h = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for name in sorted(arrays):
            h.update(f"{name}:{arrays[name].shape}:".encode())
            h.update(np.ascontiguousarray(arrays[name], "<f4").tobytes())
        return "sha256:" + h.hexdigest()

    def to_bytes(self) -> bytes:
        """Return one npz file (arrays, and a JSON text named "outcome")."""
        head, arrays = self._parts()
        text = np.frombuffer(json.dumps(head, sort_keys=True).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, outcome=text, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> FilmOutcome:
        """Read what `to_bytes` returned.

        Raises
        ------
        InvalidInput
            When the file is damaged or of another format version.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                head = json.loads(archive["outcome"].tobytes())
                maps, vector, seen = archive["maps"], archive["attribution_vector"], archive["seen"]
            if head.pop("format") != FORMAT:
                raise InvalidInput("an outcome file of another format version")
            return cls._from_parts(head, maps, vector, seen)
        except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as e:
            raise InvalidInput("a damaged outcome file") from e
        except (zipfile.BadZipFile, zlib.error) as e:
            raise InvalidInput("a damaged outcome file") from e

    def save(self, path: Path) -> None:
        """Write `to_bytes` to a file."""
        path.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> FilmOutcome:
        """Read a file that `save` wrote.

        Raises
        ------
        InvalidInput
            When the file is damaged or of another format version.
        """
        return cls.from_bytes(path.read_bytes())

    def _parts(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float32]]]:
        head: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        head["format"] = FORMAT
        head["model"] = asdict(self.model)
        head["map_to_film"] = asdict(self.map_to_film)
        head["notes"] = [asdict(n) for n in self.notes]
        head["classes"] = [
            {k: asdict(v) if isinstance(v, Code) else v for k, v in vars(c).items() if k != "map"} for c in self.classes
        ]
        maps = np.stack([c.map for c in self.classes])
        vector, seen = np.asarray(self.attribution_vector, np.float32), np.asarray(self.seen, np.float32)
        return head, {"maps": maps, "attribution_vector": vector, "seen": seen}

    @classmethod
    def _from_parts(cls, head: Mapping[str, Any], maps: Map, vector: npt.NDArray[np.float32], seen: Map) -> FilmOutcome:
        rest = {k: v for k, v in head.items() if k not in ("model", "map_to_film", "notes", "classes")}
        classes = tuple(
            ClassOutcome(**{**c, "code": Code(**c["code"]), "map": maps[i]}) for i, c in enumerate(head["classes"])
        )
        return cls(
            model=ModelInfo(**head["model"]),
            classes=classes,
            map_to_film=Affine(**head["map_to_film"]),
            notes=tuple(Note(**n) for n in head["notes"]),
            attribution_vector=vector,
            seen=seen,
            **rest,
        )
