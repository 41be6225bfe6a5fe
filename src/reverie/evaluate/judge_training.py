"""How the judge learns: rendered scenes, blemished as generated pictures are, and some spoilt beyond recognition.

B batch, Q questions; pictures (B, 3, 128, 128) in [-1, 1]
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.data.scenes import Scenes
from reverie.evaluate.judge import NONE, QUESTIONS, Answers, Judge, JudgeConfig, answers, tensors
from reverie.evaluate.motion_judge import MotionConfig

IGNORED = -1  # the target of a question that is not asked
BLEMISHED = 0.5  # the share of the pictures, from half of the way on
MUSH_ONE_IN = 16
WEIGHTS = {"subject": 2.0, "other": 2.0, "relation": 2.0}  # the hardest questions


@dataclass(frozen=True)
class Learning:
    """How long and how fast. num: of pictures or clips, in all."""

    num: int = 128_000
    batch: int = 32
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warm_up: float = 0.03
    seed: int = 0

    def rate(self, done: float) -> float:
        """The learning rate after a share of them: up in a line, then down a cosine."""
        if done < self.warm_up:
            return self.learning_rate * done / self.warm_up
        return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True)
class Batch:
    """pictures (B, 3, 128, 128); targets (B, Q): the number of the right class, or `IGNORED`."""

    pictures: Tensor
    targets: Tensor


def learn(judge: Judge, sources: Sequence[Scenes], learning: Learning) -> Iterator[float]:
    """Trains a judge, further if it has learnt before; yields the loss of every step.

    Pictures come from the sources in turn, and none is seen twice: `judge.config.pictures` counts them.
    """
    rng = torch.Generator().manual_seed(learning.seed + judge.config.pictures)
    judge.requires_grad_(True)
    judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its annotation lacks this
    step = Stepper(judge, learning)
    for start in range(0, learning.num, learning.batch):
        done = (start + learning.batch) / learning.num
        seen = judge.config.pictures
        clean = batch(sources, judge.config, learning.seed, range(seen, seen + learning.batch))
        lesson = spoil(blemish(clean, done, rng), judge.config, rng)
        loss = step(lesson.pictures, lesson.targets, done)
        judge.config = replace(judge.config, pictures=seen + learning.batch)
        yield loss


class Stepper:
    """Makes a judge, of whatever kind, a little better with each batch. Matrices decay, biases and norms do not."""

    def __init__(self, judge: nn.Module, learning: Learning) -> None:
        self._judge, self._learning = judge, learning
        decays = {True: learning.weight_decay, False: 0.0}
        groups = [
            {"params": [weight for weight in judge.parameters() if (weight.ndim > 1) == kind], "weight_decay": decay}
            for kind, decay in decays.items()
        ]
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))

    def __call__(self, shown: Tensor, targets: Tensor, done: float) -> float:
        """The loss on a batch, of which it has learnt then. done: which share of all has been seen."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning.rate(done)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self._judge.train()(shown)
        loss = _loss(logits, targets)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._judge.parameters(), 2.0)
        self._optimizer.step()
        return float(loss.detach())


def batch(sources: Sequence[Scenes], config: JudgeConfig, seed: int, indices: Sequence[int]) -> Batch:
    """The pictures of these numbers, and what is right of them."""
    items = [sources[index % len(sources)].item(seed, index) for index in indices]
    return Batch(
        tensors([pixels for pixels, _, _ in items]),
        torch.stack([targets(answers(scene), config) for *_, scene in items]),
    )


def targets(given: Answers, config: JudgeConfig | MotionConfig) -> Tensor:
    """Answers as numbers of classes (Q,)."""
    pairs = [(answer, config.classes(name)) for name, answer in given.items()]
    return torch.tensor([IGNORED if answer is None else classes.index(answer) for answer, classes in pairs])


def _loss(logits: Mapping[str, Tensor], targets: Tensor) -> Tensor:
    """The mean over all questions, each over those of which it is asked."""
    losses = []
    for right, (name, given) in zip(targets.unbind(1), logits.items(), strict=True):
        asked = (right != IGNORED).sum().clamp(min=1)
        nats = F.cross_entropy(given.float(), right, ignore_index=IGNORED, reduction="sum")
        losses.append(WEIGHTS.get(name, 1.0) * nats / asked)
    return torch.stack(losses).mean()


def blemish(lesson: Batch, share: float, rng: torch.Generator) -> Batch:
    """Blemishes a share of the pictures, and more as learning goes on (share: how far it is): easy ones come first."""
    which = torch.rand(len(lesson.pictures), generator=rng) < min(share, BLEMISHED)
    pictures = lesson.pictures.clone()
    if which.any():
        pictures[which] = blemished(pictures[which], rng)
    return replace(lesson, pictures=pictures)


