"""How good clips are: does a clip show what its prompt says, does that move as it says, and is it steady?

Prompts are clips of pairs that training never shows. The same judges look at real renders of the same clips. Of a frame
they are asked only what the judge of pictures sees in that frame of the real clip: so nobody is asked for a cat that
is still outside, and what turns or grows counts for as much as the judge can tell.

N clips, F frames, S side of a frame in pixels, D features
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from reverie.data.caption import Speaker
from reverie.data.clips import NUM_FRAMES, Clips
from reverie.data.dice import Dice
from reverie.data.motion import Clip
from reverie.data.narrate import Narrator
from reverie.data.vocabulary import vocabulary
from reverie.evaluate import judge as picture_judge
from reverie.evaluate import motion_judge
from reverie.evaluate.closer import look
from reverie.evaluate.judge import Judge
from reverie.evaluate.motion_judge import Frames, MotionJudge
from reverie.evaluate.pictures import ALL, REAL_PX, Count, Table, Verdict, accepted, cell, verdict
from reverie.hub.datasets import built

Animator = Callable[[str, int], Frames]  # (prompt, seed) -> uint8 (F, S, S, 3)
Marks = dict[str, NDArray[np.bool_]]  # by question: (F,)
T = TypeVar("T")

LEAST = 4  # frames in which a question must be asked, so that it is one about the clip
HOLDS = 0.75  # of the frames that are asked: what is right in so many is right in the clip
QUESTIONS = (*picture_judge.QUESTIONS, *motion_judge.QUESTIONS)
NUM_REFERENCE = 400  # real clips that distances are taken to
REFERENCE_SEED = 1_000_003  # of prompts and of learning are others
SMALL_PX = 64  # at this size flicker is measured


@dataclass(frozen=True)
class Seen:
    """Which frames of a clip show what it names, and what the subject looks like in each: (F, width)."""

    right: Marks
    subjects: Tensor


@dataclass(frozen=True)
class Judged:
    """What the judges say of a clip.

    right, asked: question -> for each frame whether it is right, and whether that counts. motion: kind, direction and
    speed. flicker: 0 to 1. drift: 0 to 2, None where the subject is asked in less than two frames. features: (D,).
    """

    right: Marks
    asked: Marks
    motion: Verdict
    flicker: float
    drift: float | None
    features: Tensor

    @property
    def holds(self) -> dict[str, bool]:
        """Question -> whether it is right in the clip; what is asked in too few frames is left out."""
        shares = {name: self.right[name][asked].mean() for name, asked in self.asked.items() if asked.sum() >= LEAST}
        return {name: bool(share >= HOLDS) for name, share in shares.items()} | self.motion.right


@dataclass(frozen=True)
class Report:
    """Clips, animated and rendered, and what the judges say. reference: the features of other real clips (N, D)."""

    clips: list[Clip]
    animated: list[Frames]
    real: list[Frames]
    animated_judged: list[Judged]
    real_judged: list[Judged]
    reference: Tensor

    @property
    def figures(self) -> tuple[Figures, Figures]:
        """Of the animated clips, and of the real ones."""
        return figures(self.animated_judged, self.reference), figures(self.real_judged, self.reference)


@dataclass(frozen=True)
class Figures:
    """What a table shows. clips: in how many a question is right. frames: in how many of those asked.

    asked: in how many of all frames whose clip names it that is asked. flicker, drift: means. fvd: the Frechet distance
    from other real clips.
    """

    clips: Table
    frames: Table
    asked: Table
    flicker: float
    drift: float
    fvd: float


def figures(judged: Sequence[Judged], reference: Tensor) -> Figures:
    """What the judges say of all clips together."""
    drifts = [each.drift for each in judged if each.drift is not None]
    return Figures(
        clips=_in_clips([each.holds for each in judged]),
        frames={name: _in_frames(judged, name)[0] for name in picture_judge.QUESTIONS},
        asked={name: _in_frames(judged, name)[1] for name in picture_judge.QUESTIONS},
        flicker=float(np.mean([each.flicker for each in judged])),
        drift=float(np.mean(drifts)) if drifts else 0.0,
        fvd=frechet(torch.stack([each.features for each in judged]), reference),
    )


def _in_clips(holds: Sequence[dict[str, bool]]) -> Table:
    """In how many clips each question is right, and in how many all that are asked."""
    marks = {name: [each[name] for each in holds if name in each] for name in QUESTIONS}
    counts = {name: Count(sum(found), len(found)) for name, found in marks.items()}
    return {**counts, ALL: Count(sum(all(each.values()) for each in holds), len(holds))}


def _in_frames(judged: Sequence[Judged], name: str) -> tuple[Count, Count]:
    """In how many of the frames that count a question is right, and how many of all are those."""
    named = [each for each in judged if name in each.asked]
    right = sum(int(each.right[name][each.asked[name]].sum()) for each in named)
    asked = sum(int(each.asked[name].sum()) for each in named)
    return Count(right, asked), Count(asked, sum(len(each.asked[name]) for each in named))


def lines(animated: Figures, real: Figures) -> list[list[str]]:
    """A table for people: in how many clips each question is right, in how many frames; and of real renders."""
    rows = [["", "clips", "frames", "real clips", "frames asked"]]
    for name in (*QUESTIONS, ALL):
        frames, asked = (_percent(table.get(name)) for table in (animated.frames, real.asked))
        rows.append([name.replace("_", " "), cell(animated.clips[name]), frames, cell(real.clips[name]), asked])
    return rows


def _percent(count: Count | None) -> str:
    return f"{count.share:.1%}" if count is not None and count.asked else ""


def steadiness(animated: Figures, real: Figures) -> list[list[str]]:
    """A table for people: how steady clips are, how far from real ones, and how many times what real renders are."""
    rows = [["", "animated", "real", "ratio"]]
    for name, words in {"flicker": "flicker, of 255", "drift": "identity drift", "fvd": "domain FVD"}.items():
        one, two = (getattr(each, name) * (255 if name == "flicker" else 1) for each in (animated, real))
        rows.append([words, f"{one:.3f}", f"{two:.3f}", f"{one / two:.2f}" if two else ""])
    return rows


# --- prompts ---


class First(Dice):
    """Dice that always choose what comes first, and leave out what may be left out: captions become plain."""

    def __init__(self) -> None:
        super().__init__(0, 0)

    def pick(self, choices: Sequence[T]) -> T:
        """The first."""
        return choices[0]

    def chance(self, one_in: int) -> bool:
        """Never."""
        return False


def source() -> Clips:
    """Clips of held-out pairs; a `ReverieError` if the scenes are not built."""
    return Clips(built("scenes", REAL_PX), REAL_PX, "held_out")


def prompts(num: int = 100, seed: int = 1) -> list[Clip]:
    """Clips of held-out pairs; their captions name plainly all that is asked about."""
    narrator, clips = Narrator(Speaker(vocabulary())), source()
    found = (clips.clip(seed, index) for index in range(num))
    return [replace(clip, caption=narrator.caption(clip, First())) for clip in found]


# --- judging ---


def score_animator(
    animate: Animator,
    judges: tuple[Judge, MotionJudge],
    num: int = 100,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Has `num` prompts animated, prompt i with seed i, and judged, beside real renders of the same clips.

    progress(clips made, in all) is told how far.
    """
    clips, animated = prompts(num, seed), list[Frames]()
    for number, clip in enumerate(clips):
        animated.append(animate(clip.caption, number))
        if progress is not None:
            progress(number + 1, num)
    renderer = source()
    real = [renderer.render(clip) for clip in clips]
    shown = {"animated": animated, "real": real}
    looks = {name: [seen(judges[0], *each) for each in zip(made, clips, strict=True)] for name, made in shown.items()}
    asked = [each.right for each in looks["real"]]
    told = {
        f"{name}_judged": [judged(judges[1], *each) for each in zip(made, clips, looks[name], asked, strict=True)]
        for name, made in shown.items()
    }
    return Report(clips, animated, real, **told, reference=reference(judges[1], NUM_REFERENCE))


