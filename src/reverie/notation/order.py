"""Where a tune's bars stand: which are upbeats, and in which order they are played."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reverie.notation.tune import Tune, parts, unfolded


def upbeats(tune: Tune) -> list[bool]:
    """For each bar, whether it is short and begins a part: then its beginning is what it lacks."""
    return [bar.ticks < tune.metre.ticks and at == 0 for part in parts(tune.bars) for at, bar in enumerate(part)]


def numbers(tune: Tune) -> list[int]:
    """The number of each bar as musicians count: an upbeat is no bar of its own, and has that of the bar after it."""
    found, number = [], 1
    for is_upbeat in upbeats(tune):
        found.append(number)
        number += not is_upbeat
    return found


def played(tune: Tune) -> list[int]:
    """The places in `tune.bars` of the bars as they are played, repeats included."""
    bars = [replace(bar) for bar in tune.bars]  # each is another object, even where two are equal
    places = {id(bar): place for place, bar in enumerate(bars)}
    return [places[id(bar)] for bar in unfolded(bars)]


def played_with_start(tune: Tune) -> Iterator[tuple[int, int]]:
    """(place in `tune.bars`, ticks from the beginning) of each bar as it is played."""
    start = 0
    for place in played(tune):
        yield place, start
        start += tune.bars[place].ticks
