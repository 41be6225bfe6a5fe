"""Lessons over HTTP: their list, and each one cut into Markdown and the exhibits to be shown live between."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path

from reverie.explain import about
from reverie.learn.lessons import Lesson, lesson, lessons
from reverie.learn.questions import Show
from reverie.serve.api import ERRORS
from reverie.serve.errors import not_found
from reverie.serve.shapes import Shape

router = APIRouter(prefix="/api/lessons", responses=ERRORS, tags=["lessons"])
Slug = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]


class LessonLink(Shape):
    """Where to read more."""

    title: str
    url: str


class LessonText(Shape):
    """Markdown; a link to quiz:SLUG is one to that lesson's questions."""

    kind: Literal["markdown"] = "markdown"
    text: str


class LessonExhibit(Shape):
    """What POST /api/exhibits/{name} is to be asked for."""

    kind: Literal["exhibit"] = "exhibit"
    name: str
    title: str
    question: str
    family: Literal["lm", "diffusion", "both"]
    prompt: str
    options: dict[str, bool | int | float | str]


class LessonView(Shape):
    """A lesson in the list. number: from 1, in the order to read them. needs: slugs of lessons to read before."""

    slug: str
    number: int
    title: str
    minutes: int
    summary: str
    needs: list[str]


class LessonList(Shape):
    """All lessons, in the order to read them."""

    lessons: list[LessonView]


class WholeLesson(LessonView):
    """A lesson to be read. previous, next: slugs, None at the ends."""

    links: list[LessonLink]
    parts: list[LessonText | LessonExhibit]
    previous: str | None
    next: str | None


@router.get("")
def list_lessons() -> LessonList:
    """All lessons."""
    return LessonList(lessons=[LessonView(**_head(each)) for each in lessons().values()])


@router.get("/{slug}")
def one_lesson(slug: Slug) -> WholeLesson:
    """A lesson."""
    if slug not in lessons():
        raise not_found("lesson")
    found, order = lesson(slug), [None, *lessons(), None]
    at = order.index(slug)
    return WholeLesson(
        **_head(found),
        links=[LessonLink(title=title, url=url) for title, url in found.links],
        parts=[LessonText(text=each) if isinstance(each, str) else _live(each) for each in found.parts],
        previous=order[at - 1],
        next=order[at + 1],
    )


def _head(each: Lesson) -> dict[str, Any]:
    number = 1 + list(lessons()).index(each.name)
    return {
        "slug": each.name, "number": number, "title": each.title, "minutes": each.minutes, "summary": each.summary,
        "needs": list(each.needs),
    }  # fmt: skip


def _live(show: Show) -> LessonExhibit:
    kind = about(show.name)
    return LessonExhibit(
        name=show.name, title=kind.title, question=kind.question, family=kind.family, prompt=show.prompt,
        options=show.options,
    )  # fmt: skip
