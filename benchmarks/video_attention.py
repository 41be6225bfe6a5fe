"""How should the frames of a clip see each other? The painter's weights, made into a denoiser of clips in three ways,
trained for the same time on the same clips, and judged by the loss on held-out ones.

python benchmarks/video_attention.py -o FOLDER [--minutes 20] [--ways factorised,joint,pairs]

factorised: attention within each frame, then each patch sees itself in the others. joint: all patches of all frames see
each other, with the painter's own layers. pairs: as factorised, but two frames after each other are one, with twice the
channels. Runs go on where they were stopped; the table shows what is finished.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from reverie import engine
from reverie.diffusion.family import PATH, Diffusion, denoise, of_frames, spread_times
from reverie.diffusion.guidance import Condition
from reverie.diffusion.model import (
    Denoiser,
    DenoiserConfig,
    Rope,
    axis_frequencies,
    from_patches,
    modulated,
    modulations,
    to_patches,
)
from reverie.diffusion.schedules import shift
from reverie.diffusion.video import SHIFT, inflate
from reverie.hub import datasets
from reverie.hub.drawings import open_drawing
from reverie.modalities.video import Video
from reverie.train import Training, run
from reverie.types import Example, Examples

SIDE_PX = 128
PAINTER = Path(__file__).parents[1] / "src" / "reverie" / "weights" / "scenes"
JUDGED = 64  # clips


class Joint(Denoiser):
    """All patches of all frames in one sequence; the number of a frame turns the third of a head that waits for it."""

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor, mask: Tensor) -> Tensor:
        """As `Denoiser`."""
        patches, words = self.embed(to_patches(x, self.config.patch)), self.prompt_embed(prompt.to(x.dtype))
        time = F.silu(self._time(t[:, :1], words, mask, 1))
        modulation = self.time_modulation(time).unflatten(1, (modulations(self.config), -1))
        ropes = self._joint_rope(words.shape[1], x), self._frame_rope(x[:, :, :1])
        seen = F.pad(mask, (0, patches.shape[1]), value=True)[:, None, None]
        h = torch.cat((words, patches), 1)
        for block in self.blocks:
            h = block(h, modulation, ropes, seen)
        shift, scale = self.head_modulation(time)[:, None].chunk(2, -1)
        return from_patches(self.head(modulated(h[:, words.shape[1] :], shift, scale)), x.shape, self.config.patch)

    def _joint_rope(self, num_words: int, x: Tensor) -> Rope:
        sides = (x.shape[2], x.shape[3] // self.config.patch, x.shape[4] // self.config.patch)
        grid = torch.cartesian_prod(*(torch.arange(side) for side in sides))
        return self._turns(F.pad(grid, (0, 0, num_words, 0)), axis_frequencies(self._head_width), x)


class Way(Diffusion):
    """Learning from clips alone, with all frames unknown, beginning as the painter."""

    looks = 2
    network: type[Denoiser] = Denoiser

    def __init__(self) -> None:
        self._painter = open_drawing("painter", PAINTER)

    def build(self, config: DenoiserConfig) -> Denoiser:
        """With the painter's weights."""
        fresh = super().build(config)
        model = self.network(config)
        model.load_state_dict(fresh.state_dict())
        inflate(self.weights(), model)
        return model

    def weights(self) -> dict[str, Tensor]:
        """The painter's, made to fit."""
        return dict(self._painter.denoiser("cpu", torch.float32).state_dict())

    def times(self, n: int, frames: int, rng: torch.Generator, device: torch.device) -> Tensor:
        """All frames of a clip are equally far."""
        return shift(spread_times(n, rng, device), SHIFT)[:, None].expand(-1, frames)


class JointWay(Way):
    """With one sequence for all frames."""

    network = Joint


