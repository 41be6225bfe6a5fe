"""The denoiser as a family: how it is built, learns and generates.

B batch, C channels, F frames, H x W picture in model space, T prompt tokens, E width of the prompt's states
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from reverie.diffusion.generate import Drawing, generate
from reverie.diffusion.guidance import Condition
from reverie.diffusion.model import Denoiser, DenoiserConfig, Read
from reverie.diffusion.paths import Flow
from reverie.diffusion.schedules import uniform
from reverie.types import DiffusionRequest, Step

PATH = Flow()
DROPPED = 0.1  # the share of examples whose prompt is not told, so that guidance has something to go away from
LEAST_TIME = 1e-3  # where the velocity is still a number


class Diffusion:
    """Turn noise into a clean sample, a little at a time."""

    looks = 4  # at each sample in a step of training

    def build(self, config: DenoiserConfig) -> Denoiser:
        """A denoiser with fresh weights."""
        return fresh(Denoiser(config))

    def loss(self, model: Denoiser, batch: Tensor, condition: Condition, rng: torch.Generator) -> Tensor:
        """Mean squared error of the velocity of samples (B, C, F, H, W), each at `looks` times and with as many noises.

        Making a sample costs a third of a look at it, and the noise varies more than the samples do.
        """
        n, device = self.looks * len(batch), batch.device
        clean = batch.repeat(self.looks, 1, 1, 1, 1)
        t = self.times(n, batch.shape[2], rng, device)  # (n, F)
        told = torch.rand(n, generator=rng, device=device) >= DROPPED
        x = PATH.mix(clean, torch.randn(clean.shape, generator=rng, device=device), of_frames(t))
        states, mask = (part.to(device).repeat(self.looks, *[1] * (part.ndim - 1)) for part in condition)
        states, mask = states * told[:, None, None], mask & told[:, None]
        error = (denoise(model, x, t, states, mask) - clean).square().mean((1, 3, 4))  # (n, F)
        unknown = t > 0
        loss: Tensor = (error * unknown / t.clamp_min(LEAST_TIME).square()).sum() / unknown.sum()
        return loss

    def times(self, n: int, frames: int, rng: torch.Generator, device: torch.device) -> Tensor:
        """How far on the way to noise n samples are, (n, F): all frames of one equally far."""
        return spread_times(n, rng, device)[:, None].expand(-1, frames)

    def generate(
        self, model: Denoiser, condition: Drawing, request: DiffusionRequest, shape: tuple[int, ...]
    ) -> Iterator[Step]:
        """Draws one sample, see `diffusion.generate.generate`."""
        device = model.embed.weight.device

        def look(x: Tensor, t: Tensor, told: Condition) -> Tensor:
            return denoise(model.look, x, t.to(device, torch.float32).expand(len(x)), Read(*told))

        return generate(look, read(model, condition), request, shape, path=PATH, schedule=uniform, device=device)


def fresh(model: Denoiser) -> Denoiser:
    """Gives a denoiser fresh weights: head and gates are zeros, so its first guess is the best linear one."""
    for name, weight in model.named_parameters():
        starts_at_zero = weight.ndim == 1 or "modulation" in name or name == "head.weight"
        if not name.endswith(("q_norm.weight", "k_norm.weight")):
            nn.init.normal_(weight, std=0.0 if starts_at_zero else weight.shape[-1] ** -0.5)
    return model


def spread_times(n: int, rng: torch.Generator, device: torch.device) -> Tensor:
    """n times (n,) as of arXiv:2403.03206, section 3.1, one from each n-th part of their distribution.

    So every batch has all times, and its loss varies less (arXiv:2107.00630, appendix I.1).
    """
    parts = torch.arange(n, device=device) + torch.rand(n, generator=rng, device=device)
    return torch.sigmoid(torch.special.ndtri((parts / n).clamp(1e-6, 1 - 1e-6)))


def read(model: Denoiser, condition: Drawing) -> Drawing:
    """The condition with its prompts as the model has read them, so that no look need do it again."""
    device = model.embed.weight.device
    with torch.inference_mode():
        prompts = [model.read(*(part.to(device) for part in told)) for told in (condition.prompt, condition.negative)]
    return replace(condition, prompt=prompts[0], negative=prompts[1])


def denoise(network: Callable[..., Tensor], x: Tensor, t: Tensor, *told: Any) -> Tensor:
    """The clean sample in x (B, C, F, H, W) at times t, (B,) or (B, F), as the model sees it, in float32.

    network: a `Denoiser`, told a prompt's states and mask; or its `look`, told what it has read. It is asked for what
    the best linear guess lacks, in numbers of deviation 1: arXiv:2206.00364, eq. 7, with alpha and sigma of any path,
    and data of deviation 1.
    """
    alpha, sigma = (f(of_frames(t)) for f in (PATH.alpha, PATH.sigma))
    variance = alpha**2 + sigma**2  # of x
    said = network(x * variance.rsqrt(), t, *told)
    return alpha / variance * x + sigma * variance.rsqrt() * said.float()


def of_frames(t: Tensor) -> Tensor:
    """Times (B,) or (B, F), to multiply with samples (B, C, F, H, W)."""
    return t.view(len(t), 1, -1, 1, 1)
