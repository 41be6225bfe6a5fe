"""Questions: their form in TOML, checked, and the bank of those that come with Reverie.

A file holds many `[[question]]`. This is one of the kind "choice"; "several" is the same with more than one right:

    [[question]]
    id = "noise-why"                     # letters, digits and dashes, no two alike
    kind = "choice"
    topic = "noise"
    lesson = "noise"                     # where it is explained: lessons/NN-noise.md
    difficulty = 1                       # 1 to 3
    text = "Why is noise added to pictures while the model learns?"
    hints = ["What can be learnt by mending?", "The clean picture is known there."]    # each says more than the last
    explanation = "What was done is known, so what undoes it can be learnt."
    source = { title = "Ho et al., Denoising Diffusion ...", url = "https://arxiv.org/abs/2006.11239" }
    exhibit = { name = "noise", prompt = "a red fox", options = { levels = 5 } }     # where the answer is to be seen

    [[question.options]]
    text = "So that it learns to take noise away"
    right = true
    why = "Yes: ..."

The other kinds have instead of these options:

    order   [[question.options]] text, why               in the right order
    match   [[question.options]] text, match, why        what belongs to what
    number  [question.number] value, tolerance, unit, steps (how to work it out)
    point   [question.grid] rows, columns, cells (texts, if any); [[question.options]] row, column, right, why: one for
            each cell that can be pointed at

A teacher's own file may leave out lesson, exhibit, hints and source.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files as resources
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reverie.types import ReverieError

MOST_BYTES = 2_000_000  # of a file of questions
MOST_QUESTIONS = 2_000  # in one

PLAIN = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$"  # nothing that steers a terminal
Text = Annotated[str, Field(min_length=1, max_length=1_000, pattern=PLAIN)]
Label = Annotated[str, Field(min_length=1, max_length=100, pattern=PLAIN)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
Picture = Annotated[str, Field(pattern=r"^(data:image/(png|jpeg|webp);base64,[A-Za-z0-9+/=]+)?$", max_length=400_000)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Form(BaseModel):
    """What all parts of a question have in common: nothing unknown, nothing of another type, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Source(Form):
    """Where to read more."""

    title: Text
    url: Annotated[str, Field(pattern=r"^https://[^\s<>\"']+$", max_length=500)]


class Show(Form):
    """The exhibit in which the answer is to be seen."""

    name: Name
    prompt: str = Field("", max_length=2_000, pattern=PLAIN)
    options: dict[Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")], bool | int | float | str] = {}


class Option(Form):
    """Something that can be chosen. picture: a data URL, shown in its place; "" if it is words alone."""

    text: Text
    right: bool
    why: Text
    picture: Picture = ""


class Place(Form):
    """One of several things, in the right order."""

    text: Text
    why: Text
    picture: Picture = ""


class Pair(Form):
    """Two things that belong together."""

    text: Text
    match: Text
    why: Text


class Cell(Form):
    """A cell that can be pointed at, counted from 0."""

    row: Annotated[int, Field(ge=0)]
    column: Annotated[int, Field(ge=0)]
    right: bool
    why: Text


class Number(Form):
    """A number to be found. tolerance: how far off still counts. steps: how to work it out."""

    value: Finite
    tolerance: Annotated[Finite, Field(ge=0)] = 0.0
    unit: str = Field("", max_length=30, pattern=PLAIN)
    steps: Text


class Grid(Form):
    """A table to point at. cells: the text in each, if any."""

    rows: Annotated[list[Label], Field(min_length=1, max_length=20)]
    columns: Annotated[list[Label], Field(min_length=1, max_length=20)]
    cells: list[list[Annotated[str, Field(max_length=30, pattern=PLAIN)]]] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        shape = [len(self.columns)] * len(self.rows)
        if self.cells is not None and [len(row) for row in self.cells] != shape:
            raise ValueError(f"cells must have {len(self.rows)} rows of {len(self.columns)} texts")
        return self


class Base(Form):
    """What all questions have. picture: a data URL of what is asked about."""

    id: Name
    topic: Name
    difficulty: Annotated[int, Field(ge=1, le=3)] = 1
    text: Text
    explanation: Text
    hints: Annotated[list[Text], Field(max_length=3)] = []
    lesson: Name | None = None
    exhibit: Show | None = None
    source: Source | None = None
    picture: Picture = ""


def _different(what: str, things: Sequence[object]) -> None:
    seen = [thing.strip().casefold() if isinstance(thing, str) else thing for thing in things]
    if len(set(seen)) < len(seen):
        raise ValueError(f"two {what} are the same")


class Choosing(Base):
    """Options of which some are right."""

    options: Annotated[list[Option], Field(min_length=2, max_length=12)]

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        _different("options", [(option.text.strip().casefold(), option.picture) for option in self.options])
        return self

    @property
    def rights(self) -> list[int]:
        """The places of the right options."""
        return [place for place, option in enumerate(self.options) if option.right]


class Choice(Choosing):
    """One option is right."""

    kind: Literal["choice"]

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.rights) != 1:
            raise ValueError(f"{len(self.rights)} options are right where one must be")
        return self


