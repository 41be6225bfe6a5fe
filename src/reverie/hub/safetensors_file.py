"""Safetensors: one file, or a folder of them with an index, read as float32; and written whole or not at all.

The header is checked here first, by the rules of the format, so that what is wrong gives a sentence and not a
traceback; the tensors are read by the `safetensors` package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reverie.hub import paths
from reverie.hub.files import atomic_path, in_words
from reverie.hub.tensor_file import TensorInfo, damaged, find, refuse_overlaps, refuse_pickle, size_of, span
from reverie.types import ReverieError

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 1 << 25  # the largest real headers take a third of this
MAX_DIMS, MAX_DIM = 8, 1 << 40
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
FLOATS = ("F64", "F32", "F16", "BF16")
ITEM_BYTES = dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1) | dict.fromkeys(("U16", "I16"), 2)
ITEM_BYTES |= {"F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8}


class SafetensorsFile:
    """The tensors of one file or of all the files that an index names. metadata: text by name, of all of them."""

    def __init__(self, files: Mapping[str, Path], metadata: dict[str, str], tensors: dict[str, TensorInfo]) -> None:
        self._files, self.metadata, self.tensors = files, metadata, tensors
        self._open: dict[Path, Any] = {}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads the headers at `path`, a file or a folder; whatever is wrong with them is a `ReverieError`."""
        files, metadata, tensors = dict[str, Path](), dict[str, str](), dict[str, TensorInfo]()
        wanted = _index(path) if path.is_dir() else {}
        for file in sorted(set(wanted.values())) if wanted else [_single(path)]:
            words, infos = read_header(file)
            metadata |= words
            tensors |= infos
            files |= dict.fromkeys(infos, file)
        for name, file in wanted.items():
            if files.get(name) != file:
                raise damaged(INDEX, f"it says {name[:80]!r} is in {file.name}, which is not so")
        return cls(files, metadata, tensors)

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """A tensor as float32, or only some `rows` of its first axis. May share memory with the file; do not write."""
        info = find(self.tensors, name, SINGLE)
        if info.type not in FLOATS:
            raise ReverieError(f"Tensor {name!r} holds {info.type}: Reverie computes with {', '.join(FLOATS)}.")
        first, shape = span(info, rows)
        handle = self._handle(self._files[name])
        tensor: Tensor
        tensor = handle.get_slice(name)[first : first + shape[0]] if shape else handle.get_tensor(name)
        return tensor.float()

    def _handle(self, file: Path) -> Any:
        """The file, opened by the package at the first read. Two threads that both open it do no harm."""
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - imports torch at use

        if file not in self._open:
            try:
                self._open[file] = safe_open(file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise damaged(file.name, str(error)) from error
        return self._open[file]

    def close(self) -> None:
        """Lets go of the files."""
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes tensors to the file `path`, in their own types. What was there before stays until all is on the disk.

    No two may share memory: a weight that is used twice is saved once.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - imports torch
    from safetensors.torch import save_file  # noqa: PLC0415

    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    size_bytes = sum(tensor.nbytes for tensor in whole.values())
    with atomic_path(path, size_bytes) as part:
        try:
            save_file(whole, part, None if metadata is None else dict(metadata))
        except SafetensorError as error:  # a full disk, too, in the words of the system
            raise ReverieError(
                f"The tensors could not be written to {path.parent} ({error}): "
                f"free {in_words(size_bytes)} there, or choose another folder."
            ) from error


def read_header(path: Path) -> tuple[dict[str, str], dict[str, TensorInfo]]:
    """The metadata and the tensors of one file, all checked; a `ReverieError` says what is wrong. Imports no torch."""
    size_bytes = size_of(path)
    with path.open("rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        if len(head) < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, size_bytes - 8):
            refuse_pickle(path, head)
            raise damaged(path.name, "its header is cut off or too long")
        text = file.read(length)
    if text[:1] != b"{":
        refuse_pickle(path, head)
        raise damaged(path.name, "its header is not a JSON object")
    header = _parse(text, path.name)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise damaged(path.name, "its metadata is not text")
    tensors = {name: _tensor(name, value, 8 + length, path.name) for name, value in header.items()}
    _check_places(tensors, 8 + length, size_bytes, path.name)
    return metadata, tensors


def _check_places(tensors: Mapping[str, TensorInfo], start: int, size_bytes: int, where: str) -> None:
    """The tensors must fill the bytes from `start` to the end of the file, each its own."""
    if any(info.offset + info.nbytes > size_bytes for info in tensors.values()):
        raise damaged(where, "it is cut off")
    refuse_overlaps(tensors.values(), where)
    if start + sum(info.nbytes for info in tensors.values()) != size_bytes:
        raise damaged(where, "it holds bytes that belong to no tensor")


def _parse(text: bytes, where: str) -> dict[str, Any]:
    """A JSON object in which no key stands twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands there twice")
        return found

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise damaged(where, f"its header is not proper JSON: {str(error)[:100]}") from error
    if not isinstance(value, dict):
        raise damaged(where, "its header is not a JSON object")
    return value


def _tensor(name: str, value: Any, start: int, where: str) -> TensorInfo:
    """One tensor of a header. start: where the data begins in the file."""
    match value:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [first, last], **rest} if not rest:
            numbers = [first, last, *shape]
            sound = all(type(number) is int and 0 <= number <= MAX_DIM for number in numbers) and len(shape) <= MAX_DIMS
            if sound and kind in ITEM_BYTES and last - first == math.prod(shape) * ITEM_BYTES[kind]:
                return TensorInfo(name, tuple(shape), kind, start + first, last - first)
    raise damaged(where, f"tensor {name[:80]!r} has a type, shape or place that cannot be")


def _single(path: Path) -> Path:
    """The file itself, or the one safetensors file of a folder."""
    if not path.is_dir():
        return path
    found = sorted(file.name for file in path.glob("*.safetensors"))
    if SINGLE not in found and len(found) != 1:
        raise ReverieError(f"{path} holds no {SINGLE}: give a folder with one, or convert the model to safetensors.")
    return paths.inside(path, SINGLE if SINGLE in found else found[0])


def _index(folder: Path) -> dict[str, Path]:
    """Which file of a folder holds which tensor; empty where there is no index."""
    path = paths.inside(folder, INDEX)
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_HEADER_BYTES:
        raise damaged(INDEX, "it is too long")
    weight_map = _parse(path.read_bytes(), INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise damaged(INDEX, "it lacks a map of tensors to files")
    return {name: paths.inside(folder, file) for name, file in weight_map.items()}
