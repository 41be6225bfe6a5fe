"""Records of how things are made: with what model and under what circumstances, and what differs at a replay."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from reverie.hub.catalogue import catalogue
from reverie.hub.paths import shown_name
from reverie.types import Request, ReverieError, Step

if TYPE_CHECKING:
    import numpy as np

    from reverie.engine import Generation, Model

VERSION = 1
MOST_THREADS = 256
PACKAGES = ("reverie", "torch", "numpy", "pillow")  # that bits may depend on
MADE_OF = {  # what a record calls something that was given -> the option to give it with
    "init": "--init",
    "mask": "--mask",
    "begin": "--init",
    "end": "--last",
    "extend": "--extend",
}


# --- to be kept ---


def record(
    model: Model, request: Request, settings: Sequence[str], packages: Sequence[str] = PACKAGES
) -> dict[str, Any]:
    """How a thing is made, as JSON values: the prompt, these settings of the request, the model, the circumstances."""
    return {
        "reverie": VERSION,
        "software": f"Reverie {metadata.version('reverie')} ({shown_name(model.name)})",
        "prompt": request.prompt,
        **{name: getattr(request, name) for name in settings},
        "model": {"name": shown_name(model.name), **model.checkpoint.sha256s()},
        "made_with": circumstances(model, packages),
    }


def fingerprint(pixels: np.ndarray | None) -> str | None:
    """The SHA-256 of the pixels and the shape of a picture or a clip."""
    import numpy as np  # noqa: PLC0415

    if pixels is None:
        return None
    return hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def circumstances(model: Model, packages: Sequence[str] = PACKAGES) -> dict[str, str | int]:
    """What else the bits of a picture may depend on."""
    import torch  # noqa: PLC0415 - a record can be read without

    versions = {name: metadata.version(name) for name in packages}
    place = {"device": model.place.device, "dtype": str(model.place.dtype).removeprefix("torch.")}
    return {**versions, **place, "machine": platform.machine(), "threads": torch.get_num_threads()}


def last_step(generation: Generation, watch: Callable[[Step], None] | None) -> Step:
    """What a generation comes to; watch is told of every step."""
    last = None
    for step in generation:
        if watch is not None:
            watch(step)
        last = step
    assert last is not None
    return last


# --- to be made again ---


def told(
    record: Mapping[str, Any], kind: str | None, settings: Sequence[str], thing: str
) -> tuple[str, dict[str, Any]]:
    """The prompt and these settings in a record of this kind; whatever is missing is a `ReverieError`.

    thing: what to give instead, like "a PNG".
    """
    if record.get("reverie") != VERSION or record.get("kind") != kind:
        raise ReverieError(f"The file's record is of another kind: give {thing} that this version of Reverie can read.")
    missing = [name for name in ("prompt", *settings) if name not in record]
    if missing:
        raise ReverieError(f"The file's record lacks {missing[0]!r}: give {thing} as Reverie wrote it.")
    if not isinstance(record["prompt"], str):
        raise ReverieError(f"The file's record has no prompt in words: give {thing} as Reverie wrote it.")
    return record["prompt"], {name: record[name] for name in settings}


def check_given(record: Mapping[str, Any], **given: np.ndarray | None) -> None:
    """A `ReverieError` unless these are the pictures, or none, that the record says a thing was made from."""
    wanted = [MADE_OF[name] for name in given if record.get(name) is not None]
    extra = [MADE_OF[name] for name, pixels in given.items() if record.get(name) is None and pixels is not None]
    if extra and not wanted:
        raise ReverieError(f"The file was made from words alone: leave out {listed(extra)}.")
    if extra or any(pixels is None for name, pixels in given.items() if record.get(name) is not None):
        leave = f", and leave out {listed(extra)}" if extra else ""
        raise ReverieError(f"The file was made with {listed(wanted)}: give the same files again{leave}.")
    other = [MADE_OF[name] for name, pixels in given.items() if record.get(name) != fingerprint(pixels)]
    if other:
        raise ReverieError(f"The file was made with another picture or clip for {listed(other)}: give that one.")


def listed(words: Sequence[str]) -> str:
    """Words as one says them: "a, b and c"."""
    *others, last = words
    return " and ".join(filter(None, (", ".join(others), last)))


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


@dataclass(frozen=True)
class Verdict:
    """What a replay showed. same_bytes: of the file; same_pixels: of what is seen, where there is something to see.

    changes, seen: sentences without a full stop, on what is not as it was when the thing was made: the model and the
    circumstances, or the pixels. thing, parts: how the same thing is called, and what of it can be edited.
    """

    same_bytes: bool
    same_pixels: bool
    changes: tuple[str, ...]
    seen: tuple[str, ...] = ()
    thing: str = "the same"
    parts: str = "pixels"

    @property
    def differences(self) -> tuple[str, ...]:
        """All that is not as it was."""
        return (*self.changes, *self.seen)

    @property
    def summary(self) -> str:
        """The verdict in a sentence, without a full stop."""
        if self.same_bytes:
            return "verified, the same to the last byte"
        if self.same_pixels:
            return "the same pixels, but the file was written by other means or its texts were changed"
        if self.changes:
            return f"not {self.thing}; it was made under other circumstances, or edited"
        return f"not {self.thing}: its {self.parts} or its record were edited"


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


def unlike(shown: np.ndarray, again: np.ndarray, thing: str) -> list[str]:
    """What of the pixels (..., H, W, 3) of a picture or clip is not as it was."""
    import numpy as np  # noqa: PLC0415

    if shown.shape != again.shape:
        return [f"{thing} was {_size(shown)} and is {_size(again)}"]
    far = np.abs(shown.astype(np.int16) - again).max(axis=-1)  # (..., H, W)
    if not far.any():
        return []
    return [f"{np.count_nonzero(far):,} of {far.size:,} pixels differ, by up to {far.max()} of 255"]


def _size(pixels: np.ndarray) -> str:
    *frames, height, width, _ = pixels.shape
    return f"{width} x {height} pixels" + "".join(f" in {number} frames" for number in frames)
