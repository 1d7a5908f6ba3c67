"""The healthy body of a phantom: attenuation of the torso, ribs, heart and lungs along the X-ray beam.

A film's grey value after the usual logarithm is the attenuation summed along the beam, so organs are added up: soft
tissue by its thickness, bones as thin shells, lungs as air that takes attenuation away. Coordinates are anatomical:
x from -1 (image left, the patient's right) to 1, y from -1 (above the lung apices) to 1 (below the diaphragm).
The shapes are drawn from ranges; they look like a chest at the resolution a network sees, and measure nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.interpolate import CubicSpline
from scipy.ndimage import distance_transform_edt

from vidi.phantoms.fields import Field, Mask, blur

# Outlines from the apex along the chest wall to the costophrenic angle and back along diaphragm and mediastinum.
_RIGHT_LUNG = (
    (0.30, -0.87), (0.46, -0.76), (0.61, -0.46), (0.70, -0.06), (0.745, 0.34), (0.770, 0.66), (0.755, 0.77),
    (0.63, 0.63), (0.46, 0.53), (0.29, 0.53), (0.17, 0.60), (0.15, 0.30), (0.12, 0.00), (0.13, -0.35), (0.17, -0.68),
)  # fmt: skip
_LEFT_LUNG = (
    (0.30, -0.88), (0.46, -0.77), (0.61, -0.47), (0.70, -0.06), (0.745, 0.36), (0.770, 0.70), (0.755, 0.81),
    (0.63, 0.68), (0.50, 0.61), (0.41, 0.60), (0.40, 0.46), (0.27, 0.16), (0.15, -0.05), (0.15, -0.38), (0.18, -0.68),
)  # fmt: skip
_BODY_Y = (-1.6, -1.14, -1.02, -0.90, -0.70, -0.35, 0.0, 0.5, 1.6)
_BODY_HALF_WIDTH = (0.20, 0.23, 0.46, 0.86, 1.08, 1.01, 0.93, 0.91, 0.96)


@dataclass(frozen=True)
class Frame:
    """Where the body lies on the film: anatomical coordinates of every pixel.

    Attributes
    ----------
    x, y
        float32 (height, width).
    unit
        Pixels per anatomical unit.
    """

    x: Field
    y: Field
    unit: float

    def pixels(self, points: npt.NDArray[np.float64], pose: Pose) -> list[tuple[float, float]]:
        """Column and row of anatomical points (n, 2)."""
        height, width = self.x.shape
        c, s = np.cos(pose.angle), np.sin(pose.angle)
        px, py = points[:, 0] * pose.stretch, points[:, 1]
        columns = (c * px - s * py) * self.unit + pose.shift_x * width + (width - 1) / 2
        rows = (s * px + c * py) * self.unit + pose.shift_y * height + (height - 1) / 2
        return list(zip(columns.tolist(), rows.tolist(), strict=True))


@dataclass(frozen=True)
class Pose:
    """Size and position of the body: units over film height, turn in radians, breadth, shifts over film size."""

    scale: float
    angle: float
    stretch: float
    shift_x: float
    shift_y: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Pose:
        """Draw a pose."""
        return cls(
            scale=float(rng.uniform(0.435, 0.505)),
            angle=float(np.deg2rad(rng.normal(0.0, 1.6))),
            stretch=float(rng.uniform(0.93, 1.10)),
            shift_x=float(rng.normal(0.0, 0.012)),
            shift_y=float(rng.normal(0.01, 0.015)),
        )

    def frame(self, shape: tuple[int, int]) -> Frame:
        """Lay the body on a film of `shape` (height, width)."""
        height, width = shape
        unit = self.scale * height
        rows = (np.arange(height, dtype=np.float32) - (height - 1) / 2 - self.shift_y * height)[:, None] / unit
        columns = (np.arange(width, dtype=np.float32) - (width - 1) / 2 - self.shift_x * width)[None, :] / unit
        c, s = float(np.cos(self.angle)), float(np.sin(self.angle))
        x = (c * columns + s * rows) / self.stretch
        return Frame(x.astype(np.float32), (-s * columns + c * rows).astype(np.float32), unit)


@dataclass(frozen=True)
class Body:
    """A healthy body on a film.

    Attributes
    ----------
    attenuation
        float32 (height, width), about 0 (beside the body) to 1.6, without the lungs' air taken away.
    air
        float32 (height, width), thickness of aerated lung along the beam, 0..1.
    lung
        Projection of both lungs, heart shadow and diaphragm left out.
    """

    attenuation: Field
    air: Field
    lung: Mask
    frame: Frame


def draw_body(rng: np.random.Generator, shape: tuple[int, int]) -> Body:
    """Draw a healthy body on a film of `shape` (height, width)."""
    pose = Pose.draw(rng)
    frame = pose.frame(shape)
    lung = _lungs(rng, frame, pose)
    depth = distance_transform_edt(lung).astype(np.float32) / (0.30 * frame.unit)
    air = np.sqrt(1.0 - (1.0 - np.clip(depth, 0.0, 1.0)) ** 2).astype(np.float32)
    air = blur(air, 0.008 * frame.unit)
    total = _torso(rng, frame) + _mediastinum(rng, frame) + _abdomen(rng, frame, lung)
    total += _bones(rng, frame) + _vessels(rng, frame, air)
    return Body(total.astype(np.float32), air, lung, frame)


def _lungs(rng: np.random.Generator, frame: Frame, pose: Pose) -> Mask:
    canvas = Image.new("1", (frame.x.shape[1], frame.x.shape[0]))
    draw = ImageDraw.Draw(canvas)
    depth = rng.normal(0.0, 0.035)
    for side, outline in ((-1.0, _RIGHT_LUNG), (1.0, _LEFT_LUNG)):
        points = np.array(outline) + rng.normal(0.0, 0.012, (len(outline), 2))
        points[points[:, 1] > 0.45, 1] += depth + rng.normal(0.0, 0.012)
        closed = np.vstack([points, points[:1]])
        spline = CubicSpline(np.arange(len(closed)), closed, bc_type="periodic")
        curve = spline(np.linspace(0.0, len(points), 240))
        draw.polygon(frame.pixels(curve * (side, 1.0), pose), fill=1)
    return np.asarray(canvas, bool)


def _torso(rng: np.random.Generator, frame: Frame) -> Field:
    half = np.interp(frame.y, _BODY_Y, _BODY_HALF_WIDTH) * rng.uniform(0.97, 1.06)
    inside = np.clip(1.0 - (np.abs(frame.x) / half) ** 2, 0.0, 1.0)
    trunk = 0.62 * inside**0.38 * (0.92 + 0.13 * np.clip(frame.y, -1.0, 1.2))
    # Shoulders are thin, so the film is brighter in the axilla only through the muscles of the chest wall.
    wall = 0.10 * np.exp(-(((np.abs(frame.x) - 0.86) / 0.09) ** 2)) * np.clip(1.0 - np.abs(frame.y + 0.2), 0.0, 1.0)
    soft = (trunk + np.where(inside > 0.0, wall, 0.0)).astype(np.float32)
    breast = rng.uniform(0.0, 0.14)
    for side in (-1.0, 1.0):
        r = ((frame.x - side * 0.47) / 0.30) ** 2 + ((frame.y - 0.42) / 0.26) ** 2
        soft += (breast * np.sqrt(np.clip(1.0 - r, 0.0, 1.0))).astype(np.float32)
    return blur(soft, 0.012 * frame.unit)


def _mediastinum(rng: np.random.Generator, frame: Frame) -> Field:
    x, y = frame.x, frame.y
    heart_size = rng.uniform(0.90, 1.10)
    width = np.interp(y, (-1.3, -0.9, -0.5, -0.2, 0.1, 1.2), (0.11, 0.12, 0.145, 0.16, 0.15, 0.14))
    trunk = 0.10 * (1.0 - np.tanh((np.abs(x) - width) / 0.028))
    knob = 0.10 * _ellipsoid(x - 0.13, y + 0.34, 0.105, 0.115)
    u = (x - 0.115) * np.cos(0.55) + (y - 0.36) * np.sin(0.55)
    v = -(x - 0.115) * np.sin(0.55) + (y - 0.36) * np.cos(0.55)
    heart = 0.25 * np.sqrt(_ellipsoid(u, v, 0.42 * heart_size, 0.30 * heart_size))
    atrium = 0.14 * _ellipsoid(x + 0.085, y - 0.30, 0.125 * heart_size, 0.27)
    trachea = -0.12 * np.exp(-((x / 0.042) ** 2)) * np.clip((-0.22 - y) / 0.05, 0.0, 1.0)
    hila = sum(
        0.13 * np.exp(-(((np.abs(x) - 0.20) / 0.075) ** 2) - ((y - offset) / 0.13) ** 2) * (x * side > 0)
        for side, offset in ((-1.0, -0.04), (1.0, -0.09))
    )
    return blur((trunk + knob + heart + atrium + trachea + hila).astype(np.float32), 0.008 * frame.unit)


def _ellipsoid(x: Field, y: Field, a: float, b: float) -> Field:
    return np.asarray(np.sqrt(np.clip(1.0 - (x / a) ** 2 - (y / b) ** 2, 0.0, 1.0)), np.float32)


def _abdomen(rng: np.random.Generator, frame: Frame, lung: Mask) -> Field:
    """Liver and spleen below the diaphragm, a bubble of stomach gas below the left dome."""
    below = np.clip((frame.y - 0.50) / 0.12, 0.0, 1.0) * (~lung)
    inside = 0.5 - 0.5 * np.tanh((np.abs(frame.x) - 0.84) / 0.05)
    dense = blur((0.20 * below * inside).astype(np.float32), 0.012 * frame.unit)
    bubble = rng.uniform(0.0, 0.28) * _ellipsoid(
        frame.x - rng.uniform(0.36, 0.46), frame.y - rng.uniform(0.80, 0.88), rng.uniform(0.10, 0.17), 0.07
    )
    return dense - blur(bubble, 0.010 * frame.unit)


def _bones(rng: np.random.Generator, frame: Frame) -> Field:
    x, y = frame.x, frame.y
    side = np.abs(x)
    bone = np.zeros_like(x)
    tilt, spacing = rng.uniform(0.9, 1.1), rng.uniform(0.165, 0.185)
    reach = np.clip((0.82 - side) / 0.03, 0.0, 1.0)
    for i in range(9):
        # Posterior ribs leave the spine, rise slightly and fall along the chest wall; they widen the cage downwards.
        wall = float(np.interp(i, (0, 2, 4, 8), (0.48, 0.66, 0.75, 0.79)))
        t = np.clip(side / wall, 0.0, 1.2)
        back = -0.86 + spacing * i + tilt * (-0.07 * np.sin(2.4 * t) + 0.20 * t * t * t + 0.03 * i / 8)
        bone += 0.105 * _tube(y - back, 0.033) * (side > 0.05) * np.clip((wall + 0.015 - side) / 0.02, 0.0, 1.0)
        if i < 7:  # Anterior ribs fall from the chest wall towards the sternum and end in cartilage.
            front = -0.58 + spacing * i * 1.06 + tilt * (0.34 * (1.0 - t) + 0.05 * np.sin(3.0 * t))
            fade = np.clip((side - 0.26 - 0.02 * i) / 0.10, 0.0, 1.0)
            bone += 0.060 * _tube(y - front, 0.038) * fade * np.clip((wall + 0.01 - side) / 0.02, 0.0, 1.0)
    bone *= reach
    collar = -0.73 + 0.02 * np.sin(5.0 * side) - 0.16 * (side - 0.08) + rng.normal(0.0, 0.015)
    bone += (
        0.15 * _tube(y - collar, 0.036) * np.clip((side - 0.06) / 0.03, 0.0, 1.0) * np.clip((0.86 - side) / 0.05, 0, 1)
    )
    blade = np.abs(side - 0.70 - 0.16 * (y + 0.45))
    bone += 0.055 * np.exp(-((blade / 0.022) ** 2)) * np.clip((0.10 - np.abs(y + 0.45) + 0.28) / 0.1, 0.0, 1.0)
    discs = 0.5 + 0.5 * np.tanh(3.0 * np.cos((2 * np.pi / 0.155) * y))
    bone += (0.035 + 0.02 * discs) * (1.0 - np.tanh((side - 0.075) / 0.016))
    return blur(bone.astype(np.float32), 0.005 * frame.unit)


def _tube(distance: npt.NDArray[np.floating], radius: float) -> Field:
    """Line integral through a hollow tube: bright cortex at both edges, less in the marrow."""
    r = np.clip(np.abs(distance) / radius, 0.0, 1.0)
    outer = np.sqrt(1.0 - r**2)
    inner = np.sqrt(np.clip(1.0 - (r / 0.72) ** 2, 0.0, 1.0)) * 0.72
    return np.asarray((outer - 0.75 * inner + 0.1 * outer).astype(np.float32) * 1.4, np.float32)


def _vessels(rng: np.random.Generator, frame: Frame, air: Field) -> Field:
    """Vessels that branch from the hila and thin out towards the chest wall."""
    height, width = air.shape
    canvas = Image.new("F", (width, height))
    draw = ImageDraw.Draw(canvas)
    flat = Pose(frame.unit / height, 0.0, 1.0, 0.0, 0.0)
    for side in (-1.0, 1.0):
        for angle in np.linspace(-1.35, 1.30, 11) + rng.normal(0.0, 0.09, 11):
            start = np.array((side * 0.17, -0.04 if side < 0 else -0.09))
            _branch(rng, draw, frame, flat, start, float(angle), side, 0.020, 4)
    drawn = blur(np.asarray(canvas, np.float32), 0.006 * frame.unit)
    return np.asarray(drawn * np.clip(air * 1.4, 0.0, 1.0), np.float32)


def _branch(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    frame: Frame,
    pose: Pose,
    start: npt.NDArray[np.float64],
    angle: float,
    side: float,
    radius: float,
    depth: int,
) -> None:
    length = rng.uniform(0.10, 0.19)
    bend = angle + rng.normal(0.0, 0.12)
    end = start + length * np.array((side * np.cos(bend), np.sin(bend)))
    line = frame.pixels(np.stack([start, end]), pose)
    draw.line(line, fill=5.5 * radius, width=max(1, round(radius * frame.unit)))
    if depth > 0:
        for turn in (-1.0, 1.0):
            _branch(rng, draw, frame, pose, end, bend + turn * rng.uniform(0.12, 0.38), side, radius * 0.68, depth - 1)
