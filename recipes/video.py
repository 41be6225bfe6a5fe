"""How the animator of weights/motion was made: python recipes/video.py -o FOLDER --minutes 240.

It begins with the weights of a painter. Repeat the command to go on with a run that was stopped; more minutes make it
longer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from common import Continued, device, drawing_arguments, drawing_settings, lines
from reverie import engine
from reverie.diffusion.video import VideoDiffusion
from reverie.hub import datasets
from reverie.hub.drawings import open_drawing
from reverie.modalities.video import Video
from reverie.train import Training, run

SIDE_PX = 128
SCENES = Path(__file__).parents[1] / "src" / "reverie" / "weights" / "scenes"


def main() -> None:
    """Trains until the minutes are over."""
    parser = drawing_arguments(__doc__, minutes=240, batch=4, looks=VideoDiffusion.looks, ema=0.998)
    parser.add_argument("--painter", type=Path, default=SCENES, help="the folder of a model of single pictures")
    parser.add_argument("--start", type=Path, help="the folder of an animator, to go on from it instead")
    options = parser.parse_args()
    datasets.build("scenes", SIDE_PX)
    painter = open_drawing("painter", options.painter)
    codec = painter.codec(device(), torch.bfloat16)
    medium = Video(codec, engine.prompt_encoder(device=device()), SIDE_PX, engine.find_data)
    medium.styles = tuple(filter(None, options.styles.split(",")))
    medium.family = ContinuedVideo(options.painter if options.start is None else options.start)
    medium.family.looks = options.looks
    config = replace(painter.config, num_frames=Video.presets["small"].num_frames)
    settings = drawing_settings(options)
    training = Training(config, warmup_steps=50, evaluate_examples=64, **settings)
    run(medium, training, "scenes", options.output, lines(10))


class ContinuedVideo(Continued, VideoDiffusion):
    """Clips, from the weights of a painter or of an animator: their shape is the same."""


if __name__ == "__main__":
    main()
