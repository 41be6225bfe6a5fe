"""Classifier-free guidance, arXiv:2207.12598, eq. 6, within an interval of times, arXiv:2404.07724.

Shapes: B batch, ... any shape of a sample; every tensor of a condition begins with B.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.diffusion.samplers import Denoiser

Condition = Sequence[Tensor]
Conditional = Callable[[Tensor, Tensor, Condition], Tensor]


@dataclass(frozen=True)
class Weaker:
    """A worse version of a denoiser, to go away from as well: autoguidance, arXiv:2406.02507.

    It is asked with the condition. scale: 0 is not at all.
    """

    denoise: Conditional
    scale: float


def guided(
    denoise: Conditional,
    condition: Condition,
    negative: Condition,
    guidance: float,
    *,
    interval: tuple[float, float] = (0.0, 1.0),
    weaker: Weaker | None = None,
) -> Denoiser:
    """A denoiser that goes past what `condition` says, away from `negative` (the empty prompt, or what is not wanted).

    guidance: 1 is the condition alone, 0 the negative alone. interval: the times (both included) at which to guide; at
    others the condition alone speaks, for half the work. Both are asked in one call, the condition's rows first.
    weaker: what else to go away from where there is guidance.
    """
    both = [torch.cat(pair) for pair in zip(condition, negative, strict=True)]  # (2B, ...) each

    def denoise_guided(x: Tensor, t: Tensor) -> Tensor:
        if guidance == 1 or not interval[0] <= t <= interval[1]:
            return denoise(x, t, condition)
        wanted, unwanted = denoise(torch.cat([x, x]), t, both).chunk(2)  # (B, ...) each
        led = torch.lerp(unwanted, wanted, guidance)
        if weaker is None:
            return led
        return led + weaker.scale * (wanted - weaker.denoise(x, t, condition))

    return denoise_guided
