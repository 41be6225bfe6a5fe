"""Paths from data to noise: x_t = alpha(t) x0 + sigma(t) eps, with t from 0 (data) to 1 (noise).

Flow is arXiv:2210.02747, eq. 22 (sigma_min = 0); VP is the cosine schedule of arXiv:2102.09672, eq. 17 (s = 0);
VE is arXiv:2206.00364 (EDM), sigma proportional to time.

Shapes: B batch, ... any shape of a sample. A time is one number for all (no dimensions) or one for each sample (B,).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Path(ABC):
    """How data becomes noise. What a network says (x0, noise or velocity) can be turned into the other two."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """How much of the data is left at time t."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """How much noise there is at time t."""

    @abstractmethod
    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives of alpha and sigma with respect to t."""

    @abstractmethod
    def time(self, ratio: Tensor) -> Tensor:
        """The time at which sigma / alpha is `ratio`."""

    def ratio(self, t: Tensor) -> Tensor:
        """Noise to data, sigma / alpha; infinite where no data is left."""
        return self.sigma(t) / self.alpha(t)

    def mix(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t of data and noise."""
        t = _like(t, x0)
        return self.alpha(t) * x0 + self.sigma(t) * eps

    def noise(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise in x_t, if its data is x0; t > 0."""
        t = _like(t, x)
        return (x - self.alpha(t) * x0) / self.sigma(t)

    def data(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """The data in x_t, if its noise is eps; t < 1 where all is noise at 1."""
        t = _like(t, x)
        return (x - self.sigma(t) * eps) / self.alpha(t)

    def velocity(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """dx_t/dt, if the data is x0; t > 0."""
        d_alpha, d_sigma = self.rates(_like(t, x))
        return d_alpha * x0 + d_sigma * self.noise(x, x0, t)

    def data_from_velocity(self, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """The data in x_t, if dx_t/dt is `velocity`; any t."""
        t = _like(t, x)
        alpha, sigma, (d_alpha, d_sigma) = self.alpha(t), self.sigma(t), self.rates(t)
        return (d_sigma * x - sigma * velocity) / (alpha * d_sigma - sigma * d_alpha)

    def step(self, x: Tensor, x0: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """x_s from x_t if data and noise stay as they are: DDIM, arXiv:2010.02502, eq. 12 without fresh noise; t > 0.

        For Flow this is Euler's step, x + (s - t) v.
        """
        kept = self.sigma(s) / self.sigma(t)
        return kept * x + (self.alpha(s) - kept * self.alpha(t)) * x0


def _like(t: Tensor, x: Tensor) -> Tensor:
    """t with as many dimensions as x, to multiply it with; one number stays one number."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)) if t.ndim else t


@dataclass(frozen=True)
class Flow(Path):
    """The straight line: x_t = (1 - t) x0 + t eps, so the velocity is eps - x0."""

    def alpha(self, t: Tensor) -> Tensor:
        """1 - t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """Time itself."""
        return t

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """-1 and 1."""
        return -torch.ones_like(t), torch.ones_like(t)

    def time(self, ratio: Tensor) -> Tensor:
        """r / (1 + r), written so that an infinite ratio gives 1."""
        return 1 - 1 / (1 + ratio)


@dataclass(frozen=True)
class VP(Path):
    """The quarter circle: alpha = cos(t pi/2), sigma = sin(t pi/2), so that alpha^2 + sigma^2 = 1."""

    def alpha(self, t: Tensor) -> Tensor:
        """The cosine, and exactly 0 at the end: float pi/2 is a little short of it."""
        return torch.where(t == 1, 0.0, torch.cos(t * (math.pi / 2)))

    def sigma(self, t: Tensor) -> Tensor:
        """The sine."""
        return torch.sin(t * (math.pi / 2))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives of cosine and sine."""
        return -math.pi / 2 * self.sigma(t), math.pi / 2 * self.alpha(t)

    def time(self, ratio: Tensor) -> Tensor:
        """The angle."""
        return torch.atan(ratio) * (2 / math.pi)


@dataclass(frozen=True)
class VE(Path):
    """The data stays and noise is added to it: alpha = 1, sigma = t sigma_max."""

    sigma_max: float = 80.0

    def alpha(self, t: Tensor) -> Tensor:
        """Always 1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """In proportion to time."""
        return t * self.sigma_max

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """0 and sigma_max."""
        return torch.zeros_like(t), torch.full_like(t, self.sigma_max)

    def time(self, ratio: Tensor) -> Tensor:
        """Sigma as a part of the largest."""
        return ratio / self.sigma_max


PATHS: dict[str, Path] = {"flow": Flow(), "vp": VP(), "ve": VE()}
