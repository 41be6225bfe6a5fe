"""Latent walk: pictures on the way from one prompt to another, or from one noise to another.

B batch, T prompt tokens, E width of the prompt's states, C x F x H x W latents
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from reverie.diffusion.generate import Drawing
from reverie.diffusion.guidance import Condition
from reverie.engine import Model
from reverie.explain.exhibit import Shown, maker
from reverie.explain.pictures import data_url, distance, draws, finished, noise_of, request_of
from reverie.explain.reading import percent
from reverie.types import ImageRequest, ReverieError

MOST_PICTURES = 16


@maker(
    "walk",
    title="A walk between pictures",
    question="What lies between two prompts, or between two noises?",
    family="diffusion",
    when=draws,
)
def walk_between(
    model: Model,
    prompt: str,
    *,
    to: str = "",
    to_seed: int | None = None,
    num: int = 7,
    seed: int = 0,
    steps: int = 20,
    guidance: float = ImageRequest.guidance,
) -> Shown:
    """`num` pictures from `prompt` to the prompt `to`, from the noise of `seed` to that of `to_seed`.

    Without `to` the prompt stays, without `to_seed` the noise; without either, the noise goes to the next seed's.
    data: from, to {"prompt", "seed"}; walk [{"share": of the way, "picture"}]; hops: distance of each from the next.
    """
    if not 2 <= num <= MOST_PICTURES:
        raise ReverieError(f"num is {num}: give a number of pictures from 2 to {MOST_PICTURES}.")
    goal = to.strip() if to.strip() else prompt
    to_seed = (seed if to.strip() else seed + 1) if to_seed is None else to_seed
    ends = [
        request_of(model, words, seed=noise, steps=steps, guidance=guidance)
        for words, noise in ((prompt, seed), (goal, to_seed))
    ]
    (a, b), (noise_a, noise_b) = map(model.medium.condition, ends), (noise_of(model, end) for end in ends)
    shares = torch.linspace(0, 1, num).tolist()
    pictures = [
        finished(model, ends[0], condition=between(a, b, share), x=slerp(noise_a, noise_b, share)) for share in shares
    ]
    hops = [distance(one, other) for one, other in pairwise(pictures)]
    rows = [{"share": share, "picture": data_url(picture)} for share, picture in zip(shares, pictures, strict=True)]
    data = {
        "from": {"prompt": prompt, "seed": seed},
        "to": {"prompt": goal, "seed": to_seed},
        "walk": rows,
        "hops": hops,
    }
    return data, _says(hops, prompt, goal, seed, to_seed)


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """From one noise to another along the sphere both lie on, so that what is between is as strong as noise is."""
    cos = F.cosine_similarity(a.flatten(), b.flatten(), 0).clamp(-1, 1)
    angle = torch.arccos(cos)
    if angle.sin() < 1e-4:  # one and the same
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / angle.sin()


def between(a: Drawing, b: Drawing, share: float) -> Drawing:
    """What is drawn, between two prompts: their states mixed token by token. Both have the same negative prompt."""
    prompt = _mixed(a.prompt, b.prompt, share)
    return Drawing(prompt, _padded(a.negative, prompt[0].shape[1]))


def _mixed(a: Condition, b: Condition, share: float) -> Condition:
    longest = max(a[0].shape[1], b[0].shape[1])
    (states_a, seen_a), (states_b, seen_b) = (_padded(told, longest) for told in (a, b))
    if share in (0, 1):  # the ends are exactly what their own prompts give
        return (states_a, seen_a) if share == 0 else (states_b, seen_b)
    return torch.lerp(states_a, states_b, share), seen_a | seen_b


def _padded(told: Condition, longest: int) -> tuple[Tensor, Tensor]:
    states, seen = told  # (1, T, E), (1, T)
    lacking = longest - states.shape[1]
    return F.pad(states, (0, 0, 0, lacking)), F.pad(seen, (0, lacking))


def _says(hops: Sequence[float], prompt: str, goal: str, seed: int, to_seed: int) -> list[str]:
    what = (
        f"from “{prompt}” to “{goal}”"
        if goal != prompt
        else f"“{prompt}”, from the noise of seed {seed} to that of {to_seed}"
    )
    largest = max(range(len(hops)), key=lambda at: hops[at])
    return [
        f"{len(hops) + 1} pictures on the way {what}. "
        + ("The noise stays the same. " if seed == to_seed else "The noise turns, too. " if goal != prompt else "")
        + "In between the model is told a mixture that no words stand for, and still draws something.",
        f"The way is not even: the largest change is between pictures {largest + 1} and {largest + 2} "
        f"({percent(hops[largest])}), the smallest anywhere {percent(min(hops))}.",
    ]
