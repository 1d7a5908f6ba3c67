"""Fetching an export into a folder. The export's secret is made here, and forgotten when the last film is there."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vidi import __version__
from vidi.errors import InvalidInput, NotFound, PreconditionFailed
from vidi_gateway.export.secret import Names

MANIFEST = "manifest.json"
_COLUMNS = ("name", "patient_id", "study_instance_uid", "sop_instance_uid", "label", "prediction", "calibrated")
_MODEL = ("model", "model_version", "model_digest", "background_digest", "explained_by", "warnings")
_README = """Films and results of a cohort, de-identified (DICOM PS3.15 annex E). For research, not for diagnosis.

films/NAME.dcm   the film: native pixels as the device stored them
maps/NAME.npz    map_<class> (float32, logits per pixel of what the model saw), attribution_vector, map_to_film
labels.csv       a row a film: names in this export, label, prediction, probabilities, logits, model
manifest.json    what was done, with what, and digests of all files

Names were made under a secret that nobody has kept: nothing leads back to the patients, or to another export.
Words that are burned into pixels are found only where a film's header says so. Labels are as they were given.
"""


class Gateway(Protocol):
    """What an export is fetched from."""

    def get(self, path: str, **parameters: Any) -> Any:
        """Return what a resource holds."""

    def download(self, path: str, body: Any) -> bytes:
        """Send JSON and return the answer as it is."""


@dataclass(frozen=True)
class Request:
    """What to export; see `vidi_gateway.export.profile.Options`. `actor` is who asks."""

    cohort_id: str
    model: str = ""
    keep_age_and_sex: bool = False
    shift_dates: bool = False
    actor: str = ""


def download(gateway: Gateway, asked: Request, output: Path, *, show_progress: bool = True) -> dict[str, Any]:
    """Export a cohort into a folder, and return the manifest. The manifest is written last: with it, it is complete.

    Raises
    ------
    InvalidInput
        The folder is not empty, or cannot be written.
    NotFound
        No such cohort.
    ViDiError
        What the gateway says.
    """
    cohort = gateway.get(f"/api/v1/cohorts/{asked.cohort_id}")
    _prepare(output)
    names = Names.new()
    # Not in the cohort's order: it would be a map back for whoever knows the cohort.
    film_ids = sorted(cohort["film_ids"], key=names.film)
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    digests: dict[str, str] = {}
    for film_id in _shown(film_ids, show_progress):
        try:
            rows.append(_one(gateway, asked, names, film_id, output, digests))
        except (PreconditionFailed, InvalidInput, NotFound) as e:
            if e.reason == "PEER_UNKNOWN":
                raise
            left_out[e.reason] += 1
    for name, text in (("labels.csv", _table(rows)), ("README.txt", _README)):
        (output / name).write_text(text, "utf-8")
        digests[name] = hashlib.sha256(text.encode()).hexdigest()
    manifest = _manifest(asked, rows, left_out, digests)
    (output / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", "utf-8")
    return manifest


def _one(
    gateway: Gateway, asked: Request, names: Names, film_id: str, output: Path, digests: dict[str, str]
) -> dict[str, Any]:
    body = {"film_id": film_id, "secret": names.secret.hex(), **vars(asked)}
    packed = gateway.download("/api/v1/operations/export/film", body)
    name = names.film(film_id)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        row: dict[str, Any] = json.loads(archive.read("film.json"))
        for member, target in (("film.dcm", f"films/{name}.dcm"), ("maps.npz", f"maps/{name}.npz")):
            data = archive.read(member)
            (output / target).write_bytes(data)
            digests[target] = hashlib.sha256(data).hexdigest()
    return row


def _prepare(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise InvalidInput(f"{output} is not empty", field="output")
        for folder in ("films", "maps"):
            (output / folder).mkdir()
    except OSError as e:
        raise InvalidInput(f"{output} cannot be written: {e.strerror}", field="output") from None


def _shown(film_ids: list[str], show_progress: bool) -> Iterator[str]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (show_progress and console.is_terminal)) as bar:
        yield from bar.track(film_ids, description="films")


def _table(rows: list[dict[str, Any]]) -> str:
    classes = sorted({name for row in rows for name in row["probabilities"]})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    numbers = [f"{kind}_{name}" for kind in ("probability", "logit") for name in classes]
    writer.writerow([*_COLUMNS, *numbers, *_MODEL])
    for row in sorted(rows, key=lambda r: str(r["name"])):
        values = [row[k].get(name, "") for k in ("probabilities", "logits") for name in classes]
        model = [" ".join(row[k]) if k == "warnings" else row[k] for k in _MODEL]
        writer.writerow([*("" if row[k] is None else row[k] for k in _COLUMNS), *values, *model])
    return buffer.getvalue()


def _manifest(
    asked: Request, rows: list[dict[str, Any]], left_out: Counter[str], digests: dict[str, str]
) -> dict[str, Any]:
    options = (
        ("Retain Patient Characteristics: age (90 and more is 90) and sex", asked.keep_age_and_sex),
        ("Retain Longitudinal Temporal Information, Modified Dates", asked.shift_dates),
    )
    models = {(r["model"], r["model_version"], r["model_digest"], r["background_digest"], r["edition"]) for r in rows}
    return {
        "format": 1,
        "made": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "made_with": f"ViDi {__version__}",
        "films": len(rows),
        "patients": len({r["patient_id"] for r in rows}),
        "left_out": dict(left_out),
        "deidentification": {
            "profile": "DICOM PS3.15 annex E, Basic Application Confidentiality Profile",
            "editions": sorted({m[4] for m in models}),
            "options": [words for words, kept in options if kept],
            "beyond_the_profile": [
                "positive list of attributes; private attributes, overlays and curves removed",
                "pixels decoded and written again natively",
                "films whose header says that annotations are burned in are left out",
                "names under a secret that was not kept; films in the order of their names",
            ],
            "not_done": ["pixels were not searched for words", "labels were not looked at"],
        },
        "models": [
            {"name": name, "version": version, "digest": digest, "background_digest": background}
            for name, version, digest, background, _ in sorted(models)
        ],
        "sha256": dict(sorted(digests.items())),
    }
