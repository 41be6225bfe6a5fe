"""How the composer of weights/tunes was made: python recipes/music.py -o FOLDER --minutes 60.

Repeat the command to go on with a run that was stopped; more minutes make it longer.
"""

from __future__ import annotations

from common import arguments, lines
from reverie import engine
from reverie.hub import datasets
from reverie.modalities.music import DATA, Music
from reverie.train import Training, run


def main() -> None:
    """Trains until the minutes are over."""
    parser = arguments(__doc__, minutes=60)
    parser.add_argument("--steps", type=int, help="in all")
    parser.add_argument("--size", default="small", choices=list(Music.presets))
    parser.add_argument("--dropout", type=float, default=0.2)
    options = parser.parse_args()
    datasets.build(DATA)
    medium, model = Music.fresh(DATA, Music.presets[options.size], engine.find_data)
    training = Training(
        model,
        batch=16,
        max_minutes=options.minutes,
        max_steps=options.steps,
        decay=0.7,
        dropout=options.dropout,
        compile=options.compile,
        weight_decay=0.1,
        ema=0.998,
        evaluate_every_steps=options.evaluate_every,
        evaluate_examples=128,
        sample_every_steps=2 * options.evaluate_every,
        checkpoint_every_steps=0,
        checkpoint_every_minutes=4.0,
        seed=options.seed,
    )
    run(medium, training, DATA, options.output, lines(100))


if __name__ == "__main__":
    main()
