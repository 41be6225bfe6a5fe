"""From noise, or from a picture with noise on it, to a sample: what every denoiser's generation has in common.

B batch (1: one sample a call, so that it is the same bits whatever else is drawn), C channels, F frames, H x W sides
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.diffusion.guidance import Condition, Conditional, Weaker, guided
from reverie.diffusion.paths import Path
from reverie.diffusion.samplers import SAMPLERS, Steps, inpaint, normal
from reverie.types import DiffusionRequest, Step

Schedule = Callable[[int, float], Tensor]  # (steps, start) -> times


@dataclass(frozen=True)
class Drawing:
    """What a denoiser conditions on; the first axis of every tensor is B = 1.

    prompt, negative: what the network takes for what is wanted, and for what is not.
    init: a sample to begin from (B, C, F, H, W). mask: 1 where it is to be drawn anew, 0 where it stays.
    """

    prompt: Condition
    negative: Condition
    init: Tensor | None = None
    mask: Tensor | None = None

    def to(self, device: torch.device | str) -> Drawing:
        """The same on another device."""
        init, mask = (None if x is None else x.to(device) for x in (self.init, self.mask))
        return Drawing([x.to(device) for x in self.prompt], [x.to(device) for x in self.negative], init, mask)


@torch.inference_mode()
def generate(
    denoise: Conditional,
    condition: Drawing,
    request: DiffusionRequest,
    shape: tuple[int, ...],
    *,
    path: Path,
    schedule: Schedule,
    interval: tuple[float, float] = (0.0, 1.0),
    weaker: Weaker | None = None,
    device: torch.device | str = "cpu",
) -> Generator[Step, Tensor | None, None]:
    """Draws one sample of `shape` (B, C, F, H, W); see `samplers` for what the steps are and what may be sent.

    interval: of times, in which guidance acts; weaker: what it goes away from besides. device: where the denoiser is.
    With `init` the sampler begins at the time `strength`, and takes that part of the steps.
    """
    rngs = [torch.Generator().manual_seed(request.seed)]
    condition = condition.to(device)
    noise = normal(torch.empty(shape, device=device), rngs)
    times = schedule(request.num_steps, request.start)
    known = torch.zeros_like(noise) if condition.init is None else condition.init
    x = path.mix(known, noise, times[0])
    look = guided(denoise, condition.prompt, condition.negative, request.guidance, interval=interval, weaker=weaker)
    walk: Steps = SAMPLERS[request.sampler](look, x, times, path, rngs)
    yield from walk if condition.mask is None else inpaint(walk, known, condition.mask)
