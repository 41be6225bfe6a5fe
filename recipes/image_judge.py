"""How weights/image-judge was made, in two runs, of which the second took about 35 minutes of one core:

python recipes/image_judge.py -o FIRST --pictures 160000
python recipes/image_judge.py -o FOLDER --pictures 230400 --start FIRST

The first run was made by an earlier version of this file (commit e01e2a6): the judge looked at 64 pixels and had a
block less, scenes did not stand on a grid, and all styles came equally often. The second took over what it had learnt.

The judge sees rendered scenes only, in all styles and with all pairs. It is scored on scenes that it never saw.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from reverie.data.scene import Split
from reverie.data.scenes import Scenes
from reverie.data.vocabulary import vocabulary
from reverie.evaluate import judge, judge_training, pictures
from reverie.evaluate.judge import Judge
from reverie.hub import files
from reverie.hub.datasets import build, open_scenes
from reverie.hub.safetensors_file import SINGLE, SafetensorsFile

SAVE_EVERY_PICTURES = 6400
FIRST = "body.1.weight"  # the kernel that sees pixels
STYLES = {  # how many of 16 pictures: most of that in which the painter draws
    "noto": 6, "fluent-emoji-flat": 3, "fluent-emoji": 2, "noto-v1": 2, "emojione": 1, "fxemoji": 1, "twemoji": 1,
}  # fmt: skip
TEST_SEED = 1_000_000  # learning uses another
TESTS: dict[str, tuple[Split, tuple[str, ...]]] = {
    "fresh scenes": ("judge", ()),
    "held-out pairs": ("held_out", ()),
    "noto, as fresh": ("judge", ("noto",)),
    "twemoji, as fresh": ("judge", ("twemoji",)),
}
CARD = """# The judge of pictures

A small convolutional network that looks at a picture of an illustrated scene, brought to 128 x 128 pixels by averaging
areas, and says what it shows: {questions}. `reverie eval image` uses it. {weights:,} weights in bf16.

- **Data**: the illustrated scenes of Reverie, rendered from openly licensed icons (see NOTICE): all pairs, all
  relations, all seven styles, noto most often. It has never seen a picture that a model drew.
- **Learning**: {num:,} pictures, none twice; blemished as drawn pictures are (bent, blurred or sharpened, tinted,
  noisy, rounded as JPEG does). One in 16 is blurred or shuffled beyond recognition, and there the right answer is that
  there is nothing. `recipes/image_judge.py` says how, run by run.
- **An answer counts** only if it is the right one and its probability is at least {sure}. A colour is asked for only
  where the caption names it; "next to" may be on either side.
- **Limits**: it knows the words of the scenes and these styles only; it does not judge beauty, size words or style.

Accuracy on renders that it never saw, at 128 pixels, with intervals of 95 % ({tested:,} scenes each):

{table}
"""


def main() -> None:
    """Trains, saving now and then; measures at the end and writes the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=judge_training.Learning.num, help="0: only measure --start")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the pictures")
    parser.add_argument("--start", type=Path, help="a judge of the same words to go on from")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    found = Judge(judge.config()) if options.start is None else started(options.start)
    learning = judge_training.Learning(num=options.pictures, seed=options.seed)
    for loss in judge_training.learn(found, sources(), learning):
        if found.config.pictures % SAVE_EVERY_PICTURES == 0:
            print(f"{found.config.pictures:,} pictures, loss {loss:.3f}", file=sys.stderr, flush=True)
            judge.save(found, found.config, options.output)
    judge.save(found, found.config, options.output)
    finish(judge.load(options.output), options.output)


def started(folder: Path) -> Judge:
    """A judge that answers as the one in `folder` does, which may have fewer blocks, and look at 64 pixels."""
    layout = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    stored = SafetensorsFile.open(folder / SINGLE)
    weights = {name: stored.read(name) for name in stored.tensors}
    kernel = weights[FIRST].unflatten(1, (3, -1))  # (width, 3, pixels of a patch, 3, 3)
    if kernel.shape[2] == 4:  # of 2 x 2 pixels, each of which is four of ours now
        fine = kernel.unflatten(2, (2, 2)).repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
        weights[FIRST] = fine.flatten(1, 3)
    found = Judge(replace(judge.config(), pictures=layout["judge"]["pictures"]))
    found.load_state_dict(weights, strict=False)  # what is not there is as new: a new block changes nothing
    return found


def sources() -> list[Scenes]:
    """Of each style some, in the order in which the judge sees them; every style is among them."""
    build("scenes", judge.SIDE_PX)
    styles = [style for turn in range(max(STYLES.values())) for style, times in STYLES.items() if turn < times]
    assert set(styles) == set(vocabulary().styles)
    return [open_scenes(judge.SIDE_PX, "judge", (style,)) for style in styles]


def finish(found: Judge, folder: Path, tested: int = 2000) -> None:
    """Measures a judge and writes its card."""
    rows = pictures.lines({name: measure(found, *test, tested) for name, test in TESTS.items()})
    rows.insert(1, ["---"] * len(rows[0]))
    table = "\n".join(f"| {' | '.join(cell.strip() for cell in row)} |" for row in rows)
    print(table, file=sys.stderr)
    weights = sum(weight.numel() for weight in found.parameters())
    questions = ", ".join(name.replace("_", " ") for name in judge.QUESTIONS)
    facts = {"num": found.config.pictures, "sure": judge.SURE, "tested": tested}
    text = CARD.format(questions=questions, weights=weights, table=table, **facts)
    files.write(folder / "CARD.md", text)


def measure(found: Judge, split: Split, styles: tuple[str, ...], tested: int) -> pictures.Table:
    """How often the judge is right on scenes that it never saw, at the size that models draw."""
    build("scenes", pictures.REAL_PX)
    source = open_scenes(pictures.REAL_PX, split, styles)
    judged: list[pictures.Verdict] = []
    for start in range(0, tested, 100):
        items = [source.item(TEST_SEED, index) for index in range(start, min(start + 100, tested))]
        judged += pictures.verdicts(found, [pixels for pixels, _, _ in items], [scene for *_, scene in items])
    return pictures.table(judged)


if __name__ == "__main__":
    main()
