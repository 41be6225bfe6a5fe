"""How the animator of weights/motion was made: python recipes/video.py -o FOLDER --minutes 240.

It begins with the weights of a painter. Repeat the command to go on with a run that was stopped; more minutes make it
longer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from common import arguments, lines
from reverie import engine
from reverie.diffusion.model import Denoiser, DenoiserConfig
from reverie.diffusion.video import VideoDiffusion, inflate
from reverie.hub import datasets
from reverie.hub.drawings import open_drawing
from reverie.modalities.video import Video
from reverie.train import Training, run

SIDE_PX = 128
SCENES = Path(__file__).parents[1] / "src" / "reverie" / "weights" / "scenes"


def main() -> None:
    """Trains until the minutes are over."""
    parser = arguments(__doc__, minutes=240)
    parser.add_argument("--painter", type=Path, default=SCENES, help="the folder of a model of single pictures")
    parser.add_argument("--start", type=Path, help="the folder of an animator, to go on from it instead")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--decay", type=float, default=0.5)
    parser.add_argument("--styles", default="noto", help="of the scenes, with commas; empty: all")
    options = parser.parse_args()
    datasets.build("scenes", SIDE_PX)
    painter = open_drawing("painter", options.painter)
    medium = Video(painter.codec("cpu", torch.bfloat16), engine.prompt_encoder(), SIDE_PX, engine.find_data)
    medium.styles = tuple(filter(None, options.styles.split(",")))
    medium.family = Continued(options.painter, options.start)
    training = Training(
        replace(painter.config, num_frames=Video.presets["small"].num_frames),
        batch=options.batch,
        max_minutes=options.minutes,
        warmup_steps=50,
        decay=options.decay,
        matrix_rate=0.01,
        rate=1.5e-3,
        ema=0.998,
        evaluate_every_steps=250,
        evaluate_examples=64,
        sample_every_steps=500,
        checkpoint_every_steps=0,
        checkpoint_every_minutes=4.0,
        num_workers=1,
        compile=options.compile,
        seed=options.seed,
    )
    run(medium, training, "scenes", options.output, lines(10))


class Continued(VideoDiffusion):
    """Builds with the weights of a painter, or of an animator, instead of fresh ones."""

    def __init__(self, painter: Path, animator: Path | None) -> None:
        self._start = open_drawing("start", painter if animator is None else animator)

    def build(self, config: DenoiserConfig) -> Denoiser:
        """A denoiser of clips that is to be trained on."""
        model = super().build(config)
        inflate(self._start.denoiser("cpu", torch.float32).state_dict(), model)
        return model


if __name__ == "__main__":
    main()
