"""Denoising of a clip: all frames at once, and what is settled first, the picture or its movement.

C channels, F frames, H x W latents
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from reverie.diffusion.video import schedule
from reverie.engine import Model
from reverie.explain.clips import STEPS, animates, clip_request, correlation, frame_urls, kept_film, mean
from reverie.explain.exhibit import Shown, maker
from reverie.types import SAMPLERS, Step, VideoRequest

MOST_SHOWN = 5  # steps whose frames are all shown
FRAME_PX = 64  # of each of these
SETTLED = 0.9  # a correlation with the end at which little is open


@maker(
    "video-denoising",
    title="From noise to a clip",
    question="How do all frames become clear at once?",
    family="diffusion",
    when=animates,
    choices={"sampler": SAMPLERS},
    medium="video",
)
def video_denoising(
    model: Model,
    prompt: str,
    *,
    frames: int = 16,
    seed: int = 0,
    steps: int = STEPS,
    guidance: float = VideoRequest.guidance,
    sampler: str = "dpmpp_2m",
) -> Shown:
    """Every step of a clip. frames, seed, steps, guidance, sampler: as for animating.

    data: steps [{"step" from 1, "time" from 1 to 0, "neighbours" and "noisy_neighbours": how alike neighbouring frames
    are in the guess and in the noisy state, "still" and "moving": how like the last one the guess is, in the mean of
    its frames and in what each frame has beside that mean; these four are correlations of latents, 1 is the same;
    "noisy", "guess": [F pictures], of at most 5 steps}].
    """
    request = clip_request(model, prompt, frames=frames, seed=seed, steps=steps, guidance=guidance, sampler=sampler)
    taken = kept_film(model, request)
    times, shown = schedule(request.num_steps, request.start).tolist(), _spread(len(taken))
    rows = [_row(step, time, taken[-1].guess) for step, time in zip(taken, times, strict=False)]
    for at in shown:
        rows[at] |= {
            name: frame_urls(model.medium.clip(latents), most_px=FRAME_PX)
            for name, latents in (("noisy", taken[at].state), ("guess", taken[at].guess))
        }
    return {"steps": rows}, _says(rows, frames)


def _spread(num: int) -> list[int]:
    """At most `MOST_SHOWN` places of `num`, the first and the last among them."""
    if num <= MOST_SHOWN:
        return list(range(num))
    return [round(at * (num - 1) / (MOST_SHOWN - 1)) for at in range(MOST_SHOWN)]


def _row(step: Step, time: float, end: Tensor) -> dict[str, Any]:
    still, moving = (correlation(a, b) for a, b in zip(_parts(step.guess), _parts(end), strict=True))
    return {
        "step": step.index,
        "time": time,
        "neighbours": _neighbours(step.guess),
        "noisy_neighbours": _neighbours(step.state),
        "still": still,
        "moving": moving,
        "noisy": [],
        "guess": [],
    }


def _parts(latents: Tensor) -> tuple[Tensor, Tensor]:
    """What all frames of latents (1, C, F, H, W) have in common, and what each has beside that."""
    common = latents.mean(2, keepdim=True)
    return common, latents - common


def _neighbours(latents: Tensor) -> float:
    """The mean correlation of a frame with the next."""
    return mean([correlation(a, b) for a, b in pairwise(latents[0].unbind(1))])


def _settled(rows: Sequence[dict[str, Any]], part: str) -> int:
    """The step from which on a part of the guess stays near its last one."""
    return int(1 + max((row["step"] for row in rows[:-1] if row[part] < SETTLED), default=0))


def _says(rows: Sequence[dict[str, Any]], frames: int) -> list[str]:
    first = rows[0]
    still, moving = (_settled(rows, part) for part in ("still", "moving"))
    order = "before the picture" if moving < still else "after the picture" if moving > still else "with the picture"
    return [
        f"All {frames} frames begin as noise, each as its own, and become clear together in {len(rows)} steps: in none "
        "of them is one frame finished and the next still to come.",
        f"Noise in one frame tells nothing of the next (their correlation is {first['noisy_neighbours']:.2f}). In the "
        f"first guess neighbouring frames are alike already ({first['neighbours']:.2f}), in the last "
        f"{rows[-1]['neighbours']:.2f}.",
        f"What all frames have in common is settled at step {still}, what moves at step {moving} (settled: a "
        f"correlation of {SETTLED} with the last guess). So the movement was decided {order}.",
    ]
