"""Lessons: each is whole, builds on earlier ones, and shows exhibits that there are with options that they have."""

from __future__ import annotations

import re
import runpy
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.explain import about, exhibits
from reverie.learn.lessons import QUIZ, Lesson, lesson, lessons, parse
from reverie.learn.questions import Show
from reverie.types import ReverieError

EVERY = list(lessons().values())
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEAD = '+++\ntitle = "One"\nminutes = 3\nsummary = "Two."\n+++\n'
EXHIBIT = '```exhibit\nname = "tokens"\nprompt = "Hi"\n[options]\nnum = 2\n```\n'


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_a_lesson_is_short_shows_something_live_and_ends_with_its_quiz(each: Lesson) -> None:
    assert 3 <= each.minutes <= 6
    assert len(re.findall(r"\w+", " ".join(part for part in each.parts if isinstance(part, str)))) < 250 * each.minutes
    assert each.shows
    assert all(url.startswith("https://") for _, url in each.links)
    last = each.parts[-1]
    assert isinstance(last, str)
    assert "**Try it.**" in last
    assert LINK.findall(last)[-1] == QUIZ + each.name


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_exhibits_in_lessons_exist_and_have_the_options_that_are_set(each: Lesson) -> None:
    for show in each.shows:
        assert set(about(show.name).settled(show.options)) >= set(show.options)
        assert show.prompt.strip()


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.name)
def test_nothing_in_a_lesson_leads_nowhere(each: Lesson) -> None:
    for target in LINK.findall(each.body):
        assert target.startswith("https://") or target.removeprefix(QUIZ) in lessons(), target
    named = re.findall(r"--exhibit ([\w-]+)", each.body)
    assert all(about(name).name == name for name in named)
    titles = {about(name).title for name in exhibits()}
    assert set(re.findall(r"\*\*Look inside → ([^*]+)\*\*", each.body.replace("\n", " "))) <= titles


def test_lessons_build_on_earlier_ones_alone() -> None:
    names = list(lessons())
    assert len(names) >= 11
    for at, each in enumerate(EVERY):
        assert set(each.needs) <= set(names[:at])


def test_files_are_numbered_without_a_gap() -> None:
    there = sorted(file.name for file in (files("reverie.learn") / "lessons").iterdir())
    assert [int(name.partition("-")[0]) for name in there] == list(range(1, len(there) + 1))


def test_every_exhibit_of_a_text_or_drawing_model_is_shown_in_some_lesson() -> None:
    shown = {show.name for each in EVERY for show in each.shows}
    assert {"tokens", "attention", "heads", "layers", "sampling", "noise", "denoising", "guidance", "words"} <= shown
    assert {"music-next", "music-attention", "music-surprise"} <= shown
    assert {"video-denoising", "video-together", "video-attention", "video-given"} <= shown


def test_a_lesson_is_cut_at_its_exhibits_and_nothing_is_lost() -> None:
    made = parse("07-one.md", f"{HEAD}Before.\n\n{EXHIBIT}\nBetween.\n\n```\ncode\n```\n\n{EXHIBIT}{EXHIBIT}\nAfter.\n")
    show = Show(name="tokens", prompt="Hi", options={"num": 2})
    assert made.parts == ("Before.", show, "Between.\n\n```\ncode\n```", show, show, "After.")
    assert made.name == "one"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("No head at all.", "no head"),
        ("+++\ntitle = 1\n", "no head"),
        ("+++\ntitle = \n+++\n", "TOML"),
        ("+++\ntitle = 'One'\nsummary = 'Two'\n+++\n", "minutes"),
        (HEAD.replace("minutes", "hours"), "hours|minutes"),
        (HEAD + EXHIBIT.replace("name", "nome"), "nome|name"),
        (HEAD + EXHIBIT.replace('"Hi"', "Hi"), "TOML"),
        (HEAD + EXHIBIT.replace("num = 2", "num = [2]"), "num"),
        (HEAD.replace('"Two."', '"Two."\nlinks = [{title = "x", url = "javascript:alert(1)"}]'), "url"),
    ],
)
def test_a_lesson_that_cannot_be_read_says_why(text: str, says: str) -> None:
    with pytest.raises(ReverieError, match=says) as told:
        parse("01-bad.md", text)
    assert str(told.value).startswith("01-bad.md")


@given(st.text())
def test_whatever_a_file_holds_it_is_a_lesson_or_a_clear_mistake(text: str) -> None:
    for tried in (text, f"+++\n{text}\n+++\n", HEAD + text, f"{HEAD}```exhibit\n{text}\n```\n"):
        with suppress(ReverieError):
            assert "```exhibit\n" not in parse("01-any.md", tried).parts


def test_a_lesson_that_is_not_there_names_those_that_are() -> None:
    assert lesson("tokens") is lessons()["tokens"]
    with pytest.raises(ReverieError, match="self-attention"):
        lesson("magic")


def test_the_reference_of_exhibits_is_what_the_exhibits_say() -> None:
    docs = Path(__file__).parent.parent / "docs"
    made = runpy.run_path(str(docs / "exhibits.py"))["reference"]()
    assert made == (docs / "exhibits.md").read_text(encoding="utf-8"), "run: python docs/exhibits.py > docs/exhibits.md"
