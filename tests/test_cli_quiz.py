"""quiz and learn, as a person runs them: at the keyboard, as JSON, with a file of one's own, and across runs."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from reverie.cli.app import app
from reverie.cli.quiz_view import DRAWN, Sitting, command, parse
from reverie.explain import about, exhibits
from reverie.explain.pictures import data_url
from reverie.learn import live_text, marking, session
from reverie.learn import questions as q
from reverie.learn.lessons import lessons
from reverie.learn.store import Learning
from reverie.types import ReverieError
from test_quiz import example, toml
from test_quiz_live import TINY_PROMPTS, TINY_SENTENCES, fond_of_words

Run = Callable[..., tuple[int, str, str]]
BANK = {question.id: question for question in q.bank()}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """A command, with lines typed -> its status, stdout and stderr."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        with pytest.raises(SystemExit) as ended:
            app(list(arguments), prog_name="reverie")
        status = 0 if ended.value.code is None else ended.value.code
        assert isinstance(status, int)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def typed_answer(question: q.Question, seed: int) -> str:
    """What to type to be right, by letters and numbers as they are shown."""
    told: Any = session.ask(question, seed).tell(marking.right_answer(question))
    if question.kind == "number":
        return str(told)
    if question.kind == "point":
        return ", ".join(f"{row + 1} {column + 1}" for row, column in told)
    return " ".join("abcdefghijkl"[place] for place in told)


def test_a_whole_quiz_at_the_keyboard_ends_with_full_marks(run: Run) -> None:
    asked = session.draw(q.bank(), 30, 15)
    assert {question.kind for question in asked} == set(q.KINDS)
    lines = "\n".join(typed_answer(question, 15) + "!" for question in asked)
    status, out, _ = run("quiz", "--seed", "15", "-n", "30", typed=lines)
    assert status == 0
    assert "30 of 30 right" in out
    assert "30 in a row" in out
    flat = "".join(out.split())
    for question in asked:  # everything is explained, whatever was answered
        assert "".join(question.explanation.split()) in flat
        for why in session.ask(question, 15).whys():
            assert "".join(why.split()) in flat
    assert run("quiz", "--review")[2].startswith("There is nothing to review")


def test_hints_nonsense_giving_up_and_leaving(run: Run) -> None:
    status, out, _ = run("quiz", "--topic", "noise", "--seed", "1", "-n", "3", typed="h\nh\nh\nzzz 1 ?\n\ns\nq\n")
    assert status == 0
    assert out.count("Hint:") == 2
    assert "no more hints" in out
    assert "Write" in out or "option" in out
    assert "0 of 1 right" in out
    assert "Not this time" in out
    status, out, _ = run("quiz", "--review", typed="q\n")
    assert out.startswith("1 question (")


