"""What the builders of one film's objects share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset
from pydicom.uid import UID

from vidi.errors import InvalidInput
from vidi_gateway.objects import base, common, repeats, source, uids
from vidi_gateway.objects.identity import identity_digest
from vidi_gateway.objects.parts import BuildOptions, FilmPart
from vidi_gateway.outcome import FilmOutcome

LIBRARIES = (highdicom.__version__, pydicom.__version__)
"""They write bytes, so that their versions go into all UIDs."""

# What a picture may say of a view: defined terms and what else is common, never free text of a header.
_VIEWS = frozenset({"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LAT", "LATERAL", "OBLIQUE"})


@dataclass(frozen=True)
class SourceImage:
    """The film that the results are about. Empty UIDs are those that its header does not validly have."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str

    @property
    def referable(self) -> bool:
        """Whether an object can refer to it without naming a UID that does not exist."""
        return all((self.sop_class_uid, self.sop_instance_uid, self.series_instance_uid, self.study_instance_uid))

    def reference(self) -> Dataset:
        """Return a reference to it (PS3.3 table 10-11)."""
        return common.reference(self.sop_class_uid, self.sop_instance_uid)


@dataclass(frozen=True, eq=False)
class Film:
    """All that the builders of one film share.

    Attributes
    ----------
    film_id, outcome, options
        As given to `build_study`.
    base
        Patient, study and general attributes, copied from the header once.
    source
        The film itself.
    pixels
        Its picture (rows, columns), float32 in 0..1.
    fingerprint
        Digest over everything that goes into the objects about this film alone; their UIDs derive from it.
    spacing
        Distance of the film's pixel centres in mm (between rows, between columns), None when unknown.
    orientation
        The film's PatientOrientation, None when unknown.
    view, acquired
        Its view, such as "PA", and when it was exposed (see `repeats.acquired`); empty when unknown.
    lossy
        What the header says of lossy compression.
    """

    film_id: str
    base: Dataset
    source: SourceImage
    outcome: FilmOutcome
    options: BuildOptions
    pixels: npt.NDArray[np.float32]
    fingerprint: str
    spacing: tuple[float, float] | None
    orientation: tuple[str, str] | None
    view: str
    acquired: str
    lossy: Dataset

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the film."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def uid(self, kind: str, *parts: str) -> UID:
        """Return the deterministic UID of something that belongs to this film's results."""
        return uids.derive(kind, self.fingerprint, *parts)


def film_of(part: FilmPart, options: BuildOptions) -> Film:
    """Read from a part what the objects need.

    Raises
    ------
    InvalidInput
        When the picture does not have two axes, or the time of creation no time zone.
    """
    if part.film.ndim != 2 or 0 in part.film.shape:
        raise InvalidInput("the picture of a film must have two axes", field="film")
    header, outcome = part.header, part.outcome
    pixels = np.ascontiguousarray(part.film, dtype=np.float32)
    pixel_digest = "sha256:" + hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    image = SourceImage(
        source.uid(header, "SOPClassUID"),
        source.uid(header, "SOPInstanceUID"),
        source.uid(header, "SeriesInstanceUID"),
        source.study_uid(header),
    )
    identity = identity_digest(header)
    created = part.created or options.created
    study_uid = image.study_instance_uid or uids.derive("study", image.sop_instance_uid, identity, pixel_digest)
    attributes, lossy = base.of_header(header, study_uid, created, options), base.lossy_of(header)
    spacing, orientation = source.spacing(header), source.patient_orientation(header)
    view = source.code_string(header, "ViewPosition", tuple(_VIEWS))
    acquired = repeats.acquired(header)
    fingerprint = uids.digest_of(
        uids.BUILDER_VERSION,
        LIBRARIES,
        (image.sop_instance_uid, image.sop_class_uid, image.series_instance_uid, image.study_instance_uid),
        identity,
        base.values_of(attributes, lossy),
        (str(spacing), str(orientation), view, acquired),
        pixel_digest,
        outcome.explanation_key,
        outcome.digest,
        (options.software_version, options.device_serial, created.isoformat()),
    )
    return Film(
        film_id=part.film_id,
        base=attributes,
        source=image,
        outcome=outcome,
        options=options,
        pixels=pixels,
        fingerprint=fingerprint,
        spacing=spacing,
        orientation=orientation,
        view=view,
        acquired=acquired,
        lossy=lossy,
    )
