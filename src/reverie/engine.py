"""Loaded models: the policy of device and dtype, and Request -> Iterator[Step]."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reverie.hub.catalogue import catalogue, default_name
from reverie.hub.checkpoint import Checkpoint, locate, open_at, skeleton
from reverie.hub.drawings import CODEC, DrawingCheckpoint, is_drawing, open_codec, open_drawing
from reverie.hub.encoders import open_encoder
from reverie.hub.files import Progress
from reverie.layers import MLP
from reverie.lm import batch
from reverie.lm.generate import Writing
from reverie.lm.model import Decoder
from reverie.lm.pack import PackedLinear, can_pack, fused
from reverie.lm.prompt_states import PromptEncoder
from reverie.lm.sentence import SentenceEncoder
from reverie.modalities import modality
from reverie.types import Artifact, Message, Request, ReverieError, Step


class NoRoomError(ReverieError):
    """A model does not fit into the memory that is free."""


@dataclass(frozen=True)
class Placement:
    """Where a model runs and in what numbers. packed: 4- or 8-bit weights where only a few rows are multiplied."""

    device: str
    dtype: torch.dtype
    packed: bool


def placement() -> Placement:
    """CUDA and Apple's GPU when there is one, else the CPU: there with packed weights."""
    if torch.cuda.is_available():
        return Placement("cuda", torch.bfloat16, packed=False)
    if torch.backends.mps.is_available():
        return Placement("mps", torch.float16, packed=False)
    return Placement("cpu", torch.bfloat16, packed=True)


EXACT = Placement("cpu", torch.float32, packed=False)  # for comparing, not for speed


def load(
    name: str | None = None,
    *,
    offline: bool = False,
    progress: Callable[[int, int], None] | None = None,
    place: Placement | None = None,
) -> Model:
    """Loads a model: a name of the catalogue (None: its default text model), "hf:owner/name", a folder or a file.

    A model that is not here yet is fetched, unless `offline`; progress(bytes done, bytes in all) is told how far.
    """
    name, place = default_name() if name is None else name, placement() if place is None else place
    path = locate(name, offline=offline, progress=progress)
    if is_drawing(path):
        return _drawing_model(open_drawing(name, path), place, offline, progress)
    checkpoint = open_at(name, path)
    medium = modality(checkpoint.modality)(checkpoint.tokenizer, checkpoint.template)
    return Model(checkpoint, place, medium, materialise(checkpoint, place))


def _drawing_model(checkpoint: DrawingCheckpoint, place: Placement, offline: bool, progress: Progress | None) -> Model:
    codec = checkpoint.codec(place.device, place.dtype)
    encoder = prompt_encoder(checkpoint.encoder, offline=offline, progress=progress)
    medium = modality(checkpoint.modality)(codec, encoder, checkpoint.size_px, find_data)
    return Model(checkpoint, place, medium, checkpoint.denoiser(place.device, place.dtype))


class Model:
    """A model in memory, ready to generate: a medium, and the core that was trained for it."""

    def __init__(self, checkpoint: Checkpoint | DrawingCheckpoint, place: Placement, medium: Any, core: Any) -> None:
        self.name = checkpoint.name
        self.checkpoint: Any = checkpoint
        self.place, self.medium, self.core = place, medium, core

    @property
    def context_tokens(self) -> int:
        """The most tokens that prompt and answer have together; of a model that writes."""
        return int(self.core.config.max_tokens)

    def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        """How many tokens of the context a prompt takes; of a model that writes."""
        return len(self.medium.encode(prompt))

    def generate(self, prompt: str | Sequence[Message], **settings: Any) -> Generation:
        """Starts to make something of a prompt; settings are the other fields of the medium's kind of request.

        Without a seed a fresh one is drawn: `generation.request.seed` tells it.
        """
        kind: type[Request] = self.medium.request
        known = [field.name for field in fields(kind) if field.name != "prompt"]
        if unknown := set(settings) - set(known):
            raise ReverieError(f"There is no setting {min(unknown)!r}: there are {', '.join(known)}.")
        return Generation(self, kind(prompt, **{"seed": secrets.randbelow(2**32), **settings}))


@dataclass
class Timings:
    """How long a generation took, in seconds, and for how many tokens."""

    prompt_tokens: int = 0
    new_tokens: int = 0
    prompt_seconds: float = 0.0
    decode_seconds: float = 0.0

    @property
    def decode_tokens_per_second(self) -> float:
        """Tokens written a second, once the prompt was read (the first token comes with the prompt)."""
        return (self.new_tokens - 1) / self.decode_seconds if self.decode_seconds and self.new_tokens > 1 else 0.0


