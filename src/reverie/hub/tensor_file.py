"""Files of tensors: what the GGUF and the safetensors reader have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reverie.types import ReverieError


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies. shape: as torch has it, rows first. type: the format's own name ("Q4_1", "BF16").

    offset: of its first byte, from the start of the file. nbytes: how many it has.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    nbytes: int


def find(tensors: Mapping[str, TensorInfo], name: str, where: str) -> TensorInfo:
    """tensors[name], or a `ReverieError` that says which file lacks it."""
    if name not in tensors:
        raise ReverieError(f"{where} has no tensor {name!r}: it is not a whole model of the kind it says it is.")
    return tensors[name]


def span(info: TensorInfo, rows: slice | None) -> tuple[int, tuple[int, ...]]:
    """The first row that `rows` asks for, and the shape of what it asks for."""
    if rows is None or not info.shape:
        assert rows is None, "a tensor without axes has no rows"
        return 0, info.shape
    first, last, step = rows.indices(info.shape[0])
    assert step == 1, "rows are read in order"
    return first, (max(last - first, 0), *info.shape[1:])


def refuse_overlaps(infos: Iterable[TensorInfo], where: str) -> None:
    """Tensors that share bytes could ask for more memory than the file has: a `ReverieError`."""
    end = 0
    for info in sorted(infos, key=lambda info: (info.offset, info.nbytes)):
        if info.offset < end:
            raise damaged(where, f"tensor {info.name!r} overlaps another")
        end = info.offset + info.nbytes


def refuse_pickle(path: Path, head: bytes) -> None:
    """A `ReverieError` if a file that begins with `head` is a pickle, bare or in a zip archive, under another name."""
    if head[:2] == b"PK" or head[:1] == b"\x80":
        raise ReverieError(f"{path.name} is a pickle, Reverie never unpickles: convert it to safetensors.")


def damaged(where: str, what: str) -> ReverieError:
    """The error for a file that contradicts itself."""
    return ReverieError(f"{where} is damaged ({what}): fetch it again.")


def size_of(path: Path) -> int:
    """The size of a file in bytes; a `ReverieError` if there is none to read."""
    try:
        if not path.is_file():
            raise ReverieError(f"There is no file {path}: check the name.")
        return path.stat().st_size
    except (OSError, ValueError) as error:
        raise ReverieError(f"{path} cannot be read: {error}.") from error
