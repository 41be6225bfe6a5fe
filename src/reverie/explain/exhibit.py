"""An exhibit: one thing to see inside a model, as data; and the registry that finds all of them.

A file of this folder makes one by decorating a function with `@maker(...)`; nothing is listed anywhere else.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import reverie.explain
from reverie.engine import Model
from reverie.hub.paths import shown_name
from reverie.lm.model import Decoder
from reverie.types import Message, ReverieError

Family = Literal["lm", "diffusion", "both"]
Prompt = str | Sequence[Message]
Shown = tuple[dict[str, Any], list[str]]  # what a maker gives: data, and what it says

MOST_BYTES = 2_000_000  # of an exhibit as JSON; pictures are the largest part of those that have any
MOST_LETTERS = 500  # of an option that is told
DIGITS = 5  # significant ones, of every number


@dataclass(frozen=True)
class Exhibit:
    """One thing seen inside one model, for one prompt.

    question: what it answers. family: "lm" or "diffusion". prompt: as given; a conversation is a list of
    {"role", "content"}. options: all of them, with their defaults. data: JSON-able, at most `MOST_BYTES`; what is in it
    the maker's docstring says, and `version` counts changes to that. says: what is to be seen, in plain sentences.
    """

    name: str
    version: int
    title: str
    question: str
    family: str
    model: str
    prompt: Any
    options: Mapping[str, Any]
    data: Mapping[str, Any]
    says: tuple[str, ...]

    def json(self) -> str:
        """The whole exhibit as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def __str__(self) -> str:
        return "\n".join([self.title, self.question, *self.says])

    def _repr_png_(self) -> bytes:
        """What a notebook shows; needs matplotlib."""
        from reverie.explain.figures import png  # noqa: PLC0415 - it draws exhibits

        return png(self)


