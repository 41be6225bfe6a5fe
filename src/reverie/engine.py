"""Loaded models: the policy of device and dtype, and Request -> Iterator[Step]."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import nn

from reverie.hub.checkpoint import Checkpoint, open_checkpoint, skeleton
from reverie.lm.model import Decoder
from reverie.lm.pack import PackedLinear, can_pack
from reverie.modalities import modality
from reverie.types import Message, Request, ReverieError, Step


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
    checkpoint = open_checkpoint(name, offline=offline, progress=progress)
    return Model(checkpoint, placement() if place is None else place)


class Model:
    """A model in memory, ready to generate."""

    def __init__(self, checkpoint: Checkpoint, place: Placement) -> None:
        self.name = checkpoint.name
        self.checkpoint = checkpoint
        self.place = place
        self.medium = modality(checkpoint.modality)(checkpoint.tokenizer, checkpoint.template)
        self.core = materialise(checkpoint, place)

    @property
    def context_tokens(self) -> int:
        """The most tokens that prompt and answer have together."""
        return self.core.config.max_tokens

    def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        """How many tokens of the context a prompt takes."""
        return len(self.medium.encode(prompt))

    def generate(self, prompt: str | Sequence[Message], **settings: Any) -> Generation:
        """Starts to continue a text or to answer a conversation; settings are the other fields of `Request`.

        Without a seed a fresh one is drawn: `generation.request.seed` tells it.
        """
        known = [field.name for field in fields(Request) if field.name != "prompt"]
        if unknown := set(settings) - set(known):
            raise ReverieError(f"There is no setting {min(unknown)!r}: there are {', '.join(known)}.")
        return Generation(self, Request(prompt, **{"seed": secrets.randbelow(2**32), **settings}))


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
    """A generation under way: iterate for its steps, or ask for the whole `text()`."""

    def __init__(self, model: Model, request: Request) -> None:
        self.request = request
        self.timings = Timings()
        self.finish_reason: str | None = None
        self._text: list[str] = []
        condition = model.medium.condition(request)
        steps = model.medium.family.generate(model.core, condition, request, model.medium.shape(request))
        self._steps: Iterator[Step] = model.medium.stream(steps, request)
        self._began = time.perf_counter()
        # The first step checks that the prompt fits, so that a mistake shows here and not somewhere in a loop.
        self._next: Step | None = next(self._steps)
        self.timings.prompt_tokens = len(condition.tokens)

    def __next__(self) -> Step:
        step = next(self._steps) if self._next is None else self._next
        self._next = None
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

    def close(self) -> None:
        """Stops the work: no further step will come."""
        self._steps.close()  # type: ignore[attr-defined]  # a generator


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
    return core


def _need_memory(name: str, size_bytes: int) -> None:
    """Refuses a model that the machine cannot hold before any of it is read."""
    there = physical_bytes()
    if size_bytes > there:
        needed, has = (f"{size / 1e9:.1f} GB" for size in (size_bytes, there))
        raise ReverieError(f"{name} needs {needed} of memory and this machine has {has}: choose a smaller model.")


def physical_bytes() -> float:
    """The memory of this machine; infinite where the system does not tell."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    known = all(name in getattr(os, "sysconf_names", {}) for name in names)
    return math.prod(map(os.sysconf, names)) if known else math.inf


def _packed(checkpoint: Checkpoint, path: str, module: nn.Linear) -> PackedLinear:
    bias = None if module.bias is None else checkpoint.weight(f"{path}.bias", module.bias.shape).bfloat16()
    return PackedLinear(partial(checkpoint.stored, f"{path}.weight", module.weight.shape), bias)
