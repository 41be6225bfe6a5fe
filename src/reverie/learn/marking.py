"""Marking: from an answer to a mark, by rules that are told. Pure functions.

An answer is in the terms of the question as it is written, whatever order it was shown in:
choice, several, point: the places of the options chosen. order: the places in the order given. match: for each option
the place of the match given to it. number: the number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from reverie.learn.questions import Choice, Fill, Match, Number, Order, Point, Question, Several
from reverie.types import ReverieError

Answer = tuple[int, ...] | float

HINT_COST = 0.25  # of the mark, for each hint taken
RIGHT = 1 - 1e-9  # a mark from which an answer counts as right
BANDS = 5  # of confidence, in a calibration


def mark(question: Question, answer: Answer) -> float:
    """How right an answer is, from 0 to 1. One that has not the form of an answer is a `ReverieError`.

    choice: all or nothing. several, and point with more than one: the share of the right ones chosen less the share of
    the wrong ones, so that choosing all or none gives nothing. order: of all pairs, those in the right order less those
    in the wrong one, as a share (Kendall's tau), at least 0. match: the share of right pairs. number: all or nothing,
    within the tolerance.
    """
    if isinstance(question, Fill):
        return float(_is_near(question.number, _number(answer)))
    places = _places(answer)
    if isinstance(question, Order):
        return _order(_permutation(places, len(question.options)))
    if isinstance(question, Match):
        right = sum(place == at for at, place in enumerate(_permutation(places, len(question.options))))
        return right / len(question.options)
    return _chosen(question, places)


def right_answer(question: Question) -> Answer:
    """The answer that is wholly right."""
    if isinstance(question, Fill):
        return question.number.value
    if isinstance(question, Order | Match):
        return tuple(range(len(question.options)))
    return tuple(question.rights)


def credit(mark: float, num_hints: int) -> float:
    """What a mark counts after so many hints: each takes a quarter of it."""
    return mark * max(0.0, 1 - HINT_COST * num_hints)


def is_right(mark: float) -> bool:
    """Whether a mark is full."""
    return mark >= RIGHT


def brier(sure: Sequence[float], right: Sequence[bool]) -> float | None:
    """How well confidence and being right go together: mean square difference (Brier, 1950); None: no answer.

    0 is best; one who always says 50 % has 0.25.
    """
    pairs = list(zip(sure, right, strict=True))
    return sum((share - told) ** 2 for share, told in pairs) / len(pairs) if pairs else None


def calibration(sure: Sequence[float], right: Sequence[bool]) -> list[tuple[float, float, int]]:
    """For each band of confidence that occurs: mean confidence, share that was right, how many."""
    bands: dict[int, list[tuple[float, bool]]] = {}
    for share, told in zip(sure, right, strict=True):
        bands.setdefault(min(int(share * BANDS), BANDS - 1), []).append((share, told))
    return [
        (math.fsum(share for share, _ in band) / len(band), sum(told for _, told in band) / len(band), len(band))
        for _, band in sorted(bands.items())
    ]


def _is_near(number: Number, given: float) -> bool:
    rounding = 1e-9 * max(1.0, abs(number.value))  # 0.1 + 0.2 is 0.3
    return abs(given - number.value) <= number.tolerance + rounding


def _order(places: Sequence[int]) -> float:
    pairs = list(combinations(places, 2))
    right = sum(first < second for first, second in pairs)
    return max(0.0, (2 * right - len(pairs)) / len(pairs))


def _chosen(question: Choice | Several | Point, places: tuple[int, ...]) -> float:
    num, rights = len(question.options), set(question.rights)
    chosen = set(places)
    if len(chosen) < len(places) or not chosen <= set(range(num)):
        raise ReverieError(f"An answer names options from 1 to {num}, each once at most.")
    if len(rights) == 1 and len(chosen) > 1:
        raise ReverieError("One option is right: choose one.")
    if len(rights) == 1:
        return float(chosen == rights)
    hits, misses = len(chosen & rights) / len(rights), len(chosen - rights) / (num - len(rights))
    return max(0.0, hits - misses)


def _permutation(places: tuple[int, ...], num: int) -> tuple[int, ...]:
    if sorted(places) != list(range(num)):
        raise ReverieError(f"An answer names each of the {num} things once.")
    return places


def _places(answer: Answer) -> tuple[int, ...]:
    if not isinstance(answer, tuple):
        raise ReverieError("This question asks for options, not for a number.")
    return answer


def _number(answer: Answer) -> float:
    if isinstance(answer, tuple) or not math.isfinite(answer):
        raise ReverieError("This question asks for a number: write one, with a point for decimals.")
    return float(answer)
