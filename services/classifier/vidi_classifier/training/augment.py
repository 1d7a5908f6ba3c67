"""Random changes of training films, whole batches at a time.

Global brightness, contrast and aspect ratio tell normal from pneumonic films of the Kermany collection almost by
themselves (balanced accuracy 0.81 from six intensity statistics). All three are therefore drawn anew for every film, so
that the network has to look at the lungs. Flips and small rotations are the paper's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; each is drawn uniformly from plus to minus the value.

    Attributes
    ----------
    flip
        Probability of a mirror image.
    degrees
        Rotation in degrees.
    shift
        Shift along each axis, as a part of the film's side.
    zoom
        Natural logarithm of the magnification.
    aspect
        Natural logarithm of the change of the aspect ratio.
    gamma
        Natural logarithm of the exponent applied to grey values.
    contrast
        Natural logarithm of the gain around the film's mean.
    brightness
        Offset of grey values in 0..1.
    blur
        Probability of halving the resolution and going back.
    noise
        Standard deviation of white noise at most.
    """

    flip: float = 0.5
    degrees: float = 10.0
    shift: float = 0.06
    zoom: float = 0.12
    aspect: float = 0.15
    gamma: float = 0.4
    contrast: float = 0.3
    brightness: float = 0.12
    blur: float = 0.3
    noise: float = 0.02

    def __call__(self, films: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Change films (n, 1, height, width) in 0..1; the result has the same shape and range."""
        films = self._warp(films, generator)
        films = self._intensity(films, generator)
        return self._degrade(films, generator).clamp_(0.0, 1.0)

    def _warp(self, films: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        n = films.shape[0]
        angle = _uniform(n, math.radians(self.degrees), generator)
        scale = torch.exp(_uniform(n, self.zoom, generator))
        stretch = torch.exp(0.5 * _uniform(n, self.aspect, generator))
        mirror = 1.0 - 2.0 * (torch.rand(n, generator=generator) < self.flip).float()
        cos, sin = torch.cos(angle), torch.sin(angle)
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0] = mirror * cos * scale * stretch
        theta[:, 0, 1] = -mirror * sin * scale * stretch
        theta[:, 1, 0] = sin * scale / stretch
        theta[:, 1, 1] = cos * scale / stretch
        theta[:, 0, 2] = 2 * _uniform(n, self.shift, generator)
        theta[:, 1, 2] = 2 * _uniform(n, self.shift, generator)
        grid = F.affine_grid(theta, list(films.shape), align_corners=False)
        return F.grid_sample(films, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _intensity(self, films: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        n = films.shape[0]
        gamma = torch.exp(_uniform(n, self.gamma, generator))[:, None, None, None]
        gain = torch.exp(_uniform(n, self.contrast, generator))[:, None, None, None]
        offset = _uniform(n, self.brightness, generator)[:, None, None, None]
        films = films.clamp_min(1e-6).pow(gamma)
        mean = films.mean((1, 2, 3), keepdim=True)
        return (films - mean) * gain + mean + offset

    def _degrade(self, films: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        n = films.shape[0]
        soft = (torch.rand(n, generator=generator) < self.blur)[:, None, None, None]
        half = F.avg_pool2d(films, 2)
        blurred = F.interpolate(half, size=films.shape[-2:], mode="bilinear", align_corners=False)
        films = torch.where(soft, blurred, films)
        strength = (self.noise * torch.rand(n, generator=generator))[:, None, None, None]
        return films + strength * torch.randn(films.shape, generator=generator)


def _uniform(n: int, half_width: float, generator: torch.Generator | None) -> torch.Tensor:
    return half_width * (2.0 * torch.rand(n, generator=generator) - 1.0)
