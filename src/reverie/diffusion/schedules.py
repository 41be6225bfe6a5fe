"""Schedules: the times at which a sampler looks, falling from `start` to 0. N steps have N + 1 times."""

from __future__ import annotations

import torch
from torch import Tensor

from reverie.diffusion.paths import Path


def uniform(steps: int, start: float = 1.0) -> Tensor:
    """Equal steps in time. start: where to begin; below 1, a part of the picture is already there. -> (steps + 1,)"""
    return torch.linspace(start, 0.0, steps + 1, dtype=torch.float64)


def shifted(steps: int, by: float = 3.0, start: float = 1.0) -> Tensor:
    """More steps where there is much noise: arXiv:2403.03206, eq. 23; the odds of t grow by `by` (1 is uniform)."""
    return start * shift(uniform(steps), by)


def shift(t: Tensor, by: float) -> Tensor:
    """Times whose odds are `by` times as high: arXiv:2403.03206, eq. 23. 0 and 1 stay."""
    return by * t / (1 + (by - 1) * t)


def karras(
    steps: int, path: Path, *, start: float = 1.0, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Tensor:
    """Noise levels equally spaced in sigma^(1/rho), then 0: arXiv:2206.00364, eq. 5, with sigma meaning sigma / alpha.

    The path's own largest level at `start` is used where it is below sigma_max.
    """
    largest = path.ratio(torch.tensor(start, dtype=torch.float64)).clamp(max=sigma_max)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    high, low = largest ** (1 / rho), sigma_min ** (1 / rho)
    levels = (high + ramp * (low - high)) ** rho
    return torch.cat([path.time(levels), torch.zeros(1, dtype=torch.float64)])
