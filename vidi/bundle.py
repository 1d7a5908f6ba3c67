"""Model bundles: directories with a manifest, the weights and the DeepSHAP references, verified by digests. No torch.

    model.json                the manifest (vidi/manifest.py)
    model.safetensors         the state dict
    background.safetensors    "background": uint8 (n, height, width), grey films on the model's grid

The manifest holds the digests of both files and a digest of itself, which names the bundle. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from vidi.api.common.v1 import common_pb2
from vidi.bundle_files import digest, file_digest, read, replace
from vidi.errors import BundleError, NotFound, PreconditionFailed
from vidi.imaging.preprocess import VERSION as PREPROCESSING_VERSION
from vidi.manifest import FORMAT, Manifest, digest_of, seal

if TYPE_CHECKING:
    from vidi.imaging.preprocess import Preprocessing

MANIFEST = "model.json"
WEIGHTS = "model.safetensors"
BACKGROUND = "background.safetensors"
_LIMITS = {MANIFEST: 1 << 20, WEIGHTS: 4 << 30, BACKGROUND: 1 << 28}
_DTYPES = {np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.int64)}


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were found to fit their digests (by `load`)."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Name, such as "pneumonia-slim"."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version, such as "1.0.0"."""
        return self.manifest.version

    @property
    def digest(self) -> str:
        """Digest of the whole bundle, "sha256:" and hex."""
        return self.manifest.digest

    @property
    def weights_path(self) -> Path:
        """The state dict's file."""
        return self.path / WEIGHTS

    @property
    def background_path(self) -> Path:
        """The references' file."""
        return self.path / BACKGROUND

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in output order."""
        return tuple(c.name for c in self.manifest.classes)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing that the model was trained with."""
        return self.manifest.preprocessing.build()

    def background(self) -> npt.NDArray[np.uint8]:
        """Return the DeepSHAP references, uint8 (n, height, width), grey in 0..255.

        Raises
        ------
        BundleError
            When the file is not what the manifest says.
        """
        tensors = _read_safetensors(self.background_path, self.manifest.background_sha256)
        images = tensors.get("background")
        p = self.manifest.preprocessing
        expected = (self.manifest.background_size, p.height, p.width)
        if images is None or images.dtype != np.uint8 or images.shape != expected:
            raise BundleError(f"{self.background_path}: no tensor 'background' of uint8 {expected}")
        return images

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the stored state dict as numpy arrays.

        Raises
        ------
        BundleError
            When the file is not what the manifest says.
        """
        return _read_safetensors(self.weights_path, self.manifest.weights_sha256)


def load(path: Path | str) -> Bundle:
    """Open a bundle and verify all digests.

    Raises
    ------
    BundleError
        Naming the file that is missing, damaged, changed, not understood or from a newer version.
    """
    directory = Path(path)
    manifest = _read_manifest(directory / MANIFEST)
    for name, expected in ((WEIGHTS, manifest.weights_sha256), (BACKGROUND, manifest.background_sha256)):
        file = directory / name
        if file_digest(file, _LIMITS[name]) != expected:
            raise BundleError(f"{file}: does not fit the digest in {MANIFEST}: it was changed or damaged")
    bundle = Bundle(directory, manifest)
    bundle.background()
    return bundle


def discover(model_dir: Path | str) -> dict[str, Bundle]:
    """Load every bundle of a directory (its subdirectories that hold a model.json), by name.

    One damaged bundle fails the whole discovery: a server that starts without a model that its operator put there would
    answer NOT_FOUND, which reads as "no such model" instead of "your model is damaged".

    Raises
    ------
    BundleError
        When the directory is missing, holds no bundle, holds two of the same name, or one of them is damaged.
    """
    directory = Path(model_dir)
    if not directory.is_dir():
        raise BundleError(f"{directory}: no such directory (VIDI_MODEL_DIR names where model bundles lie)")
    found: dict[str, Bundle] = {}
    for manifest in sorted(directory.glob(f"*/{MANIFEST}")):
        bundle = load(manifest.parent)
        if bundle.name in found:
            raise BundleError(
                f"{manifest}: a second bundle named {bundle.name!r} (the first: {found[bundle.name].path})"
            )
        found[bundle.name] = bundle
    if not found:
        raise BundleError(f"{directory}: holds no model bundle (a directory with {MANIFEST})")
    return found


def write_bundle(
    path: Path | str,
    *,
    state: Mapping[str, npt.NDArray[Any]],
    background: npt.NDArray[np.uint8],
    fields: Mapping[str, Any],
) -> Bundle:
    """Write a bundle, and load it back to verify it.

    Parameters
    ----------
    path
        The directory; made when missing. An old bundle there is replaced, its manifest last, so that a reader that
        comes in between sees a digest that does not fit rather than a wrong model.
    state
        State dict: float16, float32 or int64 arrays.
    background
        DeepSHAP references, uint8 (n, height, width).
    fields
        The manifest's fields except the digests and the background's size.

    Raises
    ------
    BundleError
        When an array has another dtype, or the fields do not make a valid manifest.
    """
    import safetensors.numpy

    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    wrong = sorted(key for key, value in state.items() if value.dtype not in _DTYPES)
    if wrong or background.dtype != np.uint8 or background.ndim != 3:
        raise BundleError(
            f"{directory}: weights are float16, float32 or int64, the background uint8 (n, h, w); wrong: {wrong}"
        )
    weights = safetensors.numpy.save({key: np.asarray(value, order="C") for key, value in state.items()})
    references = safetensors.numpy.save({"background": np.ascontiguousarray(background)})
    digests = {"weights_sha256": digest(weights), "background_sha256": digest(references)}
    manifest = _sealed(directory, {**fields, **digests, "background_size": background.shape[0]})
    replace(directory / WEIGHTS, weights)
    replace(directory / BACKGROUND, references)
    _write_manifest(directory, manifest)
    return load(directory)


def replace_background(
    path: Path | str, output: Path | str, background: npt.NDArray[np.uint8], **fields: Any
) -> Bundle:
    """Write a bundle anew with other references; its weights stay the same to the byte.

    Parameters
    ----------
    path
        The bundle's directory.
    output
        Directory of the bundle with the new references; made when missing. It may be `path`.
    background
        DeepSHAP references, uint8 (n, height, width) on the model's grid.
    fields
        Fields of the manifest that change with them; digests and the background's size follow by themselves.

    Raises
    ------
    BundleError
        When the bundle is damaged before, the references have another shape, or a field is unknown or out of range.
    """
    import safetensors.numpy

    bundle, directory = load(path), Path(output)
    p = bundle.manifest.preprocessing
    if background.dtype != np.uint8 or background.ndim != 3 or background.shape[1:] != (p.height, p.width):
        raise BundleError(f"{directory}: the background is uint8 (n, {p.height}, {p.width})")
    references = safetensors.numpy.save({"background": np.ascontiguousarray(background)})
    current = bundle.manifest.model_dump(mode="json")
    derived = {"background_sha256": digest(references), "background_size": background.shape[0]}
    manifest = _sealed(directory, {**current, **fields, **derived})
    directory.mkdir(parents=True, exist_ok=True)
    replace(directory / WEIGHTS, read(bundle.weights_path, _LIMITS[WEIGHTS]))
    replace(directory / BACKGROUND, references)
    _write_manifest(directory, manifest)
    return load(directory)


def update_manifest(path: Path | str, **fields: Any) -> Bundle:
    """Change fields of a bundle's manifest (`map_scale=0.02`, `metrics=[...]`) and give it the digest that follows.

    Raises
    ------
    BundleError
        When the bundle is damaged before, or a field is unknown or out of range.
    """
    bundle = load(path)
    current = bundle.manifest.model_dump(mode="json")
    _write_manifest(bundle.path, _sealed(bundle.path / MANIFEST, {**current, **fields}))
    return load(bundle.path)


def resolve(models: Mapping[str, Bundle], ref: common_pb2.ModelRef, default: str) -> Bundle:
    """Return the bundle that a reference means.

    Parameters
    ----------
    models
        Loaded bundles by name.
    ref
        The request's reference; an empty name means `default`.

    Raises
    ------
    NotFound
        When no bundle of that name is loaded.
    PreconditionFailed
        When the loaded bundle has another version or digest than the reference pins.
    """
    name = ref.name or default
    bundle = models.get(name)
    if bundle is None:
        raise NotFound("model", name, hint="loaded: " + ", ".join(sorted(models)))
    if ref.version and ref.version != bundle.version:
        raise PreconditionFailed(
            f"model {name!r}: version {ref.version} is pinned, {bundle.version} is loaded",
            reason="MODEL_VERSION_NOT_LOADED",
        )
    if ref.digest and ref.digest != bundle.digest:
        raise PreconditionFailed(
            f"model {name!r}: digest {ref.digest} is pinned, {bundle.digest} is loaded",
            reason="MODEL_DIGEST_NOT_LOADED",
        )
    return bundle


def to_ref(bundle: Bundle) -> common_pb2.ModelRef:
    """Return the full reference of a bundle: name, version and digest."""
    return common_pb2.ModelRef(name=bundle.name, version=bundle.version, digest=bundle.digest)


def to_proto(bundle: Bundle, default: str) -> common_pb2.Model:
    """Describe a bundle for the API; `default` is the name of the server's default model."""
    m = bundle.manifest
    use = m.intended_use
    return common_pb2.Model(
        ref=to_ref(bundle),
        arch=m.arch,
        width=m.width,
        classes=[
            common_pb2.ModelClass(index=i, name=c.name, code=common_pb2.Code(**c.code.model_dump()))
            for i, c in enumerate(m.classes)
        ],
        input_height=m.preprocessing.height,
        input_width=m.preprocessing.width,
        preprocessing_version=m.preprocessing.version,
        preprocessing_digest=m.preprocessing.digest,
        preprocessing_geometry=m.preprocessing.geometry,
        intended_use=common_pb2.IntendedUse(**use.model_dump(exclude_none=True)),
        training_data=m.training_data,
        training_data_licence=m.training_data_licence,
        metrics=[common_pb2.ModelMetric(**metric.model_dump(exclude_none=True)) for metric in m.metrics],
        weights_digest=m.weights_sha256,
        background_digest=m.background_sha256,
        background_size=m.background_size,
        background_description=m.background_description,
        calibrated=m.calibrated,
        map_scale=m.map_scale,
        is_default=bundle.name == default,
    )


