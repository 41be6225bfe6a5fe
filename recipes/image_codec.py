"""How the codec of weights/image was made: python recipes/image_codec.py -o FOLDER --minutes 20.

Repeat the command to go on with a run that was stopped. Steps matter more here than large batches: 8 pictures
are 2,048 patches of 8 x 8 pixels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reverie.data.scenes import Scenes
from reverie.diffusion.codec import Codec, CodecConfig, reconstruction_loss
from reverie.hub import datasets
from reverie.hub.drawings import open_codec
from reverie.train import Training, run
from reverie.types import Example

SIDE_PX = 128


class Autoencoding:
    """Make a picture small, and the same picture again. start: the folder of a codec to begin with, or None."""

    def __init__(self, start: Path | None) -> None:
        self._start = start

    def build(self, config: CodecConfig) -> Codec:
        """A codec with fresh weights, or those of `start`."""
        codec = Codec(config)
        if self._start is not None:
            codec.load_state_dict(open_codec(self._start, "cpu", torch.float32).state_dict())
        return codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def loss(self, model: Codec, batch: Tensor, condition: None, rng: torch.Generator) -> Tensor:
        """See `diffusion.codec.reconstruction_loss`."""
        return reconstruction_loss(model, batch, rng)


class Pictures:
    """Scenes without their captions."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes

    def item(self, seed: int, index: int) -> Example:
        """A picture (S, S, 3) uint8."""
        return Example(self._scenes.item(seed, index)[0])


class CodecLearner:
    """What the training loop asks of something that it trains."""

    name = "codec"

    def __init__(self, start: Path | None) -> None:
        self.family = Autoencoding(start)

    def examples(self, source: str, *, held_out: bool) -> Pictures:
        """The scenes of the data set `source`."""
        assert source == "scenes"
        return Pictures(datasets.open_scenes(SIDE_PX, "held_out" if held_out else "train"))

    def batch(self, examples: Sequence[Example]) -> tuple[Tensor, None]:
        """Pictures (B, 3, 1, S, S) in [-1, 1]."""
        pixels = torch.stack([example.x for example in examples])
        return pixels.permute(0, 3, 1, 2)[:, :, None] / 127.5 - 1, None


def main() -> None:
    """Trains until the minutes are over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--start", type=Path, help="a folder of a codec to begin with")
    options = parser.parse_args()
    datasets.build("scenes", SIDE_PX)
    training = Training(
        CodecConfig(),
        batch=8,
        max_minutes=options.minutes,
        rate=1e-3,
        matrix_rate=0.0,
        weight_decay=0.0,
        evaluate_every_steps=400,
        sample_every_steps=0,
        num_workers=1,
    )
    run(CodecLearner(options.start), training, "scenes", options.output, show)


def show(event: Any) -> None:
    """A line whenever the held-out loss was measured."""
    if getattr(event, "held_out", None) is not None:
        print(event, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
