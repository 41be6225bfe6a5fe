"""How the denoiser of weights/scenes was made: python recipes/image.py --codec FOLDER -o FOLDER --minutes 600.

Repeat the command to go on with a run that was stopped; more minutes make it longer. The rates fall in the last part
of the run only when --decay says in how much of it. --start goes on from a model whose run is no longer there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from common import arguments, lines
from reverie import engine
from reverie.diffusion.family import Diffusion
from reverie.diffusion.model import Denoiser, DenoiserConfig
from reverie.hub import datasets
from reverie.hub.drawings import open_codec, open_drawing
from reverie.modalities.image import Image
from reverie.train import Training, run

SIDE_PX = 128


def main() -> None:
    """Trains until the minutes are over."""
    parser = arguments(__doc__, minutes=600)
    parser.add_argument("--codec", type=Path, required=True, help="a folder that recipes/image_codec.py made")
    parser.add_argument("--depth", type=int, default=Image.presets["small"].depth, help="blocks")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--decay", type=float, default=0.0)
    parser.add_argument("--styles", default="noto", help="of the scenes, with commas; empty: all")
    parser.add_argument("--start", type=Path, help="the folder of a painter of the same shape")
    options = parser.parse_args()
    datasets.build("scenes", SIDE_PX)
    codec = open_codec(options.codec, "cpu", torch.bfloat16)
    small = replace(Image.presets["small"], depth=options.depth)
    medium, model = Image.fresh("scenes", small, codec, engine.prompt_encoder(), engine.find_data)
    medium.styles = tuple(filter(None, options.styles.split(",")))
    if options.start is not None:
        medium.family = Continued(options.start)
    training = Training(
        model,
        batch=options.batch,
        max_minutes=options.minutes,
        warmup_steps=100,
        decay=options.decay,
        matrix_rate=0.01,
        rate=1.5e-3,
        ema=0.999,
        evaluate_every_steps=500,
        evaluate_examples=256,
        sample_every_steps=1000,
        checkpoint_every_steps=0,
        checkpoint_every_minutes=4.0,
        num_workers=1,
        compile=options.compile,
        seed=options.seed,
    )
    run(medium, training, "scenes", options.output, lines(10))


class Continued(Diffusion):
    """Builds with the weights of a painter instead of fresh ones."""

    def __init__(self, folder: Path) -> None:
        self._start = open_drawing(folder.name, folder)

    def build(self, config: DenoiserConfig) -> Denoiser:
        """The painter's denoiser, to be trained on."""
        model = super().build(config)
        model.load_state_dict(self._start.denoiser("cpu", torch.float32).state_dict())
        return model


if __name__ == "__main__":
    main()