class Generation(Iterator[Step]):
    """A generation under way: iterate for its steps, or ask for the whole `text()` or `artifact()`.

    request: of the medium's own kind. condition: what it became for the core. source: the core's own steps.
    """

    def __init__(self, model: Model, request: Request) -> None:
        self.request: Any = request
        self.timings = Timings()
        self.finish_reason: str | None = None
        self._text: list[str] = []
        self._decode = model.medium.decode
        self._guess: Any = None
        self.condition: Any = model.medium.condition(request)
        self.source = model.medium.family.generate(model.core, self.condition, request, model.medium.shape(request))
        self._steps: Iterator[Step] = model.medium.stream(self.source, request)
        self._began = time.perf_counter()
        # The first step checks that the prompt fits, so that a mistake shows here and not somewhere in a loop.
        self._next: Step | None = next(self._steps)
        self.timings.prompt_tokens = sum(self._next.info.get(part, 0) for part in ("prompt_tokens", "dropped_tokens"))

    def __next__(self) -> Step:
        step = next(self._steps) if self._next is None else self._next
        self._next = None
        self._guess = step.guess
        if "token" in step.info:
            self._note(step)
        return step

    def _note(self, step: Step) -> None:
        now = time.perf_counter()
        if not self.timings.prompt_seconds:
            self.timings.prompt_seconds, self._began = now - self._began, now
        self.timings.decode_seconds = now - self._began
        self.timings.new_tokens = step.index
        self.finish_reason = step.info.get("finish_reason")
        self._text.append(step.info["text"])

    def text(self) -> str:
        """The whole text; runs to the end if need be."""
        for _ in self:
            pass
        return "".join(self._text)

    def artifact(self) -> Artifact:
        """The finished thing as a file; runs to the end if need be."""
        for _ in self:
            pass
        made: Artifact = self._decode(self._guess)
        return made

    @property
    def is_text(self) -> bool:
        """Whether each step adds a piece to those before; otherwise its guess takes the place of theirs."""
        return isinstance(self.source, Writing)

    @property
    def can_join(self) -> bool:
        """Whether the next step can be done together with other texts' (`advance`)."""
        return isinstance(self.source, Writing) and self.source.is_decoding

    def close(self) -> None:
        """Stops the work: no further step will come."""
        self._steps.close()  # type: ignore[attr-defined]  # a generator


def advance(generations: Sequence[Generation]) -> None:
    """Does what the next steps of several texts of one model need, in one pass; each must be one that `can_join`.

    The steps themselves are taken as always, and are the same bits as alone.
    """
    batch.advance([generation.source for generation in generations])


def materialise(checkpoint: Checkpoint, place: Placement) -> Decoder:
    """The decoder with its weights, read one at a time, so that nothing is held twice."""
    core = skeleton(checkpoint.config).eval().requires_grad_(False)
    _need_memory(checkpoint.name, sum(weight.numel() for weight in core.parameters()) * place.dtype.itemsize)
    tied = core.head if checkpoint.config.tied else None
    for path, module in list(core.named_modules()):
        if module is tied:
            continue
        if place.packed and isinstance(module, nn.Linear) and can_pack(module):
            core.set_submodule(path, _packed(checkpoint, path, module))
            continue
        for name, weight in list(module.named_parameters(path, recurse=False)):
            value = checkpoint.weight(name, weight.shape).to(place.device, place.dtype)
            setattr(module, name.rpartition(".")[2], nn.Parameter(value, requires_grad=False))
    if tied is not None:
        embedding = core.embed.weight
        tied.weight = embedding
        if place.packed and can_pack(tied):
            core.set_submodule("head", PackedLinear(lambda: embedding))
    for path, module in list(core.named_modules()):
        if isinstance(module, MLP):
            core.set_submodule(path, fused(module))
    return core


def fresh(medium: str, source: str, config: Any) -> tuple[Any, Any]:
    """A medium that is to learn from `source` from the beginning, and `config` made to fit it."""
    kind = modality(medium)
    supplies: dict[str, Callable[[], Any]] = {
        "codec": lambda: open_codec(locate(default_name(CODEC)), placement().device, torch.float32),
        "encoder": lambda: prompt_encoder(device=placement().device),
        "find_data": lambda: find_data,
    }
    made: tuple[Any, Any] = kind.fresh(source, config, **{need: supplies[need]() for need in kind.needs})
    return made


def find_data(name: str, size_px: int) -> Path:
    """The file of a data set that was built before, for pictures of this size."""
    from reverie.hub import datasets  # noqa: PLC0415 - only training needs it

    return datasets.built(name, size_px)


def prompt_encoder(
    name: str = "minilm",
    *,
    offline: bool = False,
    progress: Callable[[int, int], None] | None = None,
    device: str = "cpu",
) -> PromptEncoder:
    """What reads prompts for a model that draws: an encoder of the catalogue, fetched first if it is not there."""
    if name not in catalogue() or catalogue()[name].family != "encoder":
        raise ReverieError(f"{name[:80]!r} cannot read prompts for a model that draws: use minilm.")
    encoder, tokenise = open_encoder(name, torch.bfloat16, offline=offline, progress=progress)
    if device.startswith("cuda"):
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every length, which takes longer than reading
    return PromptEncoder(encoder.to(device), tokenise, encoder.config.width, name=name)


def sentence_encoder(name: str, *, offline: bool = False) -> SentenceEncoder:
    """What reads whole texts as vectors: an encoder of the catalogue, in its own precision."""
    encoder, tokenise = open_encoder(name, torch.float32, offline=offline)
    return SentenceEncoder(encoder, tokenise, encoder.config.max_tokens)


def _need_memory(name: str, size_bytes: int) -> None:
    """Refuses a model that has no room before any of it is read."""
    free = free_bytes()
    if size_bytes > free:
        needed, has = (f"{size / 1e9:.1f} GB" for size in (size_bytes, free))
        raise NoRoomError(
            f"{name} needs {needed} of memory and {has} are free: end other programs, or take a smaller one."
        )


def free_bytes() -> float:
    """The memory that is still to be had, as Linux tells it; elsewhere that of the machine, or infinite."""
    with suppress(OSError, StopIteration):
        facts = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return 1024 * float(next(fact.split()[1] for fact in facts if fact.startswith("MemAvailable:")))
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    known = all(name in getattr(os, "sysconf_names", {}) for name in names)
    return math.prod(map(os.sysconf, names)) if known else math.inf


def _packed(checkpoint: Checkpoint, path: str, module: nn.Linear) -> PackedLinear:
    bias = None if module.bias is None else checkpoint.weight(f"{path}.bias", module.bias.shape).bfloat16()
    return PackedLinear(partial(checkpoint.stored, f"{path}.weight", module.weight.shape), bias)
