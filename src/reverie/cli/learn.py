"""learn: the lessons, in the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from reverie.cli.options import Json

if TYPE_CHECKING:
    from reverie.learn.lessons import Lesson

Name = Annotated[str | None, typer.Argument(metavar="LESSON", help="A lesson's name or number; left out: the list.")]


def learn(lesson: Name = None, json: Json = False) -> None:
    """Read short lessons on how models write and draw."""
    from reverie.learn import lessons as there

    if lesson is None:
        contents(list(there.lessons().values()), as_json=json)
        return
    names = list(there.lessons())
    chosen = int(lesson) if lesson.isascii() and lesson.isdigit() else 0
    show(there.lesson(names[chosen - 1] if 1 <= chosen <= len(names) else lesson), as_json=json)


def contents(lessons: list[Lesson], *, as_json: bool) -> None:
    """The list of lessons, those that were read with a mark."""
    from reverie.learn.store import Learning

    learning = Learning()
    read = learning.lessons()
    learning.close()
    if as_json:
        rows = [
            {"name": each.name, "title": each.title, "minutes": each.minutes, "summary": each.summary,
             "needs": each.needs, "read": each.name in read}
            for each in lessons
        ]  # fmt: skip
        print(json.dumps({"lessons": rows}, ensure_ascii=False))
        return
    for number, each in enumerate(lessons, 1):
        print(f"{'✓' if each.name in read else ' '} {number:>2}  {each.name:<18}{each.minutes} min  {each.title}")
    print("\n`reverie learn NAME` opens one.")


def show(lesson: Lesson, *, as_json: bool) -> None:
    """A lesson; that it was read is remembered."""
    if as_json:
        print(json.dumps({"name": lesson.name, "title": lesson.title, "body": lesson.body}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.text import Text

    from reverie.cli.quiz_view import command
    from reverie.learn.store import Learning

    console = Console(highlight=False, width=min(Console().width, 100))
    console.print(Markdown(f"# {lesson.title}\n\n*{lesson.summary}* ({lesson.minutes} minutes)"))
    for part in lesson.parts:
        console.print()
        if isinstance(part, str):
            console.print(Markdown(part, hyperlinks=False))
        else:
            console.print(Text(f"  Live: {command(part)}", "cyan"))
    for title, url in lesson.links:
        console.print(Text(f"  {title}: {url}", "dim"))
    learning = Learning()
    learning.read(lesson.name)
    learning.close()
