"""What a training run is: the model, and how it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from reverie.types import Example, Examples, ReverieError


class Learner(Protocol):
    """What the loop asks of a medium, or of anything else that is to be trained."""

    name: str
    family: Any  # a types.Family, for models and configs of its own

    def examples(self, source: str, *, held_out: bool) -> Examples:
        """See `types.Modality`."""

    def batch(self, examples: list[Example]) -> tuple[Tensor, Any]:
        """See `types.Modality`."""


@dataclass(frozen=True)
class Training:
    """How a model learns. A run ends at `max_steps` or after `max_minutes`, whichever is first; one of them is needed.

    model: what its family builds from. batch: examples a step, in all processes together. accumulate: in how many
    parts a step goes through the model, one after the other or one a process. warmup_steps: until the rates are full.
    decay: the share of the run, at its end, in which they fall to zero. matrix_rate: of Muon, for the matrices of the
    blocks; 0 leaves them to AdamW. rate: of AdamW, for everything else. momentum, muon_steps: Muon's, and in how many
    iterations it makes a matrix orthogonal. betas: AdamW's. clip: the most that the gradient's norm may be; 0 is off.
    dropout: the share of what the blocks add that is left out at random, for models that see the same data many times.
    ema: how much of the running mean of weights a step keeps; 0 is none. *_every_steps, *_every_minutes: intervals; 0
    is never. num_workers: processes that make examples. compute: the numbers in the large products; "auto" is bf16
    where that is fast. compile: let torch.compile make kernels; needs a C++ compiler.
    """

    model: Any
    batch: int = 32
    accumulate: int = 1
    max_steps: int | None = None
    max_minutes: float | None = None
    warmup_steps: int = 50
    decay: float = 0.5
    matrix_rate: float = 0.02
    rate: float = 0.003
    weight_decay: float = 0.01
    momentum: float = 0.95
    muon_steps: int = 4
    betas: tuple[float, ...] = (0.9, 0.95)
    clip: float = 1.0
    dropout: float = 0.0
    ema: float = 0.0
    evaluate_every_steps: int = 200
    evaluate_examples: int = 64
    sample_every_steps: int = 500
    checkpoint_every_steps: int = 1000
    checkpoint_every_minutes: float = 5.0
    num_workers: int = 0
    compute: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_steps is None and self.max_minutes is None:
            raise ReverieError("The training has no end: give max_steps or max_minutes.")
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ReverieError(f"{name} is {value}: give a number from {least:g} to {most:g}.")
        if self.batch % self.accumulate:
            raise ReverieError(
                f"A batch of {self.batch} has no {self.accumulate} equal parts: change batch or accumulate."
            )


BOUNDS: dict[str, tuple[float, float]] = {
    "batch": (1, 2**20),
    "accumulate": (1, 2**20),
    "max_steps": (1, 10**12),
    "max_minutes": (0.001, 10**9),
    "warmup_steps": (0, 10**9),
    "decay": (0, 1),
    "matrix_rate": (0, 10),
    "rate": (0, 10),
    "weight_decay": (0, 10),
    "momentum": (0, 0.9999),
    "muon_steps": (1, 99),
    "clip": (0, 1e9),
    "dropout": (0, 0.9),
    "ema": (0, 0.999999),
    "evaluate_every_steps": (0, 10**12),
    "evaluate_examples": (1, 10**6),
    "sample_every_steps": (0, 10**12),
    "checkpoint_every_steps": (0, 10**12),
    "checkpoint_every_minutes": (0, 10**9),
    "num_workers": (0, 64),
    "seed": (0, 2**63 - 1),
}

# What makes a run the run that it is: the rest may change from one call to the next.
IDENTITY = ("model", "batch", "seed")


def same_run(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """A `ReverieError` unless a run in `folder` with the settings `before` can go on with those of `now`."""
    for name in IDENTITY:
        if before.get(name) != now[name]:
            raise ReverieError(
                f"The run in {folder} has another {name} ({before.get(name)}, not {now[name]}): "
                "repeat its own command, or choose another folder."
            )


def chosen(fields: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """`fields` of `Training` with what a person chose instead (None: nothing); minutes lift the limit of steps."""
    given = {name: value for name, value in options.items() if value is not None}
    unlimited = {"max_steps": None} if "max_minutes" in given else {}
    return {**fields, **unlimited, **given}
