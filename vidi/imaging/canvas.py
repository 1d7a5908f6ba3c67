"""Drawing on a dark panel: text that wraps, tiles, watermarks. Pillow's built-in font, which is the same everywhere."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

RGB = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

BACKGROUND: Colour = (13, 16, 20)
TEXT: Colour = (226, 230, 235)
FAINT: Colour = (150, 158, 168)
WARNING: Colour = (255, 196, 84)


class Canvas:
    """A picture that is drawn on from the top down.

    Parameters
    ----------
    width, height
        Size in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), BACKGROUND)
        self._draw = ImageDraw.Draw(self.image)

    def text(
        self, x: int, y: int, text: str, *, size: int, colour: Colour = TEXT, anchor: str = "la", shadow: bool = False
    ) -> None:
        """Write one line; `anchor` is Pillow's. A shadow keeps it readable on a film."""
        outline = max(1, size // 9) if shadow else 0
        self._draw.text(
            (x, y), text, fill=colour, font=font(size), anchor=anchor, stroke_width=outline, stroke_fill=(0, 0, 0)
        )

    def paste(self, x: int, y: int, rgb: RGB) -> None:
        """Place a picture (height, width, 3)."""
        self.image.paste(Image.fromarray(rgb), (x, y))

    def frame(self, x: int, y: int, width: int, height: int) -> None:
        """Draw a thin frame around a tile."""
        self._draw.rectangle((x - 1, y - 1, x + width, y + height), outline=(52, 58, 66))

    def line(self, start: tuple[int, int], end: tuple[int, int], colour: Colour = FAINT) -> None:
        """Draw a thin line."""
        self._draw.line((start, end), fill=colour)

    def watermark(self, x: int, y: int, width: int, height: int, text: str) -> None:
        """Write a translucent text across a tile, from lower left to upper right."""
        angle = float(np.rad2deg(np.arctan2(height, width)))
        diagonal = 0.80 * float(np.hypot(width, height))
        size = max(12, int(100 * diagonal / max(1.0, length(text, 100))))
        size = min(size, height // 5)
        # White with a dark rim: seen on lungs and on bone alike, and neutral, since colours belong to the attribution.
        for colour, rim, opacity in (((0, 0, 0), max(2, size // 24), 56), ((255, 255, 255), 0, 60)):
            band = Image.new("L", (int(length(text, size)) + size, 2 * size), 0)
            place = (size // 2, size)
            ImageDraw.Draw(band).text(place, text, fill=opacity, font=font(size), anchor="lm", stroke_width=rim)
            turned = band.rotate(angle, expand=True, resample=Image.Resampling.BICUBIC)
            mask = Image.new("L", (width, height), 0)
            mask.paste(turned, ((width - turned.width) // 2, (height - turned.height) // 2))
            self.image.paste(Image.new("RGB", (width, height), colour), (x, y), mask)

    def rgb(self) -> RGB:
        """The picture, uint8 (height, width, 3)."""
        return np.array(self.image, np.uint8)


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font."""
    return ImageFont.load_default(size)


def length(text: str, size: int) -> float:
    """Width of a line in pixels."""
    return float(font(size).getlength(text))


def wrap(text: str, width: int, size: int) -> list[str]:
    """Break a text into lines of at most `width` pixels, at spaces, or within words that are too long."""
    lines: list[str] = []
    current = ""
    for word in text.split():
        candidate = f"{current} {word}".strip()
        if length(candidate, size) <= width:
            current = candidate
            continue
        if current:
            lines.append(current)
        while length(word, size) > width and len(word) > 1:
            # No letter is narrower than a fifth of its size.
            most = min(len(word) - 1, 5 * width // size)
            cut = next((n for n in range(most, 1, -1) if length(word[:n], size) <= width), 1)
            lines.append(word[:cut])
            word = word[cut:]
        current = word
    return [*lines, current] if current else lines
