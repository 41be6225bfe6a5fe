"""Makes docs/clips.png with an animator: python docs/clips.py MODEL.

16 prompts with pairs that training never shows, as they come, and one clip for each, eight frames of it; nothing is
chosen afterwards.
"""

from __future__ import annotations

import sys
from pathlib import Path

import reverie
from reverie.animating import animate
from reverie.data.clips import Clips
from reverie.data.sheet import strips
from reverie.hub import datasets, files
from reverie.media import to_png

NUM, SEED = 16, 2
FIRST = "a red panda riding a skateboard to the right"


def main() -> None:
    """Animates, and writes the sheet."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    source = Clips(datasets.build("scenes", 128), 128, "held_out", ("noto",))
    said = [FIRST, *(source.clip(SEED, index).caption for index in range(NUM - 1))]
    animator = reverie.load(sys.argv[1])
    clips = [animate(animator, prompt, seed=number).clip for number, prompt in enumerate(said)]
    files.write(Path(__file__).with_name("clips.png"), to_png(strips(clips, said)))


if __name__ == "__main__":
    main()
