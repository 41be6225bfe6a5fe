"""How weights/motion-judge was made, in about 6 minutes of one core: python recipes/motion_judge.py -o FOLDER.

The judge sees rendered clips only, in all styles and with all pairs. It is scored on clips that it never saw.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from image_judge import STYLES, TEST_SEED
from reverie.data.clips import Clips
from reverie.data.scene import Split
from reverie.evaluate import judge, motion_judge, motion_training, pictures, videos
from reverie.evaluate.motion_judge import MotionJudge
from reverie.evaluate.motion_training import Shown
from reverie.hub import files
from reverie.hub.datasets import build

POOL_CLIPS, SHOW_EVERY_CLIPS = 8000, 800
TESTS: dict[str, tuple[Split, tuple[str, ...]]] = {
    "all motions evenly": ("judge", ()),
    "held-out pairs": ("held_out", ()),
    "noto, evenly": ("judge", ("noto",)),
    "twemoji, evenly": ("judge", ("twemoji",)),
}
CARD = """# The judge of motion

A small convolutional network that looks at a clip of an illustrated scene, brought to {frames} frames of {side} x
{side} pixels, and says how things move ({motions}), in which direction, and how fast. `reverie eval video` uses it,
and takes Frechet distances between clips in the {features} numbers that it answers from. {weights:,} weights in bf16.

- **Data**: Reverie's illustrated scenes in motion, rendered from openly licensed icons (see NOTICE): all pairs, all
  motions equally often, all seven styles, noto most often. It has never seen a clip that a model made.
- **Learning**: {pool:,} clips, {num:,} times one of them; half of the time blemished as generated clips are (a bend and
  a tint that drift from frame to frame, blur, flicker, noise). One in five runs backwards, so that nothing is to be
  read from the way icons face; one in twenty stands still; one in ten has no sense (frames shuffled, the first fading
  into the last, mush, noise), and there the right answer is "none". `recipes/motion_judge.py` says how.
- **What it sees** is how light each frame is, and how much that and the colours change; not the colours themselves.
- **An answer counts** only if it is the right one and its probability is at least {sure}. A direction is asked for only
  where the motion has one, a speed only where the caption names it. Where a camera pans to the left, things seem to
  go to the right, and that is what it says.
- **Limits**: it knows these motions and this drawn world only. It does not judge how well a motion looks.

Accuracy on renders that it never saw, with intervals of 95 % ({tested:,} clips each):

{table}
"""


def main() -> None:
    """Trains, measures at the end and writes the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=motion_training.LEARNING.num)
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the clips")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    found = MotionJudge(motion_judge.config())
    learning = replace(motion_training.LEARNING, num=options.clips, seed=options.seed)
    for loss in motion_training.learn(found, pool(), learning):
        if found.config.clips % SHOW_EVERY_CLIPS == 0:
            print(f"{found.config.clips:,} clips, loss {loss:.3f}", file=sys.stderr, flush=True)
    judge.save(found, found.config, options.output)
    finish(motion_judge.load(options.output), options.output)


def pool(num: int = POOL_CLIPS) -> list[Shown]:
    """Clips of all styles, in the same shares as the judge of pictures sees."""
    path = build("scenes", pictures.REAL_PX)
    styles = [style for style, times in STYLES.items() for _ in range(times)]
    sources = [Clips(path, motion_judge.SIDE_PX, "judge", (style,)) for style in styles]
    items = (sources[index % len(sources)].item(0, index) for index in range(num))
    return [(frames, clip) for frames, _, clip in items]


def finish(found: MotionJudge, folder: Path, tested: int = 400) -> None:
    """Measures a judge and writes its card."""
    rows = pictures.lines({name: measure(found, *test, tested) for name, test in TESTS.items()})
    rows.insert(1, ["---"] * len(rows[0]))
    table = "\n".join(f"| {' | '.join(cell.strip() for cell in row)} |" for row in rows)
    print(table, file=sys.stderr)
    files.write(folder / "README.md", CARD.format(
        frames=motion_judge.NUM_FRAMES, side=motion_judge.SIDE_PX, motions=", ".join(found.config.motion[1:]),
        features=found.config.features, weights=sum(weight.numel() for weight in found.parameters()),
        num=found.config.clips, pool=POOL_CLIPS, sure=judge.SURE, tested=tested, table=table,
    ))  # fmt: skip


def measure(found: MotionJudge, split: Split, styles: tuple[str, ...], tested: int) -> pictures.Table:
    """How often the judge is right on clips that it never saw, at the size that models draw."""
    source = Clips(build("scenes", pictures.REAL_PX), pictures.REAL_PX, split, styles)
    clips = [source.clip(TEST_SEED, index) for index in range(tested)]
    said = (found.ask([source.render(clip)])[0] for clip in clips)
    judged = [videos.motion_verdict(given, clip) for given, clip in zip(said, clips, strict=True)]
    return pictures.table(judged, motion_judge.QUESTIONS)


if __name__ == "__main__":
    main()