def test_json_shows_no_answer_and_marks_what_is_piped_in(run: Run) -> None:
    status, out, err = run("quiz", "--seed", "5", "-n", "8", "--json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert run("quiz", "--seed", "5", "-n", "8", "--json")[1] == out
    assert told["seed"] == 5
    assert '"why' not in out
    answers: list[Any] = []
    for shown in told["questions"]:
        question = BANK[shown["id"]]
        assert not any(hint in out for hint in question.hints)
        answers.append(session.ask(question, 5).tell(marking.right_answer(question)))
    answers[0] = {"answer": answers[0], "sure": 0.5, "hints": 1}
    answers[1] = None
    status, out, _ = run("quiz", "--seed", "5", "-n", "8", "--answers", typed=json.dumps(answers))
    marks = json.loads(out)
    assert [mark["mark"] for mark in marks["marks"]] == [1, 0, 1, 1, 1, 1, 1, 1]
    assert marks["marks"][0]["credit"] == 0.75
    assert marks["result"]["right"] == 7
    assert marks["result"]["brier"] == 0.25
    assert not Path("home/learning.sqlite").exists()  # only a person's own answers are remembered


@pytest.mark.parametrize(
    ("arguments", "typed", "says"),
    [
        (["--topic", "x"], "", "There is no topic 'x'"),
        (["--before", "x"], "", "too few questions"),
        (["--questions", "none.toml"], "", "Cannot read none.toml"),
        (["--questions", "bad.toml"], "", "bad.toml: question 1 (one)"),
        (["--seed", "1", "-n", "1", "--answers"], "", "not JSON"),
        (["--seed", "1", "-n", "1", "--answers"], "[" * 100_000, "not JSON"),
        (["--seed", "1", "-n", "1", "--answers"], "[1, 2]", "a JSON list of 1 answers"),
        (["--seed", "1", "-n", "1", "--answers"], '["a"]', "Answer 1: write a number"),
        (["--seed", "1", "-n", "1", "--answers"], '[{"answer": 0, "hints": 9}]', "hints is a number from 0 to 3"),
        (["--seed", "1", "-n", "1", "--answers"], '[{"answer": 0, "sure": "x"}]', "sure is a number"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, arguments: list[str], typed: str, says: str) -> None:
    Path("bad.toml").write_text(toml("choice").replace("right = true", "right = false"))
    status, out, err = run("quiz", *arguments, typed=typed)
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    "arguments", [["--answers"], ["--export", "x.zip"], ["--topic", "noise", "--review"], ["-n", "0"], ["-n", "9999"]]
)
def test_options_that_cannot_be_are_usage_errors(run: Run, arguments: list[str]) -> None:
    assert run("quiz", *arguments)[0] == 2


def test_a_teachers_file_is_asked(run: Run) -> None:
    Path("own.toml").write_text(toml("number") + toml("point", "two"))
    lines = [typed_answer(question, 1) for question in session.draw(q.load(Path("own.toml")), 2, 1)]
    status, out, _ = run("quiz", "--questions", "own.toml", "--seed", "1", typed="\n".join(lines))
    assert status == 0
    assert "2 of 2 right" in out
    assert run("quiz", "--questions", "own.toml", "--list")[1].split() == ["tokens", "2", "questions"]


def test_the_topics_are_listed_and_a_deck_is_written(run: Run) -> None:
    assert run("quiz", "--list")[1].count("\n") == len(q.topics(q.bank()))
    status, out, err = run("quiz", "--topic", "noise", "--export", "noise.apkg")
    assert (status, out) == (0, "")
    assert f"{len(q.about(q.bank(), 'noise'))} cards" in err
    assert Path("noise.apkg").read_bytes()[:2] == b"PK"


def test_a_quiz_may_ask_about_runs_of_a_model(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_text, "PROMPTS", TINY_PROMPTS)
    monkeypatch.setattr(live_text, "SENTENCES", TINY_SENTENCES)
    folder = tmp_path / "writer"
    fond_of_words(folder, 2)
    arguments = ("quiz", "--live", "-m", str(folder), "--seed", "2", "-n", "6")
    told = json.loads(run(*arguments, "--json")[1])
    live = [shown for shown in told["questions"] if shown["id"].startswith("live-")]
    assert len(told["questions"]) == 6
    assert 1 <= len(live) <= 2
    marks = json.loads(run(*arguments, "--answers", typed="[null, null, null, null, null, null]")[1])["marks"]
    assert [mark["id"] for mark in marks] == [shown["id"] for shown in told["questions"]]


def test_without_a_model_the_quiz_goes_on_and_says_so(run: Run) -> None:
    status, out, err = run("quiz", "--live", "--seed", "2", "-n", "2", "--json")
    assert status == 0
    assert len(json.loads(out)["questions"]) == 2
    assert "No questions about a model that writes:" in err


@pytest.mark.parametrize(
    ("kind", "line", "given", "sure"),
    [
        ("choice", "b", [1], None), ("several", "a, c!", [0, 2], 0.95), ("order", "cab?", [2, 0, 1], 0.4),
        ("number", "12.5 %", 12.5, None), ("number", "1,234,567", 1234567, None), ("number", "0,5", 0.5, None),
        ("number", "-1e3", -1000, None), ("point", "1 2, 2 1", [[0, 1], [1, 0]], None),
    ],
)  # fmt: skip
def test_what_is_typed_is_read_as_people_write_it(kind: str, line: str, given: Any, sure: float | None) -> None:
    assert parse(session.ask(example(kind), 0), line) == (given, sure)


@pytest.mark.parametrize(("kind", "line"), [("choice", "1"), ("number", "x"), ("number", "!"), ("point", "b 2")])
def test_what_cannot_be_read_is_said(kind: str, line: str) -> None:
    with pytest.raises(ReverieError, match="Write"):
        parse(session.ask(example(kind), 0), line)


def test_commands_that_show_an_exhibit_name_the_right_model() -> None:
    of_denoisers = {name: about(name).medium for name in exhibits() if about(name).family == "diffusion"}
    assert {name for name, medium in of_denoisers.items() if medium is None} == DRAWN
    show = q.Show(name="noise", prompt="it's a fox", options={"levels": 5})
    assert command(show) == "reverie explain --image 'it'\"'\"'s a fox' --exhibit noise --option levels=5"
    assert command(q.Show(name="video-given", prompt="a fox")) == "reverie explain 'a fox' --exhibit video-given"


def test_pictures_are_shown_in_a_terminal_and_mentioned_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = data_url(np.full((64, 64, 3), 200, np.uint8))
    question = example("choice").model_copy(update={"picture": url})
    for terminal, sign in ((True, "▀"), (False, "a picture")):
        monkeypatch.setattr(sys, "stdin", io.StringIO("q\n"))
        sitting = Sitting(session.begin([question], 0), Learning(tmp_path / "learning.sqlite"))
        sitting.console = Console(force_terminal=terminal, width=80)
        sitting.run()
        assert sign in capsys.readouterr().out


# --- learn ---


def test_lessons_are_listed_read_and_remembered(run: Run) -> None:
    status, out, _ = run("learn")
    assert status == 0
    assert all(name in out for name in lessons())
    assert "✓" not in out
    assert run("learn", "2")[1].startswith(run("learn", "tokens")[1][:200])
    out = run("learn", "self-attention")[1]
    assert "reverie explain" in out
    assert "```" not in out
    assert run("learn")[1].count("✓") == 2
    rows = json.loads(run("learn", "--json")[1])["lessons"]
    assert [row["name"] for row in rows if row["read"]] == ["tokens", "self-attention"]
    status, _, err = run("learn", "nothing")
    assert (status, err.count("\n")) == (1, 1)
    assert run("learn", "99")[0] == 1
