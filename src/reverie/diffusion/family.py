"""The denoiser as a family: how it is built, learns and generates.

B batch, C channels, F frames, H x W picture in model space, T prompt tokens, E width of the prompt's states
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from reverie.diffusion.generate import Drawing, generate
from reverie.diffusion.guidance import Condition
from reverie.diffusion.model import Denoiser, DenoiserConfig
from reverie.diffusion.paths import Flow
from reverie.diffusion.schedules import uniform
from reverie.types import DiffusionRequest, Step

PATH = Flow()
DROPPED = 0.1  # the share of examples whose prompt is not told, so that guidance has something to go away from
LEAST_TIME = 0.05  # below, the loss of the velocity would count without bound (arXiv:2511.13720, section 4.3)


class Diffusion:
    """Turn noise into a clean sample, a little at a time."""

    def build(self, config: DenoiserConfig) -> Denoiser:
        """A denoiser with fresh weights: head and gates are zeros, so its first guess is the mean of all pictures."""
        model = Denoiser(config)
        for name, weight in model.named_parameters():
            starts_at_zero = weight.ndim == 1 or "modulation" in name or name == "head.weight"
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                continue
            nn.init.normal_(weight, std=0.0 if starts_at_zero else weight.shape[-1] ** -0.5)
        return model

    def loss(self, model: Denoiser, batch: Tensor, condition: Condition, rng: torch.Generator) -> Tensor:
        """Mean squared error of the velocity of samples (B, C, F, H, W) at random times; the model says x0."""
        states, mask = condition
        n, device = len(batch), batch.device
        t = torch.sigmoid(torch.randn(n, generator=rng, device=device))
        told = torch.rand(n, generator=rng, device=device) >= DROPPED
        x = PATH.mix(batch, torch.randn(batch.shape, generator=rng, device=device), t)
        states, mask = states.to(device) * told[:, None, None], mask.to(device) & told[:, None]
        error = (model(x, t, states, mask) - batch).float().square().flatten(1).mean(1)  # (B,)
        loss: Tensor = (error / t.clamp_min(LEAST_TIME).square()).mean()
        return loss

    def generate(
        self, model: Denoiser, condition: Drawing, request: DiffusionRequest, shape: tuple[int, ...]
    ) -> Iterator[Step]:
        """Draws one sample, see `diffusion.generate.generate`."""
        weight = model.embed.weight

        def denoise(x: Tensor, t: Tensor, told: Condition) -> Tensor:
            states, mask = told
            times = t.to(x.device, torch.float32).expand(len(x))
            guess: Tensor = model(x.to(weight.dtype), times, states, mask)
            return guess.to(x.dtype)

        return generate(denoise, condition, request, shape, path=PATH, schedule=uniform, device=weight.device)