def blemished(x: Tensor, rng: torch.Generator) -> Tensor:
    """What generated pictures suffer from, a little of each: bent, blurred or sharpened, tinted, blocky, noisy."""
    x = warp(x, _each(x, 0, 0.03, rng), rng)
    x = x + _each(x, -0.6, 1, rng) * (blur(x, 0.8) - x)
    x = x + _each(x, -0.6, 1, rng) * (blur(x, 1.6) - x)
    x = x * _each(x, 0.92, 1.08, rng, 3) + _each(x, -0.06, 0.06, rng, 3)
    x = quantise(x, _each(x, 0, 0.12, rng), rng)
    coarse = F.interpolate(torch.randn(len(x), 3, 8, 8, generator=rng), x.shape[2:], mode="bilinear")
    fine = torch.randn(x.shape, generator=rng)
    return (x + _each(x, 0, 0.06, rng) * coarse + _each(x, 0, 0.06, rng) * fine).clamp(-1, 1)


def spoil(lesson: Batch, config: JudgeConfig, rng: torch.Generator) -> Batch:
    """One picture in 16 becomes mush, in which there is nothing to be seen."""
    x, targets = lesson.pictures.clone(), lesson.targets.clone()
    nothing = torch.full_like(targets[0], IGNORED)
    for name in ("subject", "other"):
        nothing[QUESTIONS.index(name)] = config.classes(name).index(NONE)
    for at in range(int(torch.randint(MUSH_ONE_IN, (), generator=rng)), len(x), MUSH_ONE_IN):
        kind, strength = torch.randint(3, (2,), generator=rng).tolist()
        one, patch = x[at : at + 1], 16 if strength else 8
        x[at : at + 1] = shuffled(one, patch, rng) if kind == 0 else smeared(one, strength, rng)
        targets[at] = nothing
    return Batch(x, targets)


def smeared(x: Tensor, strength: int, rng: torch.Generator) -> Tensor:
    """Blurred until only blots are left, and bent (strength 0, 1, 2)."""
    return warp(blur(x, 10.0 + 3.0 * strength), _each(x, 0.1, 0.3, rng), rng)


def shuffled(x: Tensor, patch: int, rng: torch.Generator) -> Tensor:
    """Its square patches in another order."""
    patches = F.unfold(x, patch, stride=patch)  # (B, 3 p p, patches)
    order = torch.randperm(patches.shape[-1], generator=rng)
    return F.fold(patches[..., order], x.shape[2:], patch, stride=patch)


def warp(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """Bends a picture smoothly; strength: by how much of its half side."""
    bend = F.interpolate(torch.randn(len(x), 2, 5, 5, generator=rng), x.shape[2:], mode="bicubic") * strength
    straight = F.affine_grid(torch.eye(2, 3).expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, straight + bend.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def blur(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian of deviation `sigma` pixels."""
    reach = math.ceil(2.5 * sigma)
    bell = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    line, padded = (bell / bell.sum()).tolist(), F.pad(x, (reach, reach, reach, reach), mode="replicate")
    wide = _mixed([padded[..., at : at + x.shape[3]] for at in range(len(line))], line)
    return _mixed([wide[..., at : at + x.shape[2], :] for at in range(len(line))], line)


def _mixed(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted sum: on a CPU several times as fast as a convolution of three channels."""
    total = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total.add_(part, alpha=weight)
    return total


def quantise(x: Tensor, step: Tensor, rng: torch.Generator) -> Tensor:
    """As JPEG does: cosine coefficients of 8 x 8 blocks, the finer the more coarsely rounded; blocks begin anywhere."""
    at = torch.arange(8.0)
    cosines = torch.cos((2 * at + 1) * at[:, None] * math.pi / 16) / 2  # (frequency, place)
    cosines[0] /= math.sqrt(2)
    steps = step[..., None, None].clamp(min=1e-3) * (1 + (at[:, None] + at) / 2)[:, None]  # (B, 1, 1, 8, 1, 8)
    right, down = torch.randint(8, (2,), generator=rng).tolist()
    blocks = F.pad(x, (right, 8 - right, down, 8 - down), mode="replicate").unflatten(3, (-1, 8)).unflatten(2, (-1, 8))
    turned = torch.einsum("bcyixj,ui,vj->bcyuxv", blocks, cosines, cosines)
    rounded = torch.round(turned / steps) * steps
    whole = torch.einsum("bcyuxv,ui,vj->bcyixj", rounded, cosines, cosines).flatten(4, 5).flatten(2, 3)
    return whole[..., down : down + x.shape[2], right : right + x.shape[3]]


def _each(x: Tensor, low: float, high: float, rng: torch.Generator, channels: int = 1) -> Tensor:
    """A number between low and high for each picture (B, channels, 1, 1)."""
    return torch.rand(len(x), channels, 1, 1, generator=rng) * (high - low) + low
