"""Draws docs/pictures.png with the painter that ships: python docs/pictures.py.

64 prompts of pairs that training never shows, as they come, and one picture for each; nothing is chosen afterwards.
"""

from __future__ import annotations

from pathlib import Path

import reverie
from reverie.data.sheet import sheet
from reverie.drawing import draw
from reverie.evaluate.pictures import prompts
from reverie.hub import datasets, files
from reverie.media import to_png

NUM, SEED = 64, 2
FIRST = "a red panda riding a skateboard"


def main() -> None:
    """Draws, and writes the sheet."""
    datasets.build("scenes", 128)
    said = [FIRST, *(scene.caption for scene in prompts(NUM - 1, SEED))]
    painter = reverie.load("scenes")
    drawn = [draw(painter, prompt, seed=number).picture for number, prompt in enumerate(said)]
    files.write(Path(__file__).with_name("pictures.png"), to_png(sheet(drawn, said)))


if __name__ == "__main__":
    main()
