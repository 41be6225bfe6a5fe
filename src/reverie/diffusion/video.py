"""The denoiser of clips as a family: single pictures with time, of which some may be given.

Every frame has a time of its own (arXiv:2407.01392): a given frame stands at 0, clean, the others on their way from
noise. The network is that of single pictures, and begins with what one has learnt.

B batch, C channels, F frames, H x W picture in model space, R rows of a condition
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reverie.diffusion.family import PATH, Diffusion, denoise, of_frames, read, spread_times
from reverie.diffusion.generate import Drawing, generate
from reverie.diffusion.guidance import Condition, Weaker
from reverie.diffusion.model import Denoiser, Read
from reverie.diffusion.schedules import shift, shifted
from reverie.types import Step, VideoRequest

SHIFT = 3.0  # of the odds of t: frames are alike, so it takes more noise to hide a clip than a picture
GIVEN = ((0, 0), (0, 0), (0, 0), (1, 0), (1, 0), (4, 0), (1, 1))  # frames at beginning and end, as often as each other
AWAY = 1.0  # how far to go from what a weaker network makes of it
EARLY = (
    0.75  # the time from which on, while a clip takes form, that lacks a block of attention; then frames see no other
)
TURN = 5  # frames that a clip which loops is turned by from look to look; prime to all usual numbers of frames


class VideoDiffusion(Diffusion):
    """Turn noise into a clip, all of it at once."""

    looks = 2

    def loss(self, model: Denoiser, batch: Tensor, condition: Condition, rng: torch.Generator) -> Tensor:
        """The mean loss of samples (B, C, F, H, W): clips first, then sets of F pictures that are not one clip.

        The condition has a row for each clip, then one for each picture of each set.
        """
        B, _, frames, _, _ = batch.shape
        num_sets = (len(condition[0]) - B) // (frames - 1)
        clips = B - num_sets
        pictures = batch[clips:].transpose(1, 2).flatten(0, 1)[:, :, None]  # (R, C, 1, H, W)
        groups = (batch[:clips], [part[:clips] for part in condition]), (pictures, [part[clips:] for part in condition])
        losses = [super(VideoDiffusion, self).loss(model, x, told, rng) for x, told in groups if len(x)]
        shares = [share / B for share in (clips, num_sets) if share]
        return torch.stack([share * loss for share, loss in zip(shares, losses, strict=True)]).sum()

    def times(self, n: int, frames: int, rng: torch.Generator, device: torch.device) -> Tensor:
        """(n, F): all frames of a clip are equally far on the way to noise, but for those that are given."""
        if frames == 1:
            return super().times(n, frames, rng, device)
        t = shift(spread_times(n, rng, device), SHIFT)
        kinds = torch.stack([given(frames, *ends) for ends in GIVEN]).to(device)  # (K, F)
        chosen = torch.randint(len(GIVEN), (n,), generator=rng, device=device)
        return t[:, None] * ~kinds[chosen]

    def generate(
        self,
        model: Denoiser,
        condition: Drawing,
        request: VideoRequest,  # type: ignore[override]
        shape: tuple[int, ...],
    ) -> Iterator[Step]:
        """Makes one clip, see `diffusion.generate.generate`; the condition's mask is 0 at given frames.

        Guidance also goes away from what the network makes of it when, at first, patches see less of each other, as the
        last block but one does without attention (arXiv:2411.18664, section 4), and later each frame sees only itself.
        """
        device = model.embed.weight.device
        known = told(model, condition, request.frames).to(device)
        turns = dict[float, int]()  # the same for all that is looked at at a time

        def look(x: Tensor, t: Tensor, said: Condition, **lacking: Any) -> Tensor:
            *prompt, to_make = said
            times = t.to(device, torch.float32) * to_make
            x = x if known.init is None else torch.lerp(known.init, x, of_frames(to_make))
            turn = turns.setdefault(float(t), TURN * len(turns)) % x.shape[2] if request.loop else 0
            return denoise(partial(model.look, **lacking), x.roll(turn, 2), times, Read(*prompt)).roll(-turn, 2)

        def look_less(x: Tensor, t: Tensor, said: Condition) -> Tensor:
            early = {"blind": max(0, model.config.depth - 2)}
            return look(x, t, said, **(early if t >= EARLY else {"alone": True}))

        weaker = Weaker(look_less, AWAY)
        return generate(look, known, request, shape, path=PATH, schedule=schedule, weaker=weaker, device=device)


def told(model: Denoiser, condition: Drawing, frames: int) -> Drawing:
    """The condition with its prompts as the model has read them, each with which frames are to be made (1, F): 1 or 0.

    What is not wanted is told of no given frame: so guidance goes towards those, too (arXiv:2211.09800, eq. 3).
    """
    said, all_of_them = read(model, condition), torch.ones(1, frames, device=model.embed.weight.device)
    to_make = all_of_them if condition.mask is None else condition.mask.to(all_of_them).view(1, -1)
    return replace(said, prompt=(*said.prompt, to_make), negative=(*said.negative, all_of_them))


def schedule(steps: int, start: float) -> Tensor:
    """The times at which a clip is looked at."""
    return shifted(steps, SHIFT, start)


def given(frames: int, at_beginning: int, at_end: int) -> Tensor:
    """Which frames of a clip are given: (F,)."""
    numbers = torch.arange(frames)
    return (numbers < at_beginning) | (numbers >= frames - at_end)
