"""The words every part of Reverie shares: Request, Example, Step, Artifact, and the two protocols.

A generation, of any medium, is an iterator of `Step`. Read this file first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn


class ReverieError(Exception):
    """A mistake that a user can mend. Its message is one clear sentence that says what to do."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


# What each number in a request may be: (least, most), both included.
BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "max_tokens": (1, 1_000_000),
    "temperature": (0.0, 100.0),
    "top_k": (0, 10_000_000),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.01, 100.0),
    "frequency_penalty": (-100.0, 100.0),
    "presence_penalty": (-100.0, 100.0),
    "num_logprobs": (0, 100),
    "steps": (1, 1000),
    "guidance": (0.0, 100.0),
    "size_px": (8, 4096),
    "strength": (0.01, 1.0),
    "frames": (2, 64),
    "fps": (1, 60),
    "bars": (1, 64),
    "tempo_bpm": (20, 400),
}

LEAST_TEMPERATURE = 1e-3  # below, logits divided by it overflow
SAMPLERS = ("euler", "heun", "dpmpp_2m", "ancestral")  # of diffusion/samplers.py


@dataclass(frozen=True)
class Request:
    """What is asked of a model, of whatever kind. Numbers outside `BOUNDS` are a `ReverieError`.

    prompt: the words to begin from. seed: the same seed gives the same thing.
    """

    prompt: Any
    seed: int = 0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in BOUNDS and not (value is None and each.default is None):
                _check_number(each.name, value, *BOUNDS[each.name])


@dataclass(frozen=True)
class LMRequest(Request):
    """What is asked of a language model.

    prompt: text to continue as it stands, the same as token ids, or a conversation (`Message`s) to answer.
    max_tokens: the most new tokens. temperature: 0 is greedy. top_k: 0 is off; top_p: 1 is off; min_p: 0 is off.
    repetition_penalty: 1 is off (arXiv:1909.05858, section 4.1). frequency_penalty: 0 is off, per occurrence.
    presence_penalty: 0 is off, once for each token that was written.
    logit_bias: token id -> number added to its logit. stop: strings that end the text and are not part of it.
    num_logprobs: how many alternatives each step lists with their log-probabilities; 0 is off.
    json_schema: the text of a JSON schema that the answer must fit, whatever ends it; None: any text.
    slide: when the context is full, forget the oldest half and go on; otherwise that is an error or the end.
    """

    prompt: str | Sequence[int] | Sequence[Message]
    max_tokens: int = 512
    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.05
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    num_logprobs: int = 0
    json_schema: str | None = None
    slide: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.temperature < LEAST_TEMPERATURE:
            raise ReverieError(f"temperature is {self.temperature}: give 0, or at least {LEAST_TEMPERATURE:g}.")
        for token, bias in self.logit_bias.items():
            _check_number("a token of logit_bias", token, 0, 2**31)
            _check_number("a logit_bias", bias, -1000.0, 1000.0)
        stops: Any = self.stop  # whatever the caller gave
        if isinstance(stops, str) or not all(isinstance(stop, str) for stop in stops):
            raise ReverieError("stop must be a tuple of texts: write stop=('END',).")
        if not all(stops):
            raise ReverieError("A stop string is empty: give each of them at least one character.")
        if self.stop and self.json_schema is not None:
            raise ReverieError("A stop string would cut the JSON off: give either stop or json_schema.")


@dataclass(frozen=True)
class DiffusionRequest(Request):
    """What is asked of a denoiser, of whatever medium.

    prompt: what to show; negative: what not to. steps: how often the model looks. sampler: one of `SAMPLERS`.
    guidance: how far to go beyond what the prompt alone would give; 1 is not at all, arXiv:2207.12598.
    size_px: the sides of the picture; None: what the model draws best.
    """

    prompt: str
    steps: int = 20
    guidance: float = 4.0
    sampler: str = "dpmpp_2m"
    negative: str = ""
    size_px: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sampler not in SAMPLERS:
            raise ReverieError(f"There is no sampler {self.sampler!r}: choose {', '.join(SAMPLERS)}.")
        if not isinstance(self.prompt, str) or not isinstance(self.negative, str):
            raise ReverieError("A picture's prompt and negative prompt are texts: give a str for each.")

    @property
    def start(self) -> float:
        """How much of the way is gone, from noise (1) to the sample (0)."""
        return 1.0

    @property
    def num_steps(self) -> int:
        """How many of the steps are taken: those after `start`."""
        return max(1, round(self.steps * self.start))


