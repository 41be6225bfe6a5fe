"""Samplers: generators that turn noise into data, one short function each, for every path.

All take the same five things and work with a denoiser's guess of the data, so one body serves Flow, VP and VE:

    denoise(x (B, ...), t) -> x0 (B, ...)     t: one number, as a tensor without dimensions
    x       the state at times[0], (B, ...): `path.mix(data, noise, times[0])`; for Flow and VP at 1 that is the noise
    times   from `schedules`: falling, the last is 0
    path    from `paths`
    rngs    one generator for each sample, so that a sample does not depend on the others (only `ancestral` draws)

Each yields `Step(index, total, state=x_t, guess=x0)` before it uses the guess. `send(edited)` puts an edited guess
in its place. The guess of the last step, edited or not, is the finished sample.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from reverie.diffusion.paths import Path
from reverie.types import Step

Denoiser = Callable[[Tensor, Tensor], Tensor]
Steps = Generator[Step, Tensor | None, None]
Sampler = Callable[[Denoiser, Tensor, Tensor, Path, Sequence[torch.Generator]], Steps]


def euler(denoise: Denoiser, x: Tensor, times: Tensor, path: Path, rngs: Sequence[torch.Generator]) -> Steps:
    """One look a step, first order: DDIM, arXiv:2010.02502, eq. 12; for Flow it is Euler's method."""
    for index, total, t, s in _walk(times):
        x0 = yield from _offer(index, total, x, denoise(x, t))
        x = path.step(x, x0, t, s)


def heun(denoise: Denoiser, x: Tensor, times: Tensor, path: Path, rngs: Sequence[torch.Generator]) -> Steps:
    """Two looks a step, second order: arXiv:2206.00364, algorithm 1, with the path's own time.

    What was edited in the guess is the same in the second look.
    """
    for index, total, t, s in _walk(times):
        guess = denoise(x, t)
        x0 = yield from _offer(index, total, x, guess)
        if s == 0:  # nothing is left to correct: no noise, no velocity
            return
        velocity = path.velocity(x, x0, t)
        ahead = x + (s - t) * velocity
        second = torch.where(x0 == guess, denoise(ahead, s), x0)
        corrected = path.velocity(ahead, second, s)
        x = x + (s - t) * (velocity + corrected) / 2


def dpmpp_2m(denoise: Denoiser, x: Tensor, times: Tensor, path: Path, rngs: Sequence[torch.Generator]) -> Steps:
    """One look a step, second order: the last two guesses are extrapolated, arXiv:2211.01095, algorithm 2."""
    before: tuple[Tensor, Tensor] | None = None  # the last step's guess and its length in log(alpha / sigma)
    for index, total, t, s in _walk(times):
        x0 = yield from _offer(index, total, x, denoise(x, t))
        if s == 0:  # the extrapolation would be endless; the guess itself is second order here
            return
        length = (path.ratio(t) / path.ratio(s)).log()
        line = x0 if before is None else x0 + (x0 - before[0]) * length / (2 * before[1])
        x, before = path.step(x, line, t, s), (x0, length)


def ancestral(denoise: Denoiser, x: Tensor, times: Tensor, path: Path, rngs: Sequence[torch.Generator]) -> Steps:
    """One look a step, and part of the noise drawn afresh: DDPM, arXiv:2006.11239, eq. 6 and 7, for every path.

    The posterior of x_s given x_t and x0 has the variance sigma_s^2 (1 - ratio_s^2 / ratio_t^2).
    """
    for index, total, t, s in _walk(times):
        x0 = yield from _offer(index, total, x, denoise(x, t))
        kept = path.ratio(s) / path.ratio(t)  # of the noise, as a part of sigma_s
        eps = kept * path.noise(x, x0, t) + (1 - kept**2).sqrt() * normal(x, rngs)
        x = path.mix(x0, eps, s)


SAMPLERS: dict[str, Sampler] = {"euler": euler, "heun": heun, "dpmpp_2m": dpmpp_2m, "ancestral": ancestral}


def normal(like: Tensor, rngs: Sequence[torch.Generator]) -> Tensor:
    """Standard normal noise of the shape of `like`, each sample from its own generator (drawn on the CPU)."""
    assert len(rngs) == len(like)
    noise = [torch.randn(like.shape[1:], generator=rng) for rng in rngs]
    return torch.stack(noise).to(like.device, like.dtype)


def inpaint(steps: Steps, known: Tensor, mask: Tensor) -> Steps:
    """A sampler's steps with the guess kept at `known` wherever `mask` is 0; mask is 1 where something new is to be."""
    try:
        edited = None
        while True:
            step = steps.send(edited)
            guess = torch.lerp(known, step.guess, mask)
            edited = yield from _offer(step.index, step.total, step.state, guess)
    except StopIteration:
        return


def _walk(times: Tensor) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """(steps done once this one is, steps in all, time before, time after) of every step."""
    for index, (t, s) in enumerate(pairwise(times), 1):
        yield index, len(times) - 1, t, s


def _offer(index: int, total: int, x: Tensor, guess: Tensor) -> Generator[Step, Tensor | None, Tensor]:
    """Yields a step; gives the guess, or what was sent in its place."""
    edited = yield Step(index, total, state=x, guess=guess)
    return guess if edited is None else edited
