"""tasks: the messages a model is given, code taken out of answers, and summaries of texts of any length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie import tasks
from reverie.cli.feedback import Feedback
from reverie.cli.present import remark
from reverie.engine import Model, Timings
from reverie.types import LMRequest, Message, ReverieError, Step


class Echo(Iterator[Step]):
    """A generation whose text is the first few words of what it is asked about."""

    def __init__(self, request: LMRequest, num_words: int, finish_reason: str) -> None:
        self.request = request
        self.finish_reason: str | None = None
        self.closed = False
        self._how_it_ends = finish_reason
        self._words = article(request.prompt).split()[:num_words]
        self._left = list(enumerate(self._words, 1))
        self.timings = Timings(prompt_tokens=5, new_tokens=len(self._words), prompt_seconds=1.0, decode_seconds=2.0)

    def __next__(self) -> Step:
        if not self._left:
            self.finish_reason = self._how_it_ends
            raise StopIteration
        index, word = self._left.pop(0)
        return Step(index, len(self._words), None, None, {"text": word + " ", "token": index})

    def text(self) -> str:
        return " ".join(self._words)

    def close(self) -> None:
        self.closed = True


class EchoModel:
    """A model whose tokens are words and whose summaries are the first words of the text."""

    def __init__(self, context_tokens: int, num_words: int = 4, finish_reason: str = "stop") -> None:
        self.context_tokens = context_tokens
        self.num_words = num_words
        self.finish_reason = finish_reason
        self.asked: list[Echo] = []

    def count_tokens(self, prompt: str | Sequence[Message]) -> int:
        return len((prompt if isinstance(prompt, str) else " ".join(m.content for m in prompt)).split())

    def generate(self, prompt: Sequence[Message], **settings: Any) -> Echo:
        assert self.count_tokens(prompt) + settings["max_tokens"] <= self.context_tokens, "a silent truncation"
        self.asked.append(Echo(LMRequest(prompt, **settings), self.num_words, self.finish_reason))
        return self.asked[-1]


def article(prompt: Any) -> str:
    assert not isinstance(prompt, str)
    return str(prompt[-1].content).removesuffix("\n\nSummarize the text above in three short sentences.")


def summarize(model: EchoModel, text: str, **settings: Any) -> tasks.Summary:
    return tasks.summarize(cast(Model, model), text, **{"max_tokens": 5, **settings})


def sentences(num: int) -> str:
    return " ".join(f"Sentence number {n} has seven words." for n in range(num))


# --- messages ---


def test_a_request_stands_after_the_system_words() -> None:
    assert tasks.conversation("A poem.") == [Message("user", "A poem.")]
    assert tasks.conversation("A poem.", "Be brief.") == [Message("system", "Be brief."), Message("user", "A poem.")]


def test_a_question_stands_after_its_text() -> None:
    [message] = tasks.ask("Who?", "Ada did it.\n")
    assert message.content.index("Ada did it.") < message.content.index("Who?")
    assert tasks.ask("Who?") == [Message("user", "Who?")]


@pytest.mark.parametrize("blank", ["", " \n"])
def test_nothing_to_work_on_is_a_mistake(blank: str) -> None:
    for build in (tasks.conversation, tasks.summary, tasks.ask):
        with pytest.raises(ReverieError, match="empty"):
            build(blank)
    with pytest.raises(ReverieError, match="empty"):
        tasks.ask(blank, "a text")
    with pytest.raises(ReverieError, match="empty"):
        summarize(EchoModel(100), blank)


@pytest.mark.parametrize("task", tasks.SETTINGS)
def test_every_task_has_settings_a_request_accepts(task: str) -> None:
    LMRequest("a prompt", **tasks.SETTINGS[task])


# --- code ---


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Here it is:\n\n```python\nx = 1\n```\n\nIt sets x.", "x = 1\n"),
        ("x = 1\ny = 2", "x = 1\ny = 2\n"),
        ("```python\nx = 1\n", "x = 1\n"),
        ("```python\nx = 1\n```\nUse:\n```python\nprint(x)\n```\nIt prints:\n```\n1\n```", "x = 1\n\nprint(x)\n"),
        ("```Python\nx = 1\n```\n```python\ny = 2\n```", "x = 1\n\ny = 2\n"),
        ("  ```\n  x = 1\n  ```", "  x = 1\n"),
        ('````\n"""\n```\n"""\n````', '"""\n```\n"""\n'),
        ("~~~sh\nls\n~~~", "ls\n"),
        ("Use `x` here.", "Use `x` here.\n"),
        ("```c++ title=a\nint x;\n```", "int x;\n"),
        ("```bash\npip install a-long-name another-long-name\n```\n```python\nx = 1\n```", "x = 1\n"),
        ("```\npip install a-long-name\n```\n```python\nx = 1\n```", "x = 1\n"),
        ("```json\n{}\n```\n```python\nx = 1\n```", "x = 1\n"),
        ("```bash\nfor f in *; do cat $f; done\n```\nIt prints:\n```\na\n```", "for f in *; do cat $f; done\n"),
        ("```python\nx = 1\n`````\nIt sets x.", "x = 1\n"),
    ],
)
def test_only_the_code_is_left(answer: str, code: str) -> None:
    assert tasks.extract_code(answer) == code


# --- splitting ---


@given(st.text(alphabet=st.sampled_from("ab .!?。\n"), max_size=300), st.integers(1, 40))
def test_parts_fit_and_joined_are_the_text(text: str, most: int) -> None:
    parts = tasks.split(text, lambda part: len(part) <= most)
    assert "".join(parts) == text
    assert all(len(part) <= most for part in parts)


def test_parts_end_where_sentences_end() -> None:
    parts = tasks.split(sentences(40), lambda part: len(part.split()) <= 50)
    assert all(part.rstrip().endswith("words.") for part in parts)
    assert min(len(part.split()) for part in parts) > 15  # of like size: no crumbs


def test_a_long_sentence_is_cut_between_words_and_a_long_word_anywhere() -> None:
    words = [word for part in tasks.split("word " * 100, lambda part: len(part) <= 30) for word in part.split()]
    assert words == ["word"] * 100
    assert "".join(tasks.split("x" * 100, lambda part: len(part) <= 30)) == "x" * 100


def test_when_nothing_can_fit_the_error_says_so() -> None:
    with pytest.raises(ReverieError, match="too small"):
        tasks.split("text", lambda part: not part)


# --- summaries ---


def test_a_short_text_is_summarized_in_one_go() -> None:
    model = EchoModel(100)
    summary = summarize(model, sentences(2), temperature=0.0)
    assert summary.text().split() == ["Sentence", "number", "0", "has"]
    assert len(model.asked) == 1
    assert model.asked[0].request.temperature == 0
    assert summary.finish_reason == "stop"


def test_a_long_text_is_summarized_part_by_part_and_then_as_a_whole() -> None:
    model = EchoModel(60)
    steps = list(summarize(model, sentences(30)))
    texts = [article(generation.request.prompt) for generation in model.asked]
    num_parts = len(texts) - 1
    assert " ".join(text.strip() for text in texts[:-1]) == sentences(30), "every sentence is read, in order"
    assert texts[-1].split("\n\n") == [" ".join(text.split()[:4]) for text in texts[:-1]], "then all summaries"
    assert [(s.info["part"], s.info["parts"]) for s in steps if "part" in s.info][:: model.num_words] == [
        (number, num_parts) for number in range(1, num_parts + 1)
    ]
    assert "".join(s.info["text"] for s in steps if "part" not in s.info).split() == texts[0].split()[:4]


def test_summaries_that_do_not_fit_are_summarized_again() -> None:
    model = EchoModel(45)
    assert summarize(model, sentences(200)).text().split() == ["Sentence", "number", "0", "has"]
    assert len(model.asked) > 200 * 6 / 45


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_parts_whose_summary_was_cut_off_are_counted_and_said(
    finish_reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = EchoModel(60, finish_reason=finish_reason)
    summary = summarize(model, sentences(30))
    summary.text()
    assert summary.parts_cut_off == (len(model.asked) - 1 if finish_reason == "length" else 0)
    remark(cast(Model, model), summary, Feedback())
    said = f"summaries of parts that were cut off: {summary.parts_cut_off} (--max-tokens)"
    assert (said in capsys.readouterr().err) == (finish_reason == "length")


def test_timings_are_those_of_all_parts() -> None:
    model = EchoModel(60)
    summary = summarize(model, sentences(30))
    summary.text()
    num = len(model.asked)
    assert num > 1
    assert summary.timings == Timings(5 * num, 4 * num, 1.0 * num, 2.0 * num)


def test_summaries_that_do_not_get_shorter_end_with_an_error() -> None:
    with pytest.raises(ReverieError, match="max-tokens"):
        summarize(EchoModel(60, num_words=1000), sentences(30)).text()


def test_closing_a_summary_stops_the_generation_under_way() -> None:
    model = EchoModel(60)
    summary = summarize(model, sentences(30))
    next(summary)
    summary.close()
    assert model.asked[-1].closed
    assert list(summary) == []


def test_an_empty_context_is_a_mistake_and_not_a_question_without_one() -> None:
    with pytest.raises(ReverieError, match="context is empty"):
        tasks.ask("Who?", " \n")