@dataclass(frozen=True)
class ImageRequest(DiffusionRequest):
    """What is asked of a model that draws.

    init: a picture to begin from, uint8 (H, W, 3). strength: how much of it may change, up to 1 (all); None: 0.6, or 1
    with a mask. mask: uint8 (H, W), 255 where something new is to be drawn and 0 where `init` is to stay.
    """

    init: np.ndarray | None = field(default=None, compare=False)
    strength: float | None = None
    mask: np.ndarray | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask is not None and self.init is None:
            raise ReverieError("A mask says what to change in a picture: give that picture too, as init.")

    @property
    def start(self) -> float:
        """All of the way, or what `strength` leaves of it."""
        if self.init is None:
            return 1.0
        if self.strength is None:
            return 0.6 if self.mask is None else 1.0
        return self.strength


@dataclass(frozen=True)
class VideoRequest(DiffusionRequest):
    """What is asked of a model that animates.

    frames: how many pictures the clip has, at least 2. fps: how many are shown a second.
    begin, end: pictures that the clip begins and ends with, uint8 (N, H, W, 3); they are among the `frames`.
    loop: the first picture follows upon the last.
    """

    guidance: float = 3.0  # more flickers
    frames: int = 16
    fps: int = 8
    begin: np.ndarray | None = field(default=None, compare=False)
    end: np.ndarray | None = field(default=None, compare=False)
    loop: bool = False

    def __post_init__(self) -> None:
        if self.frames == 1:
            raise ReverieError("One frame is no clip: ask for at least 2, or draw a picture with `reverie draw`.")
        super().__post_init__()
        given = sum(0 if pictures is None else len(pictures) for pictures in (self.begin, self.end))
        if given >= self.frames:
            raise ReverieError(f"{given} pictures are given for {self.frames} frames: ask for more frames than that.")
        if self.loop and given:
            raise ReverieError("A clip that loops has no beginning and no end: leave out either the pictures or loop.")


def _check_number(name: str, value: Any, least: float, most: float) -> None:
    """A `ReverieError` unless least <= value <= most; where both are whole numbers, value must be one."""
    kinds = int if isinstance(least, int) and isinstance(most, int) else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not least <= value <= most:
        what = "a whole number" if kinds is int else "a number"
        raise ReverieError(f"{name} is {value!r}: give {what} from {least:,} to {most:,}.")


@dataclass(frozen=True)
class Example:
    """One thing to learn from: `x` (token ids, pixels), and the words that go with it."""

    x: Any
    caption: str = ""


@dataclass(frozen=True)
class Step:
    """One event of a generation: where it is, and the model's present best guess of the finished thing.

    index: steps done. total: the most there can be. state: what the core holds (tokens, or a noisy sample).
    guess: the finished thing as far as the model knows it; a modality's `decode(step.guess)` is always legal.
    info: what else a consumer may show (the new piece of text, log-probabilities, timings, why it ended).
    """

    index: int
    total: int
    state: Any
    guess: Any
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A finished thing: its bytes or text, and what kind of file it is."""

    data: str | bytes
    media_type: str


class Examples(Protocol):
    """Examples without an end. Each is a function of (seed, index): nothing need be remembered to resume.

    It goes to worker processes, so it must be picklable and small, or map its data from a file.
    """

    def item(self, seed: int, index: int) -> Example:
        """Example number `index` of the endless sequence that `seed` stands for."""


class Family(Protocol):
    """How a core learns and generates. There are two: the decoder of `lm/` and the denoiser of `diffusion/`."""

    def build(self, config: Any) -> nn.Module:
        """A model with fresh weights."""

    def loss(self, model: nn.Module, batch: Tensor, condition: Any, rng: torch.Generator) -> Tensor:
        """The scalar to make smaller."""

    def generate(self, model: nn.Module, condition: Any, request: Request, shape: tuple[int, ...]) -> Iterator[Step]:
        """Makes one thing, a step at a time."""


class Modality(Protocol):
    """All that is special about one medium."""

    name: str
    family: Family
    request: type[Request]  # what it can be asked
    needs: tuple[str, ...]  # what `engine.fresh` gives to `fresh` besides
    presets: dict[str, Any]  # size -> what the core is built from
    recipes: dict[str, Mapping[str, Any]]  # size -> fields of `train.Training` that suit it

    @classmethod
    def fresh(cls, source: str, config: Any) -> tuple[Self, Any]:
        """The medium that is to learn from `source` from the beginning, and `config` made to fit it."""

    def examples(self, source: str, *, held_out: bool) -> Examples:
        """What `source` has to learn from, or what is kept out of learning to judge by."""

    def batch(self, examples: Sequence[Example]) -> tuple[Tensor, Any]:
        """Examples -> a batch in model space (B, ...), and what it is conditioned on; heavy work belongs here."""

    def trials(self) -> Sequence[Request]:
        """What to ask for while a model learns, to see how far it is."""

    def condition(self, request: Request) -> Any:
        """Words -> what the core conditions on."""

    def shape(self, request: Request) -> tuple[int, ...]:
        """The shape of the thing to make."""

    def decode(self, x: Any) -> Artifact:
        """Model space -> a file or a text; a half-finished `x` too."""
