"""Options that many commands share, each declared once; and where a prompt comes from."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar, get_type_hints

import typer

from reverie.types import ReverieError

MOST_BYTES = 50_000_000  # of a text: tokens take many times as much memory
T = TypeVar("T")

Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@dataclass(frozen=True)
class Sampling:
    """Options of every command that makes text. None: what suits the task best."""

    model: Annotated[str | None, typer.Option("--model", "-m", help="A model's name, folder or file.")] = None
    system: Annotated[str | None, typer.Option(help="How the model should behave.")] = None
    max_tokens: Annotated[int | None, typer.Option(help="The most new tokens, as a rule 512.")] = None
    temperature: Annotated[float | None, typer.Option(help="0: the likeliest token always; 0.6: as write does.")] = None
    top_k: Annotated[int | None, typer.Option(help="Choose among the k likeliest tokens only.")] = None
    top_p: Annotated[float | None, typer.Option(help="Choose among tokens that make up this probability.")] = None
    min_p: Annotated[float | None, typer.Option(help="Least probability, relative to the likeliest token.")] = None
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1: repeat less.")] = None
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text.")] = None
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="End before this text (repeatable).")] = None
    slide: Annotated[bool, typer.Option("--slide", help="Forget the oldest half when the context is full.")] = False
    offline: Offline = False

    def settings(self) -> dict[str, Any]:
        """What the person set, as fields of `reverie.types.LMRequest`."""
        names = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "stop")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if "stop" in given:
            given["stop"] = tuple(given["stop"])
        return {**given, "slide": self.slide}


@dataclass(frozen=True)
class TextOptions(Sampling):
    """Options of the commands that print one text and end."""

    json: Json = False
    logprobs: Annotated[
        int | None, typer.Option(help="With --json: each token's log-probability and so many alternatives.")
    ] = None

    def settings(self) -> dict[str, Any]:
        """What the person set, as fields of `reverie.types.LMRequest`."""
        if self.logprobs is None:
            return super().settings()
        if not self.json:
            raise typer.BadParameter("give --json too: log-probabilities are part of the JSON", param_hint="--logprobs")
        return {**super().settings(), "num_logprobs": self.logprobs}


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `options` is a dataclass -> one with an option for each of its fields."""
    hints = get_type_hints(command, include_extras=True)
    options = hints["options"]
    parameters = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hint)
        for f, hint in zip(fields(options), _field_hints(options), strict=True)
    ]
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]

    @functools.wraps(command)
    def flat(**given: Any) -> None:
        chosen = options(**{f.name: given.pop(f.name) for f in fields(options)})
        command(**given, options=chosen)

    flat.__signature__ = inspect.Signature([*own, *parameters])  # type: ignore[attr-defined]  # typer reads these two
    flat.__annotations__ = {p.name: p.annotation for p in [*own, *parameters]}
    return flat


def _field_hints(options: type) -> list[Any]:
    hints = get_type_hints(options, include_extras=True)
    return [hints[f.name] for f in fields(options)]


def piped() -> str | None:
    """What was piped into the command, or None if stdin is a terminal, closed or empty."""
    if sys.stdin is None or sys.stdin.isatty():
        return None
    return _text(sys.stdin.buffer, "stdin") or None


def read_text(file: Path) -> str:
    """The text in a file, or on stdin for `-`."""
    if str(file) == "-":
        return _text(sys.stdin.buffer, "stdin")
    try:
        with file.open("rb") as stream:
            return _text(stream, str(file))
    except OSError as error:
        raise ReverieError(f"Cannot read {file}: {error.strerror}.") from error


def read_bytes(file: Path) -> bytes:
    """What a file holds."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ReverieError(f"Cannot read {file}: {error.strerror}.") from error
    if len(data) > MOST_BYTES:
        raise ReverieError(f"{file} has more than {MOST_BYTES:,} bytes: give a smaller file.")
    return data


def read_as(file: Path, parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of what a file holds; its mistakes say which file they are in."""
    data = read_bytes(file)
    try:
        return parse(data)
    except ReverieError as error:
        raise ReverieError(f"{file}: {error}") from error


def _text(stream: BinaryIO, where: str) -> str:
    data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        size = max(len(data), stream.seek(0, os.SEEK_END)) if stream.seekable() else len(data)
        raise ReverieError(f"{where} has {size:,} bytes or more, and {MOST_BYTES:,} are the most: give a part of it.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReverieError(f"{where} is not UTF-8 text: give a text file.") from error


def read_prompt(argument: str | None, name: str = "PROMPT") -> str:
    """The prompt: the argument called `name`, what is piped in, or both, one after the other."""
    parts = [part for part in (argument, piped()) if part is not None]
    if not parts:
        raise typer.BadParameter("give one, or pipe it in", param_hint=name)
    return "\n\n".join(parts)
