"""One film's picture: the film, favorable and glum overlay of every class, and a legend."""

from __future__ import annotations

import io

from PIL import Image

from vidi.imaging import overlay
from vidi.imaging.canvas import RGB
from vidi_gateway.objects import codes
from vidi_gateway.objects.film import Film


def compose(film: Film) -> RGB:
    """Compose the picture (rows, columns, 3), uint8. No value of the header stands in it."""
    outcome, model = film.outcome, film.outcome.model
    return overlay.compose(
        film.pixels,
        [(codes.printable(c.name), c.probability, c.map) for c in outcome.classes],
        scale=model.map_scale,
        grid_to_film=outcome.map_to_film,
        title=_title(film),
        watermark="OUTSIDE INTENDED USE" if outcome.out_of_population else "",
        side_labels=_sides(film.orientation),
        calibrated=model.calibrated,
    )


def png(rgb: RGB) -> bytes:
    """Return a picture as PNG, without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(rgb, mode="RGB").save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def _title(film: Film) -> list[str]:
    outcome, model = film.outcome, film.outcome.model
    top = outcome.favoured
    calibration = "calibrated" if model.calibrated else "not calibrated"
    lines = [
        f"ViDi {film.options.software_version}, model {model.name} {model.version}, {model.digest[:19]}",
        f"Model favours its class '{top.name}': {top.probability:.2f} ({calibration})",
    ]
    if model.content_qualification.upper() != "PRODUCT":
        lines.append("RESEARCH: not cleared for clinical use.")
    lines += [f"{n.code}: {n.message}" for n in outcome.notes]
    return [codes.printable(line) for line in lines]


def _sides(orientation: tuple[str, str] | None) -> tuple[str, str]:
    """Return what the picture's left and right are: the patient's sides where the header says so, else the image's."""
    if orientation is not None and orientation[0][0] in "RL":
        towards = orientation[0][0]
        return ("R", "L") if towards == "L" else ("L", "R")
    return ("image-left", "image-right")
