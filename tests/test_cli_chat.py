"""The conversation behind `reverie chat`, with a model that answers at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from reverie.cli.chat import Conversation
from reverie.engine import Model, Timings
from reverie.types import LMRequest, Message, ReverieError, Step


class Answer(Iterator[Step]):
    """The number of messages so far, in words; or Ctrl-C after the first piece. The model forgets `dropped` tokens."""

    def __init__(self, request: LMRequest, *, interrupted: bool, dropped: int) -> None:
        self.request = request
        self.timings = Timings()
        self.finish_reason = "stop"
        self.closed = False
        pieces = ["message ", f"{len(request.prompt)}"]
        reading = {"phase": "prompt", "read_tokens": 0, "prompt_tokens": 9, "dropped_tokens": dropped, "text": ""}
        infos: list[dict[str, Any]] = [reading, {**reading, "read_tokens": 5}, *({"text": piece} for piece in pieces)]
        self._steps = iter(Step(1, 2, None, None, info) for info in infos)
        self._interrupted = interrupted

    def __next__(self) -> Step:
        step = next(self._steps)
        if self._interrupted and step.info["text"] not in ("", "message "):
            raise KeyboardInterrupt
        return step

    def close(self) -> None:
        self.closed = True


class CountingModel:
    """A model whose context holds four messages."""

    name = "counting"
    context_tokens = 4
    interrupted = False
    interrupted_at_once = False
    dropped = 0
    last: Answer

    def generate(self, prompt: Sequence[Message], **settings: Any) -> Answer:
        if len(prompt) > self.context_tokens:
            raise ReverieError(f"The prompt is {len(prompt)} tokens long and this model's context is 4.")
        if self.interrupted_at_once:
            raise KeyboardInterrupt
        self.last = Answer(LMRequest(prompt, **settings), interrupted=self.interrupted, dropped=self.dropped)
        return self.last


@pytest.fixture
def model() -> CountingModel:
    return CountingModel()


@pytest.fixture
def talk(model: CountingModel) -> Conversation:
    return Conversation(cast(Model, model), {"temperature": 0.0}, None)


def contents(talk: Conversation) -> list[str]:
    return [message.content for message in talk.messages]


def test_what_was_said_is_part_of_the_next_prompt(talk: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    assert talk.take("Hello.\n")
    assert talk.take("")
    assert talk.take("And then?")
    assert contents(talk) == ["Hello.", "message 1", "And then?", "message 3"]
    assert [message.role for message in talk.messages] == ["user", "assistant"] * 2
    assert capsys.readouterr().out == "message 1\nmessage 3\n"


def test_a_talk_that_no_longer_fits_says_both_counts_and_forgets_nothing(
    talk: Conversation, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("One.", "Two.", "Three."):
        assert talk.take(line)
    said = capsys.readouterr().err
    assert "is 5 tokens long" in said
    assert "context is 4" in said
    assert "/clear" in said
    assert contents(talk) == ["One.", "message 1", "Two.", "message 3"]
    talk.take("/system Be brief.")
    talk.take("/retry")  # does not fit either, now
    assert len(talk.turns) == 4
    talk.take("/clear")
    assert contents(talk) == ["Be brief."]
    talk.take("/system")
    talk.take("Four.")
    assert contents(talk) == ["Four.", "message 1"]


def test_ctrl_c_keeps_what_there_is_of_an_answer(
    talk: Conversation, model: CountingModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model.interrupted = True
    assert talk.take("Hello.")
    assert contents(talk) == ["Hello.", "message "]
    assert model.last.closed
    assert "(stopped)" in capsys.readouterr().err


def test_ctrl_c_before_the_first_word_stops_only_the_answer(
    talk: Conversation, model: CountingModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model.interrupted_at_once = True
    assert talk.take("Hello.")
    assert "(stopped)" in capsys.readouterr().err
    model.interrupted_at_once = False
    assert talk.take("/retry")
    assert contents(talk) == ["Hello.", "message 1"]


def test_what_the_model_forgot_is_said(
    talk: Conversation, model: CountingModel, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.take("Hello.")
    assert capsys.readouterr().err == ""
    model.dropped = 1234
    talk.take("And then?")
    assert capsys.readouterr().err == "the oldest 1,234 tokens were forgotten (--slide)\n"


def test_retry_answers_the_last_message_again(talk: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    talk.take("/retry")
    assert "type a message first" in capsys.readouterr().err
    talk.take("Hello.")
    talk.take("/retry")
    assert contents(talk) == ["Hello.", "message 1"]


@pytest.mark.parametrize("line", ["/exit", "/quit", " /exit \n"])
def test_leaving(talk: Conversation, line: str) -> None:
    assert not talk.take(line)


def test_mistakes_are_said_and_the_talk_goes_on(
    talk: Conversation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "talk.md"
    for line, word in [("/bogus", "no /bogus"), ("/save", "Give a file"), (f"/save {file}", "nothing to save")]:
        assert talk.take(line)
        assert word in capsys.readouterr().err
    assert talk.take("/help")
    assert "/retry" in capsys.readouterr().err


@pytest.mark.parametrize("name", [".", "/", "~nosuchuser/x", "a\0b"])
def test_a_name_that_no_file_can_have_is_a_mistake_too(
    talk: Conversation, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.take("Hello.")
    assert talk.take(f"/save {name}")
    said = capsys.readouterr().err
    assert said.startswith("Error: ")
    assert said.count("\n") == 1


def test_save_overwrites_only_what_it_saved_and_makes_no_folders(
    talk: Conversation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, other = tmp_path / "mine.md", tmp_path / "other.md"
    other.write_text("dear diary")
    for text in ("One.", "Two."):
        talk.take(text)
        talk.take(f"/save {mine}")
        talk.take(f"/save {other}")
        talk.take(f"/save {tmp_path / 'nowhere' / 'talk.md'}")
    assert "Two." in mine.read_text()
    assert other.read_text() == "dear diary"
    assert "is there already" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def test_save_writes_markdown(talk: Conversation, tmp_path: Path) -> None:
    talk.take("Grüß Gott.")
    talk.take(f"/save {tmp_path / 'my talk.md'}")
    saved = (tmp_path / "my talk.md").read_text(encoding="utf-8")
    assert saved == "**user**\n\nGrüß Gott.\n\n**assistant**\n\nmessage 1\n\n"