@dataclass(frozen=True)
class Maker:
    """What makes one kind of exhibit. make: (model, prompt, **options) -> data and sentences.

    choices: what an option can be, where that is one of few words. medium: whose models it is made for, if not for all
    of its family.
    """

    name: str
    title: str
    question: str
    family: Family
    version: int
    make: Callable[..., Shown]
    when: Callable[[Model], bool]
    choices: Mapping[str, tuple[str, ...]]
    medium: str | None

    @property
    def options(self) -> dict[str, Any]:
        """Option -> its default."""
        parameters = inspect.signature(self.make).parameters.values()
        return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}

    @property
    def kinds(self) -> dict[str, str]:
        """Option -> what its value is: "int", "float", "bool" or "str"."""
        parameters = inspect.signature(self.make).parameters
        return {name: _kind(parameters[name].annotation) for name in self.options}

    def suits(self, model: Model) -> bool:
        """Whether this can be seen in that model."""
        return self.family in ("both", family(model)) and self.when(model)

    def settled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options: those given, as the types they should have, and the defaults of the others."""
        known = self.options
        if unknown := sorted(set(given) - set(known)):
            has = f"there are {', '.join(known)}" if known else "it has none"
            raise ReverieError(f"The exhibit {self.name} has no option {unknown[0][:80]!r}: {has}.")
        parameters = inspect.signature(self.make).parameters
        return known | {name: _cast(name, value, parameters[name].annotation) for name, value in given.items()}


_MAKERS: dict[str, Maker] = {}


def maker(
    name: str,
    *,
    title: str,
    question: str,
    family: Family,
    version: int = 1,
    when: Callable[[Model], bool] = lambda model: True,
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    medium: str | None = None,
) -> Callable[[Callable[..., Shown]], Callable[..., Shown]]:
    """Registers a function as the maker of an exhibit: f(model, prompt, *, options...) -> (data, says).

    Options are keyword-only and of type int, float, bool, str, or one of these | None; numbers are rounded for it.
    when: which models of the family have it. choices: option -> what it can be, for those that take one of few words.
    medium: whose default model shows it best, where that is not the family's.
    """

    def register(make: Callable[..., Shown]) -> Callable[..., Shown]:
        assert name not in _MAKERS, f"two exhibits are called {name}"
        _MAKERS[name] = Maker(name, title, question, family, version, make, when, choices, medium)
        return make

    return register


@cache
def _makers() -> dict[str, Maker]:
    """Name -> maker, of all files in this folder."""
    for module in pkgutil.iter_modules(reverie.explain.__path__):
        importlib.import_module(f"reverie.explain.{module.name}")
    return dict(sorted(_MAKERS.items()))


def exhibits(model: Model | None = None) -> list[str]:
    """The names of the exhibits there are; of a model: those that can be seen in it."""
    return [name for name, each in _makers().items() if model is None or each.suits(model)]


def about(name: str) -> Maker:
    """What makes the exhibit of that name: its title, question, family and options."""
    if name not in _makers():
        raise ReverieError(f"There is no exhibit {name[:80]!r}: there are {', '.join(exhibits())}.")
    return _makers()[name]


def exhibit(name: str, model: Model, prompt: Prompt, /, **options: Any) -> Exhibit:
    """Makes an exhibit: `exhibit("attention", model, "The parrot was hungry", layer=3)`.

    Options may be given as text. A name, an option or a prompt that cannot be is a `ReverieError`.
    """
    kind = about(name)
    if not kind.suits(model):
        raise ReverieError(
            f"{shown_name(model.name)} does not show {name}: choose one of {', '.join(exhibits(model))}."
        )
    if family(model) == "diffusion" and not isinstance(prompt, str):
        raise ReverieError("The prompt is a conversation: say in a few words what to draw.")
    settled = kind.settled(options)
    data, says = kind.make(model, prompt, **settled)
    shown = prompt if isinstance(prompt, str) else [asdict(message) for message in prompt]
    told = {option: _shown(value) for option, value in settled.items()}
    made = Exhibit(
        name=name,
        version=kind.version,
        title=kind.title,
        question=kind.question,
        family=family(model),
        model=shown_name(model.name),
        prompt=shown,
        options=told,
        data=rounded(data),
        says=tuple(says),
    )
    if (size := len(made.json().encode())) > MOST_BYTES:
        raise ReverieError(
            f"The exhibit {name} would be {size / 1e6:.1f} MB: give a shorter prompt or smaller options."
        )
    return made


def family(model: Model) -> Literal["lm", "diffusion"]:
    """Which of the two cores a model is."""
    return "lm" if isinstance(model.core, Decoder) else "diffusion"


def rounded(value: Any) -> Any:
    """The same as plain JSON-able Python, with `DIGITS` significant digits; tensors become lists, NaN and inf None."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return rounded(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value


def _shown(value: Any) -> Any:
    """An option as it is told; a picture of the reader's own is only mentioned."""
    simple = value is None or isinstance(value, int | float | str)
    return value if simple and len(str(value)) <= MOST_LETTERS else "given"


CASTS: dict[str, Callable[[Any], Any]] = {
    "int": lambda value: int(value) if int(value) == float(value) else int(""),
    "float": float,
    "bool": lambda value: {"true": True, "1": True, "false": False, "0": False}[str(value).lower()],
    "str": str,
}
WANTED = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def _kind(annotation: str) -> str:
    """The type that an annotation names beside None."""
    return max(annotation.split(" | "), key=lambda part: part in CASTS)


def _cast(name: str, value: Any, annotation: str) -> Any:
    """An option's value as its annotation wants it: "int", "float | None" and the like; others are left alone."""
    kind = _kind(annotation)
    if kind not in CASTS or (value is None and "None" in annotation):
        return value
    try:
        made = CASTS[kind](value)
        if kind in ("int", "float") and (isinstance(value, bool) or not math.isfinite(made)):
            raise ValueError
    except (ValueError, TypeError, KeyError, OverflowError):
        raise ReverieError(f"The option {name} is {str(value)[:80]!r}: give {WANTED[kind]}.") from None
    # An array, where a text would do too (a picture of one's own).
    return value if hasattr(value, "shape") else made
