"""Affine transforms between pixel grids."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Affine:
    """x' = a x + b y + c, y' = d x + e y + f.

    x counts columns and y rows from 0 at the centre of the first pixel, in pixels of the respective grid.
    """

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0
    e: float = 1.0
    f: float = 0.0

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        """Transform one point (column, row)."""
        return self.a * x + self.b * y + self.c, self.d * x + self.e * y + self.f

    def after(self, first: Affine) -> Affine:
        """Return the transform that applies `first` and then this one."""
        return Affine(
            self.a * first.a + self.b * first.d,
            self.a * first.b + self.b * first.e,
            self.a * first.c + self.b * first.f + self.c,
            self.d * first.a + self.e * first.d,
            self.d * first.b + self.e * first.e,
            self.d * first.c + self.e * first.f + self.f,
        )

    def inverse(self) -> Affine:
        """Return the inverse transform.

        Raises
        ------
        ValueError
            When the transform is singular.
        """
        det = self.a * self.e - self.b * self.d
        if det == 0.0:
            raise ValueError("singular transform")
        a, b, d, e = self.e / det, -self.b / det, -self.d / det, self.a / det
        return Affine(a, b, -(a * self.c + b * self.f), d, e, -(d * self.c + e * self.f))

    @classmethod
    def between_grids(cls, source: tuple[int, int], target: tuple[int, int]) -> Affine:
        """Return the transform from pixels of `source` (height, width) to `target`: grids over the same area."""
        sy, sx = target[0] / source[0], target[1] / source[1]
        return cls(sx, 0.0, (sx - 1) / 2, 0.0, sy, (sy - 1) / 2)
