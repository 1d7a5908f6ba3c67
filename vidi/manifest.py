"""The manifest of a model bundle (model.json): what a model is, is for, and was measured to do."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from vidi.imaging.preprocess import Preprocessing

FORMAT: Final = 1
Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Text = Annotated[str, Field(max_length=8192)]
#: Networks, by torchvision's names; `vidi.models.build` makes them.
Arch = Literal["vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "densenet121"]
Head = Literal["fc", "gap"]
WITH_BATCH_NORM: Final[frozenset[Arch]] = frozenset({"vgg16_bn", "vgg19_bn", "densenet121"})
#: How DeepSHAP references are made, see `vidi.background`.
BackgroundStrategy = Literal["kmeans", "kmeans-by-class", "kmedoids", "synthetic", "blurred-mean"]


class Strict(BaseModel):
    """Base of all parts: unknown fields are refused, values are frozen and finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Code(Strict):
    """A coded concept (DICOM PS3.3 section 8).

    Attributes
    ----------
    value, scheme, meaning
        Code value, coding scheme designator and meaning. A value is at most 16 characters (SH) and a meaning at most
        64 (LO), as DICOM demands.
    """

    value: str = Field(min_length=1, max_length=16)
    scheme: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=64)


class ModelClass(Strict):
    """One output of the model: its name ("pneumonia") and what it is called in DICOM results."""

    name: Name
    code: Code


class PreprocessingSpec(Strict):
    """`vidi.imaging.preprocess.Preprocessing` and its digest."""

    version: str = Field(max_length=64)
    height: int = Field(ge=32, le=4096)
    width: int = Field(ge=32, le=4096)
    geometry: Literal["squash", "letterbox"]
    mean: tuple[float, float, float]
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    digest: Sha256

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> PreprocessingSpec:
        """Describe a preprocessing."""
        return cls(
            version=preprocessing.version,
            height=preprocessing.height,
            width=preprocessing.width,
            geometry=preprocessing.geometry,
            mean=preprocessing.mean,
            std=preprocessing.std,
            digest=preprocessing.digest,
        )

    def build(self) -> Preprocessing:
        """Return the preprocessing that this describes."""
        return Preprocessing(self.version, self.height, self.width, self.geometry, self.mean, self.std)


class IntendedUse(Strict):
    """Films that the model was made for; a film outside is refused, or marked by a site's override.

    Attributes
    ----------
    statement
        One or two sentences for people.
    age_min_years, age_max_years
        Bounds of the patient's age in years, both included; None: no bound.
    modalities, views
        DICOM Modality and View Position values ("CR", "DX"; "PA", "AP").
    source_population
        Where the training films came from.
    content_qualification
        DICOM Content Qualification of results (PS3.3 C.8.13.2.1.1).
    subjects
        What the films may show: "patient", "phantom" (Quality Control Subject, 0010,0200).
    """

    statement: Text
    age_min_years: float | None = Field(default=None, ge=0, le=150)
    age_max_years: float | None = Field(default=None, ge=0, le=150)
    modalities: tuple[str, ...] = ("CR", "DX")
    views: tuple[str, ...] = ()
    source_population: Text = ""
    content_qualification: Literal["RESEARCH", "PRODUCT", "SERVICE"] = "RESEARCH"
    subjects: tuple[Literal["patient", "phantom"], ...] = Field(min_length=1)


class SplitRule(Strict):
    """How patients were divided, precisely enough to divide them again.

    A patient's bucket is `int(sha256(salt + patient_id), 16) % 100`. The patient is held out when the bucket is below
    `held_out_percent`, or when any of the patient's films has `held_out_value` in the column `held_out_column`; else in
    validation when the bucket is below `held_out_percent + validation_percent`; else in training.

    Attributes
    ----------
    datasets
        Values of the manifest's `dataset` column that the rule divides. Films of other data sets were never seen.
    """

    description: Text
    datasets: tuple[str, ...] = ()
    salt: str = Field(default="", max_length=64)
    held_out_percent: int = Field(default=20, ge=0, le=100)
    validation_percent: int = Field(default=10, ge=0, le=100)
    held_out_column: str = Field(default="", max_length=64)
    held_out_value: str = Field(default="", max_length=64)

    def bucket(self, patient_id: str) -> int:
        """Return the patient's bucket, 0 to 99."""
        return int(hashlib.sha256((self.salt + patient_id).encode()).hexdigest(), 16) % 100


