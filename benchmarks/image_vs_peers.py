"""One picture with guidance: Reverie beside diffusers' DiT of the same width, depth, heads, patches and steps.

python benchmarks/image_vs_peers.py [-m MODEL] [--steps 20] [--threads 2] [--repeats 7]

Both draw latents of the same shape with random weights or a model's own, in bf16, with DPM-Solver++ (2M); the two take
turns, so that whatever else the machine does hits both. Ours reads a prompt as well, which DiT, told a class, does not.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from reverie.diffusion.family import Diffusion
from reverie.diffusion.generate import Drawing
from reverie.diffusion.model import Denoiser, DenoiserConfig
from reverie.modalities.image import Image
from reverie.types import ImageRequest

GUIDANCE = 4.0
WORDS = 16  # of the prompt and of the negative prompt, in states


def main() -> None:
    """Prints the median seconds of both and their ratio; with a model also those of the whole picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", help="a model that draws; else random weights of the size that ships")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    whole = loaded(options.model)
    core = fresh(Image.presets["small"]) if whole is None else whole.core
    draw_ours, draw_theirs = ours(core, options.steps), theirs(core.config, options.steps)
    runs = {"reverie": draw_ours, "diffusers": draw_theirs}
    if whole is not None:
        runs["reverie, whole picture"] = lambda: picture(whole, options.steps)
    seconds = take_turns(runs, options.repeats)
    for name, taken in seconds.items():
        print(f"{name}: {taken:.3f} s for {options.steps} steps with guidance")
    print(f"ratio diffusers / reverie: {seconds['diffusers'] / seconds['reverie']:.2f}")


def loaded(name: str | None) -> Any:
    """The model called `name`, ready to draw."""
    from reverie import engine

    return None if name is None else engine.load(name)


def fresh(config: DenoiserConfig) -> Denoiser:
    """Random weights."""
    return Diffusion().build(config).bfloat16().eval().requires_grad_(False)


def ours(core: Denoiser, steps: int) -> Callable[[], Tensor]:
    """Draws latents with our denoiser and sampler."""
    states = torch.randn(2, 1, WORDS, core.config.prompt_width).bfloat16()
    seen = torch.ones(1, WORDS, dtype=torch.bool)
    condition = Drawing((states[0], seen), (states[1], seen))
    request = ImageRequest("", steps=steps, guidance=GUIDANCE)

    def draw() -> Tensor:
        *_, last = Diffusion().generate(core, condition, request, (1, *core.config.shape))
        latents: Tensor = last.guess
        return latents

    return draw


def theirs(config: DenoiserConfig, steps: int) -> Callable[[], Tensor]:
    """Draws latents with diffusers' DiT and its DPM-Solver++, as its DiTPipeline does: one call for both halves."""
    diffusers: Any = importlib.import_module("diffusers")  # its annotations are not strict
    model = diffusers.DiTTransformer2DModel(
        num_attention_heads=config.num_heads,
        attention_head_dim=config.width // config.num_heads,
        in_channels=config.channels,
        out_channels=config.channels,
        num_layers=config.depth,
        sample_size=config.side,
        patch_size=config.patch,
    )
    model = model.bfloat16().eval().requires_grad_(False)
    scheduler = diffusers.DPMSolverMultistepScheduler()
    classes = torch.tensor([1, 1000])  # a class, and none

    @torch.inference_mode()
    def draw() -> Tensor:
        scheduler.set_timesteps(steps)
        x = torch.randn(1, config.channels, config.side, config.side).bfloat16()
        for t in scheduler.timesteps:
            both = model(torch.cat([x, x]), timestep=t.expand(2), class_labels=classes).sample
            wanted, unwanted = both.chunk(2)
            x = scheduler.step(torch.lerp(unwanted, wanted, GUIDANCE), t, x).prev_sample
        return x

    return draw


def picture(model: Any, steps: int) -> Any:
    """From the prompt to the pixels."""
    from reverie import drawing

    return drawing.draw(model, "a red panda riding a skateboard", steps=steps, seed=1)


def take_turns(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The median seconds of each, after one run that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    return {name: sorted(taken[1:])[repeats // 2] for name, taken in times.items()}


if __name__ == "__main__":
    main()
