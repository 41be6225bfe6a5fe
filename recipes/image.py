"""How the denoiser of weights/scenes was made: python recipes/image.py --codec FOLDER -o FOLDER --minutes 600.

Repeat the command to go on with a run that was stopped; more minutes make it longer. The rates fall in the last part
of the run, in as much of it as --decay says. --start goes on from a model whose run is no longer there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from common import Continued, device, drawing_arguments, drawing_settings, lines
from reverie import engine
from reverie.diffusion.family import Diffusion
from reverie.hub import datasets
from reverie.hub.drawings import open_codec
from reverie.modalities.image import Image
from reverie.train import Training, run

SIDE_PX = 128


def main() -> None:
    """Trains until the minutes are over."""
    parser = drawing_arguments(__doc__, minutes=600, batch=16, looks=Diffusion.looks, ema=0.999)
    parser.add_argument("--codec", type=Path, required=True, help="a folder that recipes/image_codec.py made")
    parser.add_argument("--depth", type=int, default=Image.presets["small"].depth, help="blocks")
    parser.add_argument("--start", type=Path, help="the folder of a painter of the same shape")
    options = parser.parse_args()
    datasets.build("scenes", SIDE_PX)
    codec = open_codec(options.codec, device(), torch.bfloat16)
    small = replace(Image.presets["small"], depth=options.depth)
    encoder = engine.prompt_encoder(device=device())
    medium, model = Image.fresh("scenes", small, codec, encoder, engine.find_data)
    medium.styles = tuple(filter(None, options.styles.split(",")))
    medium.family = Diffusion() if options.start is None else Continued(options.start)
    medium.family.looks = options.looks
    settings = drawing_settings(options)
    training = Training(model, warmup_steps=100, evaluate_examples=256, **settings)
    run(medium, training, "scenes", options.output, lines(10))


if __name__ == "__main__":
    main()