class PairsWay(Way):
    """With pairs of frames in the place of frames."""

    def weights(self) -> dict[str, Tensor]:
        """Both frames of a pair are read at half strength and written the same."""
        found = super().weights()
        config = self._painter.config
        reads = found["embed.weight"].unflatten(1, (config.channels, -1))  # (D, C, P P)
        found["embed.weight"] = torch.cat((reads, reads), 1).flatten(1) / 2
        for name in ("head.weight", "head.bias"):
            writes = found[name].unflatten(0, (config.channels, -1))
            found[name] = torch.cat((writes, writes)).flatten(0, 1)
        return found


class Clipped(Video):
    """Clips alone."""

    def examples(self, source: str, *, held_out: bool) -> Examples:  # type: ignore[override]
        """Without single pictures."""
        return Moving(super().examples(source, held_out=held_out)._clips)


class Moving:
    """Clips as examples."""

    def __init__(self, clips: Any) -> None:
        self._clips = clips

    def item(self, seed: int, index: int) -> Example:
        """Frames and caption."""
        frames, caption, _ = self._clips.item(seed, index)
        return Example(frames, caption)


class Paired(Clipped):
    """Frames two by two."""

    def batch(self, examples: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, 2 C, F / 2, H, W)."""
        x, told = super().batch(examples)
        return paired(x), told


def paired(x: Tensor) -> Tensor:
    """(B, C, F, H, W) -> (B, 2 C, F / 2, H, W)."""
    return torch.cat((x[:, :, ::2], x[:, :, 1::2]), 1)


WAYS: dict[str, tuple[type[Clipped], type[Way]]] = {
    "factorised": (Clipped, Way),
    "joint": (Clipped, JointWay),
    "pairs": (Paired, PairsWay),
}


def learner(way: str) -> tuple[Clipped, DenoiserConfig]:
    """The medium that learns in this way, and its config."""
    medium, family = WAYS[way]
    painter = open_drawing("painter", PAINTER)
    made = medium(painter.codec("cpu", torch.bfloat16), engine.prompt_encoder(), SIDE_PX, engine.find_data)
    made.styles, made.family = ("noto",), family()  # type: ignore[assignment]
    config = replace(painter.config, num_frames=1 if way == "joint" else 16)
    return made, replace(config, channels=2 * config.channels, num_frames=8) if way == "pairs" else config


@torch.no_grad()
def judged(medium: Clipped, model: Denoiser) -> float:
    """The error of held-out clips at the times and with the weights of training; only the noise differs by way."""
    held_out, total = medium.examples("scenes", held_out=True), 0.0
    for index in range(JUDGED):
        x, (states, mask) = medium.batch([held_out.item(0, index)])
        rng = torch.Generator().manual_seed(index)
        t = shift(spread_times(4, rng, x.device), SHIFT)[:, None].expand(-1, x.shape[2])
        clean = x.expand(4, -1, -1, -1, -1)
        noisy = PATH.mix(clean, torch.randn(clean.shape, generator=rng), of_frames(t))
        told: Condition = (states.expand(4, -1, -1), mask.expand(4, -1))
        error = (denoise(model, noisy, t, *told) - clean).square().mean((1, 2, 3, 4))
        total += float((error / t[:, 0].square()).mean())
    return total / JUDGED


def main() -> None:
    """Trains and judges one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args()
    datasets.build("scenes", SIDE_PX)
    for way in options.ways.split(","):
        medium, config = learner(way)
        training = Training(
            config,
            batch=4,
            max_minutes=options.minutes,
            matrix_rate=0.01,
            rate=1.5e-3,
            warmup_steps=20,
            decay=0.5,
            ema=0.99,
            num_workers=1,
            evaluate_every_steps=0,
            sample_every_steps=0,
        )
        folder, seen = options.output / way, dict[str, Any]()
        run(medium, training, "scenes", folder, lambda event, seen=seen: seen.update(last=event))  # type: ignore[misc]
        model = medium.family.build(config)
        model.load_state_dict(load_file(folder / "model" / "model.safetensors"))
        print(f"{way:12} {judged(medium, model.eval()):.4f}   {seen}", flush=True)
        print(f"{way} is finished", file=sys.stderr)


if __name__ == "__main__":
    main()
