"""Lessons: Markdown with TOML between +++ at its head; exhibits in it are fenced blocks of TOML called `exhibit`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError

from reverie.learn.questions import Form, Name, Show, Source, Text
from reverie.types import ReverieError

F = TypeVar("F", bound=Form)

QUIZ = "quiz:"  # what the address of a link to a lesson's questions begins with, before the lesson's name
FENCE = re.compile(r"^```exhibit\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


class Head(Form):
    """What a lesson's file says before the text. needs: names of lessons to read before."""

    title: Text
    minutes: Annotated[int, Field(ge=1, le=30)]
    summary: Text
    needs: list[Name] = Field(default_factory=list)
    links: list[Source] = Field(default_factory=list)


@dataclass(frozen=True)
class Lesson:
    """One lesson. name: of its file, without the number. needs: names of lessons to read before. body: all Markdown.

    parts: the same cut at its exhibits: Markdown, and what is to be shown live between.
    """

    name: str
    title: str
    minutes: int
    summary: str
    needs: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    body: str
    parts: tuple[str | Show, ...]

    @property
    def shows(self) -> list[Show]:
        """The exhibits alone."""
        return [part for part in self.parts if isinstance(part, Show)]


@cache
def lessons() -> dict[str, Lesson]:
    """Name -> lesson, in the order in which they build on each other."""
    folder = resources("reverie.learn") / "lessons"
    there = sorted((file for file in folder.iterdir() if file.name.endswith(".md")), key=lambda file: file.name)
    found = [parse(file.name, file.read_text(encoding="utf-8")) for file in there]
    return {lesson.name: lesson for lesson in found}


def lesson(name: str) -> Lesson:
    """The lesson called `name`."""
    if name not in lessons():
        raise ReverieError(f"There is no lesson {name[:80]!r}: there are {', '.join(lessons())}.")
    return lessons()[name]


def parse(file: str, text: str) -> Lesson:
    """A lesson from its file, called "04-self-attention.md". A `ReverieError` says what of it cannot be read."""
    before, *told = text.split("+++\n", 2)
    if before or len(told) != 2:
        raise ReverieError(f"{file} has no head: begin it with TOML between two lines of +++.")
    head, body = _form(Head, file, told[0]), told[1].strip() + "\n"
    return Lesson(
        name=file.removesuffix(".md").partition("-")[2],
        title=head.title,
        minutes=head.minutes,
        summary=head.summary,
        needs=tuple(head.needs),
        links=tuple((link.title, link.url) for link in head.links),
        body=body,
        parts=tuple(_parts(file, body)),
    )


def _parts(file: str, body: str) -> list[str | Show]:
    """Markdown and exhibits in turn; of Markdown that is empty, nothing."""
    texts = FENCE.split(body)  # text, TOML, text, TOML, ..., text
    parts = [_form(Show, file, text) if at % 2 else text.strip() for at, text in enumerate(texts)]
    return [part for part in parts if part != ""]


def _form(form: type[F], file: str, toml: str) -> F:
    """TOML as what it should be."""
    try:
        return form.model_validate(tomllib.loads(toml))
    except tomllib.TOMLDecodeError as error:
        raise ReverieError(f"{file} has TOML that cannot be read ({error}): mend it.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ReverieError(f"{file}: {where}: {first['msg']}.") from error
