"""A meter for what a stranger's program does, and the operations that could do much, metered.

Each operation pays, before it begins, for all that it will read and make.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import ItemsView, KeysView, Mapping, Sized, ValuesView
from datetime import datetime
from types import NoneType
from typing import Any

from jinja2 import Undefined

SCALARS = (str, int, float, NoneType, Undefined)
CONTAINERS = (list, tuple, Mapping, KeysView, ValuesView, ItemsView, range)
ITEM_COST = 16  # one item of a list takes as much memory as some characters


class TooMuchError(Exception):
    """A template went over its limits."""


class Meter:
    """What a render, in one thread, may still spend: characters (or their like) made or read, and seconds of a core.

    Time on the clock would count against it what other programs do.
    """

    def __init__(self, characters: int, seconds: float) -> None:
        self.left = characters
        self.deadline = time.thread_time() + seconds

    def charge(self, cost: int) -> None:
        """Pays, or ends the render."""
        self.left -= cost
        if self.left < 0:
            raise TooMuchError("it makes or reads too much text")
        if time.thread_time() > self.deadline:
            raise TooMuchError("it takes too long")

    def made(self, value: Any) -> Any:
        """The value, once its own size is paid for; what a list holds was paid for before."""
        self.charge(size(value))
        return value

    def turns(self, value: Any) -> Any:
        """The value, once a turn of a loop is paid for each thing in it."""
        self.charge(1 + ITEM_COST * len(value) if isinstance(value, Sized) else 1)
        return value

    def read(self, value: Any) -> Any:
        """The value, once all that is in it is paid for, as often as it is in it: it can be compared or written."""
        stack = [value]
        while stack:
            item = stack.pop()
            self.charge(size(item))
            if isinstance(item, Mapping):
                stack.extend(item.items())
            elif isinstance(item, CONTAINERS):
                stack.extend(item)
            elif not isinstance(item, SCALARS):
                raise TooMuchError(f"it uses a {type(item).__name__} as text")
        return value


def size(value: Any) -> int:
    """About how many characters would take as much memory, not counting what a list only refers to."""
    if isinstance(value, str):
        return 1 + len(value)
    if isinstance(value, int):
        return 1 + value.bit_length() // 8
    if isinstance(value, CONTAINERS):
        return 1 + ITEM_COST * len(value)
    return 1


def text_of(meter: Meter, value: Any) -> str:
    """str."""
    return str(meter.read(value))


def replace(meter: Meter, value: Any, old: str, new: str, count: int = -1) -> str:
    """str.replace, of anything."""
    text = text_of(meter, value)
    meter.charge(text.count(old) * len(new))
    return text.replace(old, new, count)


def join(meter: Meter, separator: str, values: Any) -> str:
    """str.join, of anything."""
    meter.charge(len(values) * (ITEM_COST + len(separator)))
    return separator.join(text_of(meter, value) for value in values)


def split(meter: Meter, text: str, separator: str | None = None, maxsplit: int = -1) -> list[str]:
    """str.split."""
    _pay_for_pieces(meter, text, separator)
    return text.split(separator, maxsplit)


def rsplit(meter: Meter, text: str, separator: str | None = None, maxsplit: int = -1) -> list[str]:
    """str.rsplit."""
    _pay_for_pieces(meter, text, separator)
    return text.rsplit(separator, maxsplit)


def _pay_for_pieces(meter: Meter, text: str, separator: str | None) -> None:
    most = text.count(separator) + 1 if separator else len(text) // 2 + 1
    meter.charge(len(text) + ITEM_COST * most)


def percent(meter: Meter, text: str, values: Any) -> str:
    """text % values, without the widths and precisions that make much out of nothing."""
    if "%" in re.sub(r"%(\([^()]*\))?[sdr]|%%", "", text):
        raise TooMuchError("it formats with more than %s, %d and %r")
    before = meter.left
    meter.read(values)
    meter.charge(len(text) + text.count("%") * (before - meter.left))
    written: str = text % values
    return written


def multiply(meter: Meter, left: Any, right: Any) -> Any:
    """left * right."""
    for sequence, copies in ((left, right), (right, left)):
        if isinstance(sequence, str | list | tuple) and isinstance(copies, int):
            meter.charge(size(sequence) * max(copies, 0))
    if isinstance(left, int) and isinstance(right, int):
        meter.charge(left.bit_length() * right.bit_length() // 64)
    return left * right


def power(meter: Meter, left: Any, right: Any) -> Any:
    """left ** right."""
    if isinstance(left, int) and isinstance(right, int):
        meter.charge((left.bit_length() * max(right, 0)) ** 2 // 64)
    return left**right


def to_json(
    meter: Meter,
    value: Any,
    *,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Hugging Face's templates expect it: without Jinja's escapes for HTML."""
    if indent is not None and not 0 <= indent <= ITEM_COST:
        raise TooMuchError("it indents JSON too far")
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    pieces: list[str] = [meter.made(piece) for piece in encoder.iterencode(value)]
    return "".join(pieces)


def bounded_range(meter: Meter, *bounds: int) -> range:
    """range."""
    numbers: range = meter.made(range(*bounds))
    return numbers


def now(meter: Meter, style: str) -> str:
    """The local date and time in the style of strftime."""
    meter.charge(256 * len(style))
    return datetime.now().strftime(style)
