"""How should the frames of a clip see each other? The painter's weights, made into a denoiser of clips in four ways,
trained for the same time on the same clips, and judged by the loss on held-out ones.

python benchmarks/video_attention.py -o FOLDER [--minutes 20] [--ways joint,factorised,alternate,pairs]

joint: all patches of all frames see each other, with the painter's own layers. factorised: attention within each frame,
then each patch sees itself in the others. alternate: the latter in every second block. pairs: as factorised, but two
frames after each other are one, with twice the channels. Runs go on where they were stopped; the table shows what is
finished.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from reverie import engine
from reverie.diffusion.family import PATH, Diffusion, denoise, fresh, of_frames, spread_times
from reverie.diffusion.guidance import Condition
from reverie.diffusion.model import (
    EPS,
    MODULATIONS,
    ROPE_THETA,
    Denoiser,
    DenoiserBlock,
    DenoiserConfig,
    Read,
    modulated,
)
from reverie.diffusion.schedules import shift
from reverie.diffusion.video import SHIFT
from reverie.hub import datasets
from reverie.hub.drawings import open_drawing
from reverie.layers import Attention, Memory, rope_frequencies, rope_table
from reverie.modalities.video import Video
from reverie.train import Training, compute, run
from reverie.types import Example, Examples

SIDE_PX = 128
PAINTER = Path(__file__).parents[1] / "src" / "reverie" / "weights" / "scenes"
JUDGED = 64  # clips


class FactorisedBlock(DenoiserBlock):
    """Attention within each frame; then each patch sees itself in the other frames (arXiv:2204.03458, section 3)."""

    looks_through = True

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__(config)
        heads = config.num_heads
        self.modulation = torch.nn.Parameter(torch.zeros(MODULATIONS + 3, config.width))
        if self.looks_through:
            self.through = Attention(config.width, heads, heads, config.width // heads, qk_norm_eps=EPS)

    def forward(
        self, x: Tensor, time: Tensor, rope: Any, mask: Tensor, memory: Memory, *, attends: bool = True
    ) -> Tensor:
        """As `DenoiserBlock`; rope: within frames, and through them. Of the prompt, which has no frames: None."""
        parts = (time + self.modulation).to(x.dtype)[:, :, :, None].unbind(2)
        within, through = (None, None) if rope is None else rope
        alone = mask[..., : mask.shape[-1] - (x.shape[1] - 1) * x.shape[2]]  # the words and one frame
        if attends:
            seen = self.attention(modulated(x, *parts[:2]).flatten(0, 1), within, alone, memory=memory)
            x = torch.addcmul(x, parts[2], seen.view_as(x))
        if attends and through is not None and self.looks_through:
            tracks = modulated(x, *parts[6:8]).transpose(1, 2)  # (B, N, F, D)
            met = self.through(tracks.flatten(0, 1), through).view_as(tracks).transpose(1, 2)
            x = torch.addcmul(x, parts[8], met)
        return torch.addcmul(x, parts[5], self.mlp(modulated(x, *parts[3:5])))


class WithinBlock(FactorisedBlock):
    """Without attention through frames."""

    looks_through = False


class Factorised(Denoiser):
    """Frames see each other only in attention through frames."""

    kinds: tuple[type[FactorisedBlock], ...] = (FactorisedBlock,)

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__(config)
        self.time_modulation = torch.nn.Linear(config.width, (MODULATIONS + 3) * config.width)
        kinds = (self.kinds[layer % len(self.kinds)] for layer in range(config.depth))
        self.blocks = torch.nn.ModuleList(kind(config) for kind in kinds)

    def look(self, x: Tensor, t: Tensor, told: Read, **lacking: Any) -> Tensor:
        """As `Denoiser`."""
        numbers = torch.arange(x.shape[2], device=x.device)
        cos, sin = rope_table(numbers, rope_frequencies(self._head_width, ROPE_THETA).to(x.device))
        self._through, frames = (cos.to(self.embed.weight.dtype), sin.to(self.embed.weight.dtype)), x.shape[2]
        keys, values = (part.repeat_interleave(frames, 0) for part in (told.keys, told.values))
        mask = told.mask.repeat_interleave(frames, 0)
        return super().look(x, t, Read(told.mean, mask, keys, values), **lacking)

    def _rope(self, x: Tensor) -> Any:
        return super()._rope(x[:, :, :1]), self._through


class Alternate(Factorised):
    """Attention through frames in every second block."""

    kinds = (WithinBlock, FactorisedBlock)


class Way(Diffusion):
    """Learning from clips alone, with all frames unknown, beginning as the painter."""

    looks = 2
    network: type[Denoiser] = Denoiser

    def __init__(self) -> None:
        self._painter = open_drawing("painter", PAINTER)

    def build(self, config: DenoiserConfig) -> Denoiser:
        """With the painter's weights; what those lack is random behind gates of zero."""
        model = fresh(self.network(config))
        weights = model.state_dict()
        for name, weight in self.weights().items():
            weights[name][: len(weight)] = weight
        return model

    def weights(self) -> dict[str, Tensor]:
        """The painter's, made to fit."""
        return dict(self._painter.denoiser("cpu", torch.float32).state_dict())

    def times(self, n: int, frames: int, rng: torch.Generator, device: torch.device) -> Tensor:
        """All frames of a clip are equally far."""
        return shift(spread_times(n, rng, device), SHIFT)[:, None].expand(-1, frames)


