"""Conversations to tune a model with, from the questions of the quiz: python recipes/quiz_chats.py chats.jsonl

reverie tune --data chats.jsonl -o quiz --merge quiz-model

All that is said of one question stands together, so the last tenth, which tuning holds out, is of questions never seen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from reverie.data.dice import Dice
from reverie.hub import files
from reverie.learn.questions import Question, bank

SEED = 0


def main() -> None:
    """Writes the file that the command names."""
    dice = Dice(SEED, 0)
    questions = sorted(bank(), key=lambda _: dice.below(1 << 30))
    lines = [json.dumps({"messages": said}, ensure_ascii=False) for question in questions for said in chats(question)]
    files.write(Path(sys.argv[1]), "\n".join(lines) + "\n")


def chats(question: Question) -> Iterator[list[dict[str, str]]]:
    """The question with its explanation, and each option with its own."""
    yield exchange(question.text, question.explanation)
    if question.kind in ("choice", "several"):
        for option in question.options:
            yield exchange(f"{question.text}\nIs this a right answer: {option.text}", option.why)


def exchange(asked: str, answered: str) -> list[dict[str, str]]:
    """One question, one answer."""
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]


if __name__ == "__main__":
    main()
