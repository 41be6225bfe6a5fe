"""Records of how things are made: with what model and under what circumstances, and what differs at a replay."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

from reverie.hub.catalogue import catalogue
from reverie.types import ReverieError

if TYPE_CHECKING:
    from reverie.engine import Model

MOST_THREADS = 256


def circumstances(model: Model) -> dict[str, str | int]:
    """What else the bits of a picture may depend on."""
    import torch  # noqa: PLC0415 - a record can be read without

    versions = {name: metadata.version(name) for name in ("reverie", "torch", "numpy", "pillow")}
    place = {"device": model.place.device, "dtype": str(model.place.dtype).removeprefix("torch.")}
    return {**versions, **place, "machine": platform.machine(), "threads": torch.get_num_threads()}


def model_of(record: Mapping[str, Any]) -> str:
    """The name of the model that a record tells of, if it is one of the catalogue.

    Any other could be whatever the file's maker wants to be fetched or opened: a `ReverieError`.
    """
    match record.get("model"):
        case {"name": str(name)} if name in catalogue():
            return name
        case {"name": str(name)}:
            raise ReverieError(
                f"The file was made by a model {name[:80]!r} that Reverie does not know: give it with -m."
            )
    raise ReverieError("The file's record does not name a model: give a file as Reverie wrote it.")


@contextmanager
def threads_of(record: Mapping[str, Any]) -> Iterator[None]:
    """As many threads as the record tells of: some sums depend on how they are shared out."""
    import torch  # noqa: PLC0415

    now = torch.get_num_threads()
    match record.get("made_with"):
        case {"threads": int(told)} if 1 <= told <= MOST_THREADS:
            torch.set_num_threads(told)
    try:
        yield
    finally:
        torch.set_num_threads(now)


def changes(told: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of model and circumstances is not as the record tells."""
    found = []
    for group, what in (("model", "the model's"), ("made_with", "the")):
        before = told.get(group)
        for name, value in now[group].items():
            old = before.get(name) if isinstance(before, Mapping) else None
            if old != value:
                found.append(f"{what} {name} was {str(old)[:80]} and is {value}")
    return found