def _read_manifest(file: Path) -> Manifest:
    raw = read(file, _LIMITS[MANIFEST])
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        raise BundleError(f"{file}: not JSON") from None
    if not isinstance(fields, dict):
        raise BundleError(f"{file}: not a JSON object")
    if isinstance(fields.get("format"), int) and fields["format"] > FORMAT:
        raise BundleError(
            f"{file}: bundle format {fields['format']} is newer than this version of ViDi understands ({FORMAT})"
        )
    try:
        manifest = Manifest.model_validate(fields)
        intact = digest_of(fields) == manifest.digest
    except ValidationError as error:
        raise BundleError(f"{file}: {_first(error)}") from None
    except ValueError:
        raise BundleError(f"{file}: holds NaN or infinite values") from None
    if not intact:
        raise BundleError(f"{file}: does not fit its own digest: it was changed after it was written")
    if manifest.preprocessing.version != PREPROCESSING_VERSION:
        raise BundleError(
            f"{file}: preprocessing version {manifest.preprocessing.version!r}, this ViDi has {PREPROCESSING_VERSION!r}"
        )
    return manifest


def _sealed(where: Path, fields: dict[str, Any]) -> Manifest:
    try:
        return seal(fields)
    except ValidationError as error:
        raise BundleError(f"{where}: {_first(error)}") from None


def _write_manifest(directory: Path, manifest: Manifest) -> None:
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=True) + "\n"
    replace(directory / MANIFEST, text.encode())


def _read_safetensors(file: Path, expected: str) -> dict[str, npt.NDArray[Any]]:
    import safetensors
    import safetensors.numpy

    raw = read(file, _LIMITS[file.name])
    # Verified over the very bytes that are parsed: the file may have been exchanged since `load`.
    if digest(raw) != expected:
        raise BundleError(f"{file}: does not fit the digest in {MANIFEST}: it was changed or damaged")
    try:
        tensors: dict[str, npt.NDArray[Any]] = safetensors.numpy.load(raw)
    except (safetensors.SafetensorError, KeyError, ValueError):
        raise BundleError(f"{file}: not a safetensors file that ViDi understands") from None
    return tensors


def _first(error: ValidationError) -> str:
    """First problem of a validation, without the input's values."""
    problem = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "manifest"
    return f"{where}: {problem['msg']}"