def reference(judge: MotionJudge, num: int) -> Tensor:
    """The features of real clips that are no prompts (N, D)."""
    renderer = source()
    return judge.features([renderer.item(REFERENCE_SEED, index)[0] for index in range(num)])


def seen(judge: Judge, frames: Frames, clip: Clip) -> Seen:
    """What the judge of pictures sees of a clip in its frames: if there are not 16, in those nearest in time to 16."""
    frames = frames[np.linspace(0, len(frames) - 1, NUM_FRAMES).round().astype(int)]
    found = look(judge, list(frames))
    told = [verdict(given, accepted(clip.scene)) for given in found.told]
    return Seen({name: np.array([each.right[name] for each in told]) for name in told[0].right}, found.subjects)


def judged(judge: MotionJudge, frames: Frames, clip: Clip, seen: Seen, asked: Marks) -> Judged:
    """What the judges say of a clip in which that is seen. asked: in which frames each question counts."""
    features = judge.features([frames])
    (given,) = judge.told(features)
    subjects = seen.subjects[torch.from_numpy(asked["subject"])]
    drift = drifting(subjects) if len(subjects) > 1 else None
    return Judged(seen.right, asked, motion_verdict(given, clip), flicker(frames), drift, features[0])


def motion_verdict(given: dict[str, tuple[str, float]], clip: Clip) -> Verdict:
    """What the judge of motion says of a clip. A speed that the caption does not name is not asked for."""
    right = {name: {answer} for name, answer in motion_judge.answers(clip).items() if answer is not None}
    if not clip.speed:
        right.pop("speed", None)
    return verdict(given, right)


# --- measures ---


def flicker(frames: Frames) -> float:
    """How far frames are from halfway between their neighbours: the mean over pixels of |x[t] - (x[t-1] + x[t+1]) / 2|.

    What changes evenly has none; edges that move have some, in a real clip too: it means something beside that.
    """
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255  # (F, 3, S, S)
    x = F.adaptive_avg_pool2d(x, min(SMALL_PX, x.shape[-1]))
    return float((x[1:-1] - (x[:-2] + x[2:]) / 2).abs().mean())


def drifting(features: Tensor) -> float:
    """How unlike itself a thing becomes: 1 - the cosine between what two frames show (F, D), over all pairs of them."""
    unit, num = F.normalize(features, dim=-1), len(features)
    return 1 - float(((unit @ unit.T).sum() - num) / (num * (num - 1)))


def frechet(one: Tensor, two: Tensor) -> float:
    """The squared Frechet distance between Gaussians like two sets of features (N, D): arXiv:1812.01717, equation 1."""
    (mean, spread), (other_mean, other_spread) = _gaussian(one), _gaussian(two)
    root = _root(spread)
    both = _root(root @ other_spread @ root)
    apart = (mean - other_mean).square().sum()
    return float(apart + spread.trace() + other_spread.trace() - 2 * both.trace())


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D)."""
    x = features.double()
    return x.mean(0), torch.cov(x.T)


def _root(matrix: Tensor) -> Tensor:
    """The symmetric root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return root
