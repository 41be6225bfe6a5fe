"""Configs: frozen dataclasses <-> JSON <-> "model.depth=6" overrides."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from reverie.types import ReverieError

T = TypeVar("T")


def to_json(config: Any) -> dict[str, Any]:
    """A dataclass as a dict of JSON values; nested dataclasses become nested dicts."""
    return dataclasses.asdict(config)


def from_json(kind: type[T], data: Mapping[str, Any]) -> T:
    """The dataclass `kind` from what `to_json` gave. Unknown, missing or mistyped fields are a `ReverieError`."""
    if not isinstance(data, Mapping):
        raise ReverieError(f"{kind.__name__} must be a JSON object, not {type(data).__name__}.")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
    if unknown := sorted(set(data) - set(fields)):
        raise ReverieError(f"{kind.__name__} has no field {unknown[0]!r}: it has {', '.join(fields)}.")
    missing = [name for name, field in fields.items() if name not in data and _is_required(field)]
    if missing:
        raise ReverieError(f"{kind.__name__} lacks the field {missing[0]!r}.")
    return kind(**{name: _read(hints[name], value, f"{kind.__name__}.{name}") for name, value in data.items()})


def override(config: T, settings: Sequence[str]) -> T:
    """`config` with settings such as "depth=6" or "window.tokens=512" applied, in order."""
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ReverieError(f"{setting!r} is not a setting: write it as name=value.")
        config = _set(config, path.split("."), text)
    return config


def _set(config: T, path: Sequence[str], text: str) -> T:
    name, *rest = path
    if not dataclasses.is_dataclass(config) or name not in {field.name for field in dataclasses.fields(config)}:
        raise ReverieError(f"{type(config).__name__} has no field {name!r}.")
    if rest:
        value = _set(getattr(config, name), rest, text)
    else:
        value = _parse(typing.get_type_hints(type(config))[name], text, name)
    return typing.cast(T, dataclasses.replace(typing.cast(Any, config), **{name: value}))


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union (or the hint alone)."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _read(hint: Any, value: Any, where: str) -> Any:
    """A JSON value as `hint` says; JSON has no tuples and writes 1.0 as 1, so those two are converted."""
    for option in _options(hint):
        if dataclasses.is_dataclass(option) and isinstance(value, Mapping):
            return from_json(typing.cast(type, option), value)
        if typing.get_origin(option) is tuple and isinstance(value, list | tuple):
            return tuple(_read(typing.get_args(option)[0], item, where) for item in value)
        if option is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if _fits(option, value):
            return value
    raise ReverieError(f"{where} cannot be {value!r}.")


def _fits(option: Any, value: Any) -> bool:
    if typing.get_origin(option) is typing.Literal:
        return value in typing.get_args(option)
    return isinstance(option, type) and type(value) is option


def _parse(hint: Any, text: str, name: str) -> Any:
    """The text of an override as the type that the field has."""
    readers: dict[Any, Any] = {int: int, float: float, str: str, bool: {"true": True, "false": False}.__getitem__}
    for option in _options(hint):
        try:
            return _read(option, readers.get(option, str)(text), name)
        except (ValueError, KeyError, ReverieError):
            continue
    raise ReverieError(f"{name} cannot be {text!r}.")
