"""Dice: choices that are a function of (seed, index), the same in every process and on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_BATCH = 64


class Dice:
    """Whole numbers from Philox (counter-based, specified bit for bit) keyed by (seed, index)."""

    def __init__(self, seed: int, index: int) -> None:
        self._source = np.random.Philox(key=np.array([seed, index], np.uint64))
        self._next: list[int] = []

    def below(self, limit: int) -> int:
        """One of 0 .. limit - 1."""
        if not self._next:
            self._next = self._source.random_raw(_BATCH).tolist()
        return self._next.pop() % limit

    def between(self, least: int, most: int) -> int:
        """One of least .. most."""
        return least + self.below(most - least + 1)

    def chance(self, one_in: int) -> bool:
        """True once in `one_in` throws."""
        return self.below(one_in) == 0

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[T, int]]) -> T:
        """One of the choices, as often as the whole number beside it says."""
        throw = self.below(sum(share for _, share in choices))
        for choice, share in choices:
            throw -= share
            if throw < 0:
                return choice
        raise AssertionError("a share is negative")
