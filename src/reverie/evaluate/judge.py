"""The judge: a small convolutional network that says what a picture of a scene shows, and how sure it is.

A residual network (arXiv:1512.03385) with one answer for each question. It learns from rendered scenes alone, never
from a generated picture, and has a class for "nothing that I know", learnt from blurred and shuffled pictures.

B batch, Q questions, S side of a picture in pixels
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.config import from_json, to_json
from reverie.data.icons import Pixels
from reverie.data.scene import RELATIONS, Scene
from reverie.data.vocabulary import vocabulary
from reverie.hub import files, safetensors_file
from reverie.types import ReverieError

SIDE_PX = 128  # what the judge looks at: pictures of any other size are brought to it by averaging areas
PATCH_PX = 4  # which it looks at as one
NONE = "none"
SURE = 0.5  # an answer that is less likely than this is no answer
QUESTIONS = ("subject", "colour", "count", "relation", "other", "other_colour", "background")

Answers = dict[str, str | None]  # by question; None: not asked
C = TypeVar("C")
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class JudgeConfig:
    """The classes of each question, and the size of the network: blocks of each width, at 1/4, 1/8, ... of the side.

    pictures: from how many it has learnt.
    """

    subject: tuple[str, ...]
    colour: tuple[str, ...]
    count: tuple[str, ...]
    relation: tuple[str, ...]
    other: tuple[str, ...]
    other_colour: tuple[str, ...]
    background: tuple[str, ...]
    widths: tuple[int, ...] = (32, 64, 192)
    blocks: tuple[int, ...] = (1, 1, 3)
    pictures: int = 0

    def classes(self, question: str) -> tuple[str, ...]:
        """What may be answered to a question."""
        found: tuple[str, ...] = getattr(self, question)
        return found


def config() -> JudgeConfig:
    """The config whose classes are the words of today's scenes."""
    words = vocabulary()
    colours = tuple(words.colours)
    return JudgeConfig(
        subject=(NONE, *words.subjects),
        colour=colours,
        count=("1", "2", "3"),
        relation=("alone", "riding", *(relation for relation in RELATIONS if relation != "next to")),
        other=(NONE, *words.vehicles, *words.objects),
        other_colour=colours,
        background=tuple(words.backgrounds),
    )


def answers(scene: Scene) -> Answers:
    """The right answers for a scene, and None for what is not asked: colours that nobody named.

    "next to" is answered by the side that the picture shows.
    """
    asked: Answers = dict.fromkeys(QUESTIONS)
    asked |= {"background": scene.background, "subject": scene.subject, "colour": scene.colour}
    kind = scene.layers[0].kind
    if scene.other is None and kind != "subjects":  # a vehicle, an object or any other thing on its own
        asked |= {"subject": NONE, "colour": None}
        return asked if kind == "singles" else asked | {"other": scene.subject, "other_colour": scene.colour}
    asked |= {"count": str(scene.count), "relation": _seen(scene), "other": NONE}
    return asked if scene.other is None else asked | {"other": scene.other, "other_colour": scene.other_colour}


def _seen(scene: Scene) -> str:
    if scene.relation != "next to":
        return scene.relation
    lefts = {layer.kind == "subjects": layer.left for layer in scene.layers}
    return "left of" if lefts[True] < lefts[False] else "right of"


