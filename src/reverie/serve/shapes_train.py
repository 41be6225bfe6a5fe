"""Shapes of what goes in and out under /api/train."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reverie.serve.shapes import Shape, Short, bounded

TrainState = Literal["running", "stopped", "finished", "failed"]


class Medium(Shape):
    """What can be trained: the sizes there are, and the data that is here for it."""

    name: str
    sizes: list[str]
    data: list[str]


class TrainOptions(Shape):
    """What one can choose from."""

    media: list[Medium]


class TextUpload(Shape):
    """A text to learn from."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,60}$")]
    text: Annotated[str, Field(min_length=1, max_length=8_000_000)]


class TrainRequest(Shape):
    """A run. name: what the model will be called; data: one of `TrainOptions`. It ends at whichever limit is first."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,60}$")]
    medium: Short
    data: Short
    size: Short = "tiny"
    max_steps: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    max_minutes: Annotated[float | None, Field(ge=0.01, le=100_000, allow_inf_nan=False)] = None
    batch: Annotated[int | None, Field(ge=1, le=4096)] = None
    seed: Annotated[int | None, bounded("seed")] = None


class TrainPoint(Shape):
    """Event `point`: a step of a run."""

    step: int
    done: float
    loss: float
    seconds: float
    held_out: float | None = None


class TrainRun(Shape):
    """A run and where it stands. model: its name for /api/generate, once there is one. error: why it failed."""

    name: str
    state: TrainState
    request: TrainRequest
    created: float
    last: TrainPoint | None
    num_samples: int
    model: str | None
    error: str | None = None


class TrainList(Shape):
    """All runs, newest first."""

    runs: list[TrainRun]


class TrainSample(Shape):
    """Something that a model made while it learnt. text: of a text, all of it."""

    number: int
    step: int
    media_type: str
    text: str | None
    url: str


class TrainSamples(Shape):
    """All samples of a run, oldest first."""

    samples: list[TrainSample]