class Several(Choosing):
    """Two options or more are right, one at least is wrong."""

    kind: Literal["several"]

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not 2 <= len(self.rights) < len(self.options):
            raise ValueError(f"{len(self.rights)} options are right where two must be, and not all")
        return self


class Order(Base):
    """Things to put in order; `options` are in the right one."""

    kind: Literal["order"]
    options: Annotated[list[Place], Field(min_length=3, max_length=10)]

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        _different("options", [(option.text.strip().casefold(), option.picture) for option in self.options])
        return self


class Match(Base):
    """Pairs to find."""

    kind: Literal["match"]
    options: Annotated[list[Pair], Field(min_length=2, max_length=10)]

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        _different("options", [option.text for option in self.options])
        _different("matches", [option.match for option in self.options])
        return self


class Fill(Base):
    """A number to work out."""

    kind: Literal["number"]
    number: Number


class Point(Base):
    """A cell of a table is right, or several; at least one of those that are marked is wrong."""

    kind: Literal["point"]
    grid: Grid
    options: Annotated[list[Cell], Field(min_length=2, max_length=400)]

    @model_validator(mode="after")
    def _some(self) -> Self:
        _different("cells", [(cell.row, cell.column) for cell in self.options])
        if any(cell.row >= len(self.grid.rows) or cell.column >= len(self.grid.columns) for cell in self.options):
            raise ValueError("a cell lies outside the grid")
        if not 1 <= len(self.rights) < len(self.options):
            raise ValueError(f"{len(self.rights)} cells are right where one must be, and not all")
        return self

    @property
    def rights(self) -> list[int]:
        """The places of the right cells among the options."""
        return [place for place, cell in enumerate(self.options) if cell.right]


Question = Choice | Several | Order | Match | Fill | Point
KINDS = ("choice", "several", "order", "match", "number", "point")


class Paper(Form):
    """A file of questions."""

    question: Annotated[
        list[Annotated[Question, Field(discriminator="kind")]], Field(min_length=1, max_length=MOST_QUESTIONS)
    ]

    @model_validator(mode="after")
    def _have_names(self) -> Self:
        _different("questions' ids", [question.id for question in self.question])
        return self


def load(path: Path) -> list[Question]:
    """The questions in a TOML file. A file that is not as this module says is a `ReverieError` that says where."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ReverieError(f"Cannot read {path}: {error.strerror}.") from error
    return parse(data, path.name)


def parse(data: bytes, name: str) -> list[Question]:
    """The questions in the bytes of a TOML file called `name`."""
    if len(data) > MOST_BYTES:
        raise ReverieError(f"{name} has more than {MOST_BYTES:,} bytes: split it into several files.")
    try:
        table = tomllib.loads(data.decode("utf-8-sig"))
        return list(Paper.model_validate(table).question)
    except UnicodeDecodeError as error:
        raise ReverieError(f"{name} is not UTF-8 text: save it as such.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ReverieError(f"{name} is not TOML: {what[:200].rstrip('.')}.") from error
    except ValidationError as error:
        raise ReverieError(f"{name}: {_first(error, table)}.") from error


def _first(error: ValidationError, table: dict[str, Any]) -> str:
    """The first thing that is wrong, and where, in a sentence."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where, what = list(first["loc"]), first["msg"].removeprefix("Value error, ")
    if first["type"].startswith("union_tag"):
        what = f"kind must be one of {', '.join(KINDS)}"
    elif first["type"] == "string_pattern_mismatch":
        what = "it has characters that it may not have"
    if len(where) < 2 or not isinstance(where[1], int):
        return f"{'.'.join(map(str, where))}: {what}".removeprefix(": ")[:300]
    question = table["question"][where[1]]
    name = question.get("id") if isinstance(question, dict) else None
    named = f"question {where[1] + 1}" + (f" ({name[:80]})" if isinstance(name, str) else "")
    field = ".".join(str(part + 1 if isinstance(part, int) else part) for part in where[3:])  # where[2] is the kind
    return f"{named}: {field}: {what}"[:300] if field else f"{named}: {what}"[:300]


@cache
def bank() -> tuple[Question, ...]:
    """All questions that come with Reverie, in the order of their files."""
    folder = resources("reverie.learn") / "bank"
    there = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return tuple(chain.from_iterable(parse(file.read_bytes(), file.name) for file in there))


def topics(questions: Sequence[Question]) -> list[str]:
    """The topics there are, in the order in which they come."""
    return list(dict.fromkeys(question.topic for question in questions))


def about(questions: Sequence[Question], topic: str) -> list[Question]:
    """Those of one topic. Another topic than there is, is a `ReverieError`."""
    if topic not in topics(questions):
        raise ReverieError(f"There is no topic {topic[:80]!r}: there are {', '.join(topics(questions))}.")
    return [question for question in questions if question.topic == topic]
