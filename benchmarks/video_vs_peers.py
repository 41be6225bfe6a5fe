"""One clip with guidance: Reverie beside a video transformer of diffusers (Latte) of the same width and steps.

python benchmarks/video_vs_peers.py [-m MODEL] [--steps 20] [--threads 2] [--repeats 3]

Both attend within frames and through them, and make latents of the same shape with random weights or a model's own, in
bf16, with DPM-Solver++ (2M). Latte has a block of each kind where ours has one of both: half as many pairs have about
as many weights, which are printed. The two take turns, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from image_vs_peers import GUIDANCE, WORDS, loaded, take_turns
from reverie.diffusion.generate import Drawing
from reverie.diffusion.model import Denoiser, DenoiserConfig
from reverie.diffusion.video import VideoDiffusion
from reverie.modalities.video import Video
from reverie.types import VideoRequest


def main() -> None:
    """Prints the median seconds of both and their ratio; with a model also those of the whole clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", help="a model that animates; else random weights of the size that ships")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    whole = loaded(options.model)
    core = fresh(Video.presets["small"]) if whole is None else whole.core
    peer = latte(core.config)
    runs = {"reverie": ours(core, options.steps), "diffusers": theirs(peer, core.config, options.steps)}
    if whole is not None:
        runs["reverie, whole clip"] = lambda: clip(whole, options.steps)
    seconds = take_turns(runs, options.repeats)
    for name, taken in seconds.items():
        print(f"{name}: {taken:.2f} s for {options.steps} steps with guidance, {core.config.num_frames} frames")
    print(f"weights: {size(core):,} and {size(peer):,}")
    print(f"ratio diffusers / reverie: {seconds['diffusers'] / seconds['reverie']:.2f}")


def fresh(config: DenoiserConfig) -> Denoiser:
    """Random weights."""
    return VideoDiffusion().build(config).bfloat16().eval().requires_grad_(False)


def size(model: torch.nn.Module) -> int:
    """How many weights there are."""
    return sum(weight.numel() for weight in model.parameters())


def ours(core: Denoiser, steps: int) -> Callable[[], Tensor]:
    """Makes latents with our denoiser and sampler."""
    states = torch.randn(2, 1, WORDS, core.config.prompt_width).bfloat16()
    seen = torch.ones(1, WORDS, dtype=torch.bool)
    condition = Drawing((states[0], seen), (states[1], seen))
    request = VideoRequest("", steps=steps, guidance=GUIDANCE)

    def make() -> Tensor:
        *_, last = VideoDiffusion().generate(core, condition, request, (1, *core.config.shape))
        latents: Tensor = last.guess
        return latents

    return make


def latte(config: DenoiserConfig) -> Any:
    """diffusers' transformer with the same heads and patches, told a prompt of as many states."""
    diffusers: Any = importlib.import_module("diffusers")  # its annotations are not strict
    model = diffusers.LatteTransformer3DModel(
        num_attention_heads=config.num_heads,
        attention_head_dim=config.width // config.num_heads,
        in_channels=config.channels,
        out_channels=config.channels,
        num_layers=config.depth // 2,
        sample_size=config.side,
        patch_size=config.patch,
        caption_channels=config.prompt_width,
        cross_attention_dim=config.width,
        attention_bias=True,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        num_embeds_ada_norm=1000,
        video_length=config.num_frames,
    )
    return model.bfloat16().eval().requires_grad_(False)


def theirs(model: Any, config: DenoiserConfig, steps: int) -> Callable[[], Tensor]:
    """Makes latents with diffusers' DPM-Solver++, as its LattePipeline does: one call for both halves."""
    diffusers: Any = importlib.import_module("diffusers")
    scheduler = diffusers.DPMSolverMultistepScheduler()
    states = torch.randn(2, WORDS, config.prompt_width).bfloat16()

    @torch.inference_mode()
    def make() -> Tensor:
        scheduler.set_timesteps(steps)
        x = torch.randn(1, *config.shape).bfloat16()
        for t in scheduler.timesteps:
            both = model(torch.cat([x, x]), timestep=t.expand(2), encoder_hidden_states=states).sample
            wanted, unwanted = both.chunk(2)
            x = scheduler.step(torch.lerp(unwanted, wanted, GUIDANCE), t, x).prev_sample
        return x

    return make


def clip(model: Any, steps: int) -> Any:
    """From the prompt to the pixels."""
    request = {"steps": steps, "seed": 1}
    *_, last = (generation := model.generate("a red panda riding a skateboard to the right", **request))
    return model.medium.clip(last.guess, generation.request)


if __name__ == "__main__":
    main()
