"""What should image tokens be? The same transformer for the same time on pixels, on pixels with a convolutional stem
and head, and on a codec's latents; each judged on held-out pairs.

python benchmarks/image_spaces.py --codec FOLDER -o FOLDER [--minutes 20] [--spaces pixels,stem,latents]

The codec's own training is not counted. Runs go on where they were stopped; the table shows what is finished.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reverie import engine
from reverie.config import override
from reverie.diffusion.codec import ConvBlock
from reverie.diffusion.family import Diffusion
from reverie.diffusion.model import Denoiser, DenoiserConfig, Read
from reverie.evaluate import judge, pictures
from reverie.hub import datasets
from reverie.hub.drawings import open_codec
from reverie.modalities.image import Image
from reverie.train import Training, run
from reverie.types import ImageRequest

SIDE_PX = 128


@dataclass(frozen=True)
class Channels:
    """The part of a codec's config that the medium asks for."""

    channels: int = 3


class Pixels(nn.Module):
    """A codec that changes nothing."""

    factor = 1
    config = Channels()

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))  # tells the dtype

    def encode(self, pictures: Tensor) -> Tensor:
        """The pictures themselves."""
        return pictures

    def decode(self, latents: Tensor) -> Tensor:
        """The latents themselves."""
        return latents


class Stemmed(Denoiser):
    """A denoiser with convolutions at a quarter of the side, before its patches and after."""

    def __init__(self, config: DenoiserConfig, width: int = 64) -> None:
        super().__init__(replace(config, channels=width, side=config.side // 4, patch=config.patch // 4))
        self.stem = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, width, 3, padding=1), ConvBlock(width))
        self.tail = nn.Sequential(ConvBlock(2 * width), nn.Conv2d(2 * width, 48, 3, padding=1), nn.PixelShuffle(4))

    def look(self, x: Tensor, t: Tensor, told: Read, **lacking: Any) -> Tensor:
        """As `Denoiser`, on pixels; the head also sees what the stem saw."""
        near = self.stem(x[:, :, 0])  # (B, width, H/4, W/4)
        far = super().look(near[:, :, None], t, told, **lacking)[:, :, 0]
        out: Tensor = self.tail(torch.cat((near, far), 1))
        return out[:, :, None]


class StemmedDiffusion(Diffusion):
    """The same learning with the other network."""

    def build(self, config: DenoiserConfig) -> Denoiser:
        """Fresh weights."""
        model = Stemmed(config)
        plain = super().build(model.config)
        model.load_state_dict(plain.state_dict(), strict=False)
        nn.init.normal_(model.head.weight, std=0.02)
        nn.init.zeros_(model.tail[1].weight)  # type: ignore[arg-type]
        return model


def medium(space: str, codec: Path, settings: list[str]) -> tuple[Image, DenoiserConfig]:
    """The image medium on tokens of this kind, with 64 tokens a picture in each."""
    config = override(Image.presets["small"], settings)
    chosen: Any = open_codec(codec, "cpu", torch.bfloat16) if space == "latents" else Pixels()
    side, patch = (SIDE_PX // 8, 2) if space == "latents" else (SIDE_PX, 16)
    config = replace(config, side=side, patch=patch)
    made = Image.fresh("scenes", config, chosen, engine.prompt_encoder(), engine.find_data)
    made[0].styles = ("noto",)
    if space == "stem":
        made[0].family = StemmedDiffusion()
    return made


def drawer(learner: Image, model: nn.Module) -> Any:
    """A function (prompt, seed) -> picture."""

    def draw(prompt: str, seed: int) -> np.ndarray:
        request = ImageRequest(prompt, seed=seed)
        steps = learner.family.generate(model, learner.condition(request), request, learner.shape(request))  # type: ignore[arg-type]
        *_, last = steps
        return learner.picture(last.guess, request)

    return draw


def main() -> None:
    """Trains and judges one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--spaces", default="pixels,stem,latents")
    parser.add_argument("--set", action="append", default=[], metavar="A=B", help="a field of the denoiser's config")
    parser.add_argument("--num", type=int, default=100, help="pictures that are judged")
    options = parser.parse_args()
    datasets.build("scenes", SIDE_PX)
    for space in options.spaces.split(","):
        learner, config = medium(space, options.codec, options.set)
        training = Training(
            config,
            batch=16,
            max_minutes=options.minutes,
            matrix_rate=0.01,
            rate=1.5e-3,
            decay=0.3,
            ema=0.995,
            num_workers=1,
            evaluate_every_steps=0,
            sample_every_steps=0,
        )
        seen: dict[str, Any] = {}
        folder = options.output / space
        run(learner, training, "scenes", folder, lambda event, seen=seen: seen.update(last=event))  # type: ignore[misc]
        print(f"{space}: {seen}")
        model = learner.family.build(config)
        from safetensors.torch import load_file

        model.load_state_dict(load_file(folder / "model" / "model.safetensors"))
        report = pictures.score_drawer(drawer(learner, model.eval()), judge.trained(), num=options.num, seed=1)
        drawn, real = report.tables
        for row in pictures.lines({"drawn": drawn, "real": real}):
            print("  ".join(cell.ljust(26) for cell in row), flush=True)


if __name__ == "__main__":
    main()
