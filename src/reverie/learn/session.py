"""A session: which questions are asked, in which order their options are shown, and what became of each.

The same seed gives the same session. What is shown before an answer (`Asked.shown`) holds nothing of the answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from reverie.learn import marking
from reverie.learn.marking import Answer
from reverie.learn.questions import Fill, Match, Order, Point, Question, Several
from reverie.types import ReverieError

TEST_QUESTIONS = 3  # of the short test before a lesson, and of that after it
Given = float | Sequence[int] | Sequence[Sequence[int]]


def dice(seed: int, *what: object) -> random.Random:
    """Random choices that are the same wherever seed and names are."""
    return random.Random("/".join(map(str, (seed, *what))))  # noqa: S311 - for play, not for secrets


@dataclass(frozen=True)
class Asked:
    """A question as it is shown. order: place shown -> place in the question; matches: likewise, of a match."""

    question: Question
    order: tuple[int, ...]
    matches: tuple[int, ...]

    def shown(self) -> dict[str, Any]:
        """All that may be seen before the answer, JSON-able."""
        q = self.question
        told: dict[str, Any] = {
            "id": q.id, "kind": q.kind, "topic": q.topic, "difficulty": q.difficulty, "text": q.text,
            "picture": q.picture, "lesson": q.lesson, "num_hints": len(q.hints),
        }  # fmt: skip
        if isinstance(q, Fill):
            return told | {"unit": q.number.unit}
        if isinstance(q, Point):
            cells = [[cell.row, cell.column] for cell in q.options]
            return told | {"grid": q.grid.model_dump(), "marked": cells, "several": len(q.rights) > 1}
        if isinstance(q, Match):
            lefts = [{"text": q.options[place].text, "picture": ""} for place in self.order]
            return told | {"options": lefts, "matches": [q.options[place].match for place in self.matches]}
        options = [{"text": q.options[place].text, "picture": q.options[place].picture} for place in self.order]
        return told | {"options": options}

    def read(self, given: Given) -> Answer:
        """An answer in terms of what was shown -> in those of the question.

        choice: the option's place, counted from 0. several, order: places. match: for each option the place of what
        belongs to it. point: [row, column] of each cell. number: the number.
        """
        q = self.question
        if isinstance(q, Fill):
            return float(given) if isinstance(given, int | float) else ()
        listed: list[Any] = [given] if isinstance(given, int | float) else list(given)
        if isinstance(q, Point):
            return tuple(self._cell(cell) for cell in listed)
        places = [self._place(place, len(q.options)) for place in listed]
        if not isinstance(q, Match):
            return tuple(self.order[place] for place in places)
        if len(places) != len(q.options):
            raise ReverieError(f"An answer names each of the {len(q.options)} things once.")
        pairs = {self.order[left]: self.matches[place] for left, place in enumerate(places)}
        return tuple(pairs[left] for left in range(len(places)))

    def tell(self, answer: Answer) -> Any:
        """The inverse of `read`: an answer to the question in terms of what was shown."""
        q = self.question
        if isinstance(answer, float):
            return answer
        if not answer:
            return []  # given up
        if isinstance(q, Point):
            return [[q.options[place].row, q.options[place].column] for place in answer]
        if isinstance(q, Match):
            return [self.matches.index(answer[left]) for left in self.order]
        places = [self.order.index(place) for place in answer]
        return places if isinstance(q, Order) else sorted(places)

    def whys(self) -> list[str]:
        """The explanation of each option, in the order shown."""
        q = self.question
        return [q.number.steps] if isinstance(q, Fill) else [q.options[place].why for place in self.order]

    def _place(self, place: Any, num: int) -> int:
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < num:
            raise ReverieError(f"There are {num} options, and that is none of them.")
        return place

    def _cell(self, cell: Any) -> int:
        assert isinstance(self.question, Point)
        marked = [[option.row, option.column] for option in self.question.options]
        if not isinstance(cell, Sequence) or list(cell) not in marked:
            raise ReverieError("That cell cannot be chosen: give the row and the column of one that can.")
        return marked.index(list(cell))


def ask(question: Question, seed: int) -> Asked:
    """A question with its options in an order that hangs on the seed and its id alone; each is as likely."""
    num = 0 if isinstance(question, Fill) else len(question.options)
    order, matches = list(range(num)), list(range(num))
    if not isinstance(question, Point):
        chance = dice(seed, question.id)
        chance.shuffle(order)
        chance.shuffle(matches)
    return Asked(question, tuple(order), tuple(matches))


def draw(questions: Sequence[Question], num: int, seed: int) -> list[Question]:
    """`num` of the questions, or all if there are fewer; the easy ones first."""
    chosen = dice(seed, "draw").sample(list(questions), min(num, len(questions)))
    return sorted(chosen, key=lambda question: question.difficulty)


def lesson_test(
    questions: Sequence[Question], lesson: str, when: Literal["before", "after"], seed: int, num: int = TEST_QUESTIONS
) -> list[Question]:
    """The short test of a lesson. Whatever the seed, before and after it ask different questions, about as hard."""
    own = [question for question in questions if question.lesson == lesson]
    if len(own) < 2:
        raise ReverieError(f"There are too few questions about {lesson[:80]} for a test: choose another lesson.")
    half = sorted(own, key=lambda question: (question.difficulty, question.id))[0 if when == "before" else 1 :: 2]
    return draw(half, num, seed)


@dataclass(frozen=True)
class Marked:
    """What became of a question. mark: how right, 0 to 1; credit: less what hints cost. sure: 0 to 1, or not said."""

    asked: Asked
    answer: Answer
    mark: float
    credit: float
    num_hints: int
    sure: float | None

    @property
    def is_right(self) -> bool:
        """Whether the answer was wholly right."""
        return marking.is_right(self.mark)

    def feedback(self) -> dict[str, Any]:
        """All that is told after the answer, JSON-able: the right answer, and why for every option."""
        q = self.asked.question
        return {
            "id": q.id, "right": self.is_right, "mark": round(self.mark, 4), "credit": round(self.credit, 4),
            "answer": self.asked.tell(self.answer), "right_answer": self.asked.tell(marking.right_answer(q)),
            "whys": self.asked.whys(), "explanation": q.explanation, "lesson": q.lesson,
            "exhibit": None if q.exhibit is None else q.exhibit.model_dump(),
            "source": None if q.source is None else q.source.model_dump(),
        }  # fmt: skip


@dataclass
class Session:
    """Questions asked one after the other."""

    asked: tuple[Asked, ...]
    seed: int
    marked: list[Marked] = field(default_factory=list)
    num_hints: int = 0  # taken for the present question

    @property
    def current(self) -> Asked | None:
        """The question that waits for an answer; None at the end."""
        return self.asked[len(self.marked)] if len(self.marked) < len(self.asked) else None

    def hint(self) -> str:
        """The next hint for the present question."""
        hints = self._now().question.hints
        if self.num_hints >= len(hints):
            raise ReverieError("There are no more hints for this question: give an answer.")
        self.num_hints += 1
        return hints[self.num_hints - 1]

    def answer(self, given: Given, sure: float | None = None) -> Marked:
        """Marks an answer to the present question, in terms of what was shown, and goes on to the next."""
        if sure is not None and not 0 <= sure <= 1:
            raise ReverieError("How sure you are goes from 0 to 1.")
        asked = self._now()
        answer = asked.read(given)
        return self._go_on(Marked(asked, answer, marking.mark(asked.question, answer), 0.0, self.num_hints, sure))

    def skip(self) -> Marked:
        """Gives the present question up: no mark, but all that is told after an answer."""
        return self._go_on(Marked(self._now(), (), 0.0, 0.0, self.num_hints, None))

    def _go_on(self, marked: Marked) -> Marked:
        self.marked.append(replace(marked, credit=marking.credit(marked.mark, self.num_hints)))
        self.num_hints = 0
        return self.marked[-1]

    def result(self) -> dict[str, Any]:
        """The score so far, whole and by topic, JSON-able."""
        sure = [each for each in self.marked if each.sure is not None]
        told = [each.sure for each in sure if each.sure is not None], [each.is_right for each in sure]
        return {
            "questions": len(self.asked), "answered": len(self.marked),
            "right": sum(each.is_right for each in self.marked),
            "credit": round(sum(each.credit for each in self.marked), 4),
            "topics": self._by_topic(), "streak": self.streak, "best_streak": max(self._streaks()),
            "mistakes": [each.asked.question.id for each in self.marked if not each.is_right],
            "brier": marking.brier(*told), "calibration": marking.calibration(*told),
        }  # fmt: skip

    @property
    def streak(self) -> int:
        """How many answers were right, up to now, without a wrong one between."""
        return self._streaks()[-1]

    def _streaks(self) -> list[int]:
        lengths = [0]
        for each in self.marked:
            lengths.append(lengths[-1] + 1 if each.is_right else 0)
        return lengths

    def _by_topic(self) -> dict[str, dict[str, float]]:
        scores: dict[str, dict[str, float]] = {}
        for each in self.marked:
            score = scores.setdefault(each.asked.question.topic, {"answered": 0, "right": 0, "credit": 0.0})
            score["answered"] += 1
            score["right"] += each.is_right
            score["credit"] = round(score["credit"] + each.credit, 4)
        return scores

    def _now(self) -> Asked:
        if self.current is None:
            raise ReverieError("All questions are answered: begin a new quiz.")
        return self.current


def begin(questions: Sequence[Question], seed: int) -> Session:
    """A session of these questions, in this order."""
    if not questions:
        raise ReverieError("There is no question to ask: choose another topic, or more kinds of questions.")
    return Session(tuple(ask(question, seed) for question in questions), seed)


def several(question: Question) -> bool:
    """Whether more than one option is to be chosen."""
    return isinstance(question, Several) or (isinstance(question, Point) and len(question.rights) > 1)