class FactorisedWay(Way):
    """With attention through frames in every block."""

    network = Factorised


class AlternateWay(Way):
    """With fewer looks through frames."""

    network = Alternate


class PairsWay(FactorisedWay):
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
        return Example(torch.from_numpy(frames), caption)


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
    "joint": (Clipped, Way),
    "factorised": (Clipped, FactorisedWay),
    "alternate": (Clipped, AlternateWay),
    "pairs": (Paired, PairsWay),
}


def learner(way: str) -> tuple[Clipped, DenoiserConfig]:
    """The medium that learns in this way, and its config."""
    medium, family = WAYS[way]
    painter = open_drawing("painter", PAINTER)
    place = str(compute.device())
    encoder = engine.prompt_encoder(device=place)
    made = medium(painter.codec(place, torch.bfloat16), encoder, SIDE_PX, engine.find_data)
    made.styles, made.family = ("noto",), family()  # type: ignore[assignment]
    config = replace(painter.config, num_frames=16)
    return made, replace(config, channels=2 * config.channels, num_frames=8) if way == "pairs" else config


@torch.no_grad()
def judged(medium: Clipped, model: Denoiser, place: torch.device) -> float:
    """The error of held-out clips at the times and with the weights of training; only the noise differs by way."""
    held_out, total = medium.examples("scenes", held_out=True), 0.0
    for index in range(JUDGED):
        x, (states, mask) = medium.batch([held_out.item(0, index)])
        rng = torch.Generator().manual_seed(index)
        t = shift(spread_times(4, rng, torch.device("cpu")), SHIFT)[:, None].expand(-1, x.shape[2]).to(place)
        clean = x.to(place).expand(4, -1, -1, -1, -1)
        noisy = PATH.mix(clean, torch.randn(clean.shape, generator=rng).to(place), of_frames(t))
        told: Condition = (states.to(place).expand(4, -1, -1), mask.to(place).expand(4, -1))
        error = (denoise(model, noisy, t, *told) - clean).square().mean((1, 2, 3, 4))
        total += float((error / t[:, 0].square()).mean())
    return total / JUDGED


def main() -> None:
    """Trains and judges one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--batch", type=int, default=4, help="clips a step")
    parser.add_argument("--looks", type=int, default=Way.looks, help="at each clip in a step")
    parser.add_argument("--workers", type=int, default=1, help="processes that make clips")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    datasets.build("scenes", SIDE_PX)
    for way in options.ways.split(","):
        medium, config = learner(way)
        medium.family.looks = options.looks
        training = Training(
            config,
            batch=options.batch,
            max_minutes=options.minutes,
            matrix_rate=0.01,
            rate=1.5e-3,
            warmup_steps=20,
            decay=0.5,
            ema=0.99,
            num_workers=options.workers,
            compile=options.compile,
            evaluate_every_steps=0,
            sample_every_steps=0,
        )
        folder, seen = options.output / way, dict[str, Any]()
        run(medium, training, "scenes", folder, lambda event, seen=seen: seen.update(last=event))  # type: ignore[misc]
        model = medium.family.build(config)
        model.load_state_dict(load_file(folder / "model" / "model.safetensors"))
        place = compute.device()
        print(f"{way:12} {judged(medium, model.eval().to(place), place):.4f}   {seen}", flush=True)
        print(f"{way} is finished", file=sys.stderr)


if __name__ == "__main__":
    main()