class Block(nn.Module):
    """relu(x + norm(conv(relu(norm(conv(x)))))); a new one changes nothing (arXiv:1706.02677, section 5.1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = _conv(width, width)
        self.second_norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(x + self.second_norm(self.second(inner)))


class Judge(nn.Module):
    """Pictures (B, 3, 128, 128) in [-1, 1] -> the logits of every question, each from where the judge looks for it."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [nn.PixelUnshuffle(PATCH_PX), *_widen(3 * PATCH_PX**2, config.widths[0], 1)]
        for at, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            layers += [*(_widen(config.widths[at - 1], width, 2) if at else ()), *(Block(width) for _ in range(blocks))]
        self.body = nn.Sequential(*layers)
        self.look = nn.Conv2d(config.widths[-1], len(QUESTIONS), 1)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(config.widths[-1], len(config.classes(name))) for name in QUESTIONS}
        )

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """By question: (B, classes)."""
        return self.logits(self.seen(pictures))

    def seen(self, pictures: Tensor) -> Tensor:
        """What there is where the judge looks for each question: (B, Q, width)."""
        return self.attend(pictures)[0]

    def attend(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What `seen` gives, and where that is: how much of the look falls on each place (B, Q, 8 8)."""
        maps = self.body(pictures.contiguous(memory_format=torch.channels_last))  # (B, width, 8, 8)
        looks = self.look(maps).flatten(2).softmax(-1)
        return looks @ maps.flatten(2).transpose(1, 2), looks

    def logits(self, seen: Tensor) -> dict[str, Tensor]:
        """By question: (B, classes), of what `seen` gave."""
        return {name: head(seen[:, at]) for at, (name, head) in enumerate(self.heads.items())}

    @torch.inference_mode()
    def ask(self, pictures: Sequence[Pixels]) -> list[dict[str, tuple[str, float]]]:
        """For each picture, uint8 (S, S, 3), and each question: the likeliest answer and its probability."""
        shares = ({name: given.softmax(-1) for name, given in self(batch).items()} for batch in _batches(pictures))
        return [each for batch in shares for each in likeliest(batch, self.config.classes)]


def likeliest(
    shares: Mapping[str, Tensor], classes: Callable[[str], Sequence[str]]
) -> list[dict[str, tuple[str, float]]]:
    """For each of the batch, and each question with its probabilities (B, classes): the likeliest, and how likely."""
    columns = []
    for name, given in shares.items():
        sure, where = (each.tolist() for each in given.max(-1))
        columns.append([(name, (classes(name)[at], likely)) for at, likely in zip(where, sure, strict=True)])
    return [dict(row) for row in zip(*columns, strict=True)]


def _conv(width: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, out, 3, stride=stride, padding=1, bias=False)  # a norm follows, which has one


def _widen(width: int, out: int, stride: int) -> list[nn.Module]:
    return [_conv(width, out, stride), nn.BatchNorm2d(out), nn.ReLU()]


def _batches(pictures: Sequence[Pixels], size: int = 64) -> Iterator[Tensor]:
    for at in range(0, len(pictures), size):
        yield tensors(pictures[at : at + size])


def tensors(pictures: Sequence[Pixels]) -> Tensor:
    """uint8 (S, S, 3) each -> (B, 3, 128, 128) in [-1, 1], by averaging areas."""
    if wrong := [picture.shape for picture in pictures if picture.shape[0] != picture.shape[1]]:
        height, width, _ = wrong[0]
        raise ReverieError(f"The judge looks at square pictures, not {width} x {height}: draw square ones.")
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()  # (B, 3, S, S)
    if stacked.shape[-1] != SIDE_PX:
        stacked = F.interpolate(stacked, (SIDE_PX, SIDE_PX), mode="area")
    return stacked / 127.5 - 1


def save(judge: nn.Module, config: Any, folder: Path) -> None:
    """Writes config.json and model.safetensors (bf16) of a judge, of whatever kind."""
    weights = {name: t.bfloat16() for name, t in judge.state_dict().items() if t.is_floating_point()}
    safetensors_file.save(folder / safetensors_file.SINGLE, weights)
    layout = {"reverie": 1, "judge": to_json(config)}
    files.write(folder / "config.json", json.dumps(layout, indent=1))


def load(folder: Path) -> Judge:
    """The judge in a folder, ready to answer."""
    return read(Judge, JudgeConfig, folder, "image_judge.py")


def read(build: Callable[[C], Network], config: type[C], folder: Path, recipe: str) -> Network:
    """What `save` wrote, ready to answer. recipe: what makes it."""
    try:
        layout = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReverieError(f"There is no judge in {folder}: run `python recipes/{recipe}`.") from error
    judge = build(from_json(config, layout.get("judge")))
    stored = safetensors_file.SafetensorsFile.open(folder / safetensors_file.SINGLE)
    wanted = {name: t for name, t in judge.state_dict().items() if t.is_floating_point()}
    judge.load_state_dict({name: stored.read(name) for name in wanted}, strict=False)
    judge.eval().requires_grad_(False)
    return judge


@functools.cache
def trained() -> Judge:
    """The judge that this project trained."""
    with resources.as_file(resources.files("reverie")) as package:
        return load(package / "weights" / "image-judge")