class BackgroundRecipe(Strict):
    """How the DeepSHAP references were made.

    Attributes
    ----------
    strategy
        See `vidi.background`.
    count
        Number of references.
    seed
        Of the strategy's random choices.
    smallest
        Smallest number of films that a reference averages; 1 where each is one film or one phantom.
    classes
        Class of the films behind each reference, in their order; empty where references stand for no class.
    holds_patient_films
        Whether references are films of patients, or means of too few to hide them: such a bundle stays at its site.
    """

    strategy: BackgroundStrategy
    count: int = Field(ge=1, le=4096)
    seed: int = Field(ge=0)
    smallest: int = Field(ge=1)
    classes: tuple[Name, ...] = ()
    holds_patient_films: bool


class Metric(Strict):
    """A measured quality: `value` with its 95 % interval (`ci_low`, `ci_high`), on the films that `split` names."""

    name: str = Field(min_length=1, max_length=64)
    value: float
    ci_low: float | None = None
    ci_high: float | None = None
    split: Text = ""


class Manifest(Strict):
    """model.json.

    Attributes
    ----------
    format
        Version of this schema.
    arch
        The network, see `Arch`.
    width
        Channel multiplier against the published architecture.
    batch_norm
        Whether the network holds batch normalisations, see `WITH_BATCH_NORM`.
    head
        "fc" or "gap", see `vidi.models.vgg`; "densenet121" always has "gap".
    classes
        In output order, at least two, names unique.
    weights_sha256, background_sha256
        Digests of model.safetensors and background.safetensors.
    background_recipe
        How the references were made; None in bundles written before this was noted.
    calibrated
        Whether softmax(logits / temperature) was calibrated on held-out films.
    temperature
        Divisor of the logits before the softmax, more than 0.
    map_scale
        Half-width of the fixed colour scale of maps, in units of the logit per pixel after the display smoothing;
        0: not measured.
    digest
        The bundle's digest: over all other fields, and so over the digests of both files. Guards against accidents and
        stale copies; it is no signature.
    """

    format: Literal[1] = FORMAT
    name: Name
    version: Name
    arch: Arch
    width: float = Field(gt=0, le=4)
    batch_norm: bool
    head: Head
    classes: tuple[ModelClass, ...] = Field(min_length=2, max_length=1000)
    preprocessing: PreprocessingSpec
    intended_use: IntendedUse
    training_data: Text
    training_data_licence: Text
    split: SplitRule
    metrics: tuple[Metric, ...] = ()
    weights_sha256: Sha256
    background_sha256: Sha256
    background_size: int = Field(ge=1, le=4096)
    background_description: Text
    background_recipe: BackgroundRecipe | None = None
    calibrated: bool = False
    temperature: float = Field(default=1.0, gt=0, le=1000)
    map_scale: float = Field(default=0.0, ge=0)
    digest: Sha256

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if self.batch_norm != (self.arch in WITH_BATCH_NORM):
            raise ValueError(f"arch {self.arch!r} and batch_norm {self.batch_norm} contradict each other")
        if self.arch == "densenet121" and self.head != "gap":
            raise ValueError(f"arch {self.arch!r} and head {self.head!r} contradict each other")
        names = [c.name for c in self.classes]
        if len(set(names)) != len(names):
            raise ValueError("class names are not unique")
        if self.preprocessing.build().digest != self.preprocessing.digest:
            raise ValueError("the preprocessing's digest does not fit its parameters")
        recipe = self.background_recipe
        if recipe is not None:
            if recipe.count != self.background_size or len(recipe.classes) not in (0, recipe.count):
                raise ValueError(f"background_recipe speaks of other references than the {self.background_size} here")
            if not set(recipe.classes) <= set(names):
                raise ValueError("background_recipe names a class that the model lacks")
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave an absent recipe out: a bundle from before it was noted keeps its digest when it is written again."""
        fields: dict[str, Any] = handler(self)
        if fields.get("background_recipe") is None:
            fields.pop("background_recipe", None)
        return fields


def digest_of(fields: dict[str, Any]) -> str:
    """Return the bundle digest of a manifest's JSON fields ("digest" itself is left out)."""
    rest = {key: value for key, value in fields.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def seal(fields: dict[str, Any]) -> Manifest:
    """Validate fields (as they stand in model.json, or as Python values) and set the digest that belongs to them.

    Raises
    ------
    pydantic.ValidationError
        When a field is missing, unknown or out of range.
    """
    draft = Manifest.model_validate({**fields, "digest": "sha256:" + "0" * 64})
    return draft.model_copy(update={"digest": digest_of(draft.model_dump(mode="json"))})
