"""GGUF files, versions 2 and 3: the header is read at once, tensors when they are asked for.

The formats of the numbers are those of the `gguf` package, but not its reader: that takes seconds for a vocabulary of
50,000 tokens, and believes what the file says. Here every count and length is held against the bytes that are there
before anything is read or allocated (CVE-2026-7482, CVE-2026-27940), so that memory is bounded by the file's size.

n numbers in a tensor, stored in blocks: 32 or 256 numbers share a scale, in 2 to 210 bytes
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import gguf
import numpy as np
import numpy.typing as npt

from reverie.hub.tensor_file import TensorInfo, damaged, find, refuse_overlaps, refuse_pickle, size_of, span
from reverie.types import ReverieError

if TYPE_CHECKING:
    from torch import Tensor

SUPPORTED = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K")
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 1 << 26  # the largest vocabularies (260,000 tokens with merges) take a quarter of this
MAX_TENSORS, MAX_PAIRS = 1 << 17, 1 << 14
CHUNK_BYTES = 1 << 19  # float32 at a time, so that numpy's intermediate arrays stay in the cache: 3 times faster

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
_STRUCTS = {kind: struct.Struct(letter) for kind, letter in _SCALARS.items()}
_DTYPES = {kind: np.dtype(letter) for kind, letter in _SCALARS.items()}
_KINDS = {int(kind): kind for kind in gguf.GGMLQuantizationType}


class GGUFFile:
    """An open GGUF file. metadata: strings, numbers, lists of strings, numpy arrays of numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata, self.tensors = _read_header(path, size_of(path))
        self._file = path.open("rb")
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads the header of the file at `path`; whatever is wrong with it is a `ReverieError`."""
        return cls(path)

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """A tensor as float32, or only some `rows` of its first axis (for 1-D tensors of plain floats: numbers)."""
        import torch  # noqa: PLC0415 - the header can be read without

        first, shape = span(find(self.tensors, name, self.path.name), rows)
        info, values = self.tensors[name], np.empty(math.prod(shape), np.float32)
        start = first * math.prod(info.shape[1:])
        kind = gguf.GGMLQuantizationType[info.type]
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        assert (start % block, len(values) % block) == (0, 0), "rows must end where blocks end"
        step = CHUNK_BYTES // 4 // block * block
        for at in range(0, len(values), step):
            part = values[at : at + step]
            data = self._bytes(info, (start + at) // block * block_bytes, len(part) // block * block_bytes)
            part[:] = _decode(data, kind)
        return torch.from_numpy(values).view(shape)

    def raw(self, name: str, rows: slice | None = None) -> npt.NDArray[np.uint8]:
        """The bytes of a tensor as stored (rows, bytes a row), for those who compute with the blocks themselves.

        The array is the caller's own. A 1-D tensor is one row, which cannot be divided.
        """
        info = find(self.tensors, name, self.path.name)
        flat = len(info.shape) == 1
        assert not flat or rows is None, "blocks of a 1-D tensor are not rows"
        first, (num_rows, *_) = (0, (1,)) if flat else span(info, rows)
        row_bytes = info.nbytes if flat else info.nbytes // info.shape[0]
        return self._bytes(info, first * row_bytes, num_rows * row_bytes).reshape(num_rows, row_bytes)

    def _bytes(self, info: TensorInfo, start: int, size: int) -> npt.NDArray[np.uint8]:
        """`size` bytes of a tensor. Read, not mapped: a file cut off meanwhile is an error and not a dead process."""
        data = np.empty(size, np.uint8)
        with self._lock:
            self._file.seek(info.offset + start)
            num_read = self._file.readinto(data.data)
        if num_read != size:
            raise damaged(self.path.name, "it became shorter while it was read")
        return data

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _decode(data: npt.NDArray[np.uint8], kind: gguf.GGMLQuantizationType) -> npt.NDArray[np.float32]:
    """The numbers of some blocks. One row at a time for `gguf`, which otherwise splits it into small groups."""
    with np.errstate(all="ignore"):  # a file may hold infinite scales; that is for the model to notice
        values: npt.NDArray[np.float32] = gguf.dequantize(data[None], kind)[0]
    return values


def _read_header(path: Path, size_bytes: int) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
    """Metadata and tensors of a file, all checked."""
    if size_bytes == 0:
        raise damaged(path.name, "it is empty")
    limit = min(size_bytes, MAX_HEADER_BYTES)
    with path.open("rb") as file, mmap.mmap(file.fileno(), limit, access=mmap.ACCESS_READ) as data:
        refuse_pickle(path, data[:4])
        cursor = _Cursor(path.name, data)
        num_tensors, num_pairs = _read_counts(cursor)
        metadata = _read_metadata(cursor, num_pairs)
        tensors = _read_tensors(cursor, num_tensors)
    alignment = _alignment(metadata, path.name)
    start = (cursor.at + alignment - 1) // alignment * alignment
    return metadata, {info.name: info for info in _placed(tensors, start, alignment, size_bytes, path.name)}


class _Cursor:
    """Reads a header item by item; what does not lie within it is refused before it is touched."""

    def __init__(self, where: str, data: mmap.mmap) -> None:
        self.where, self.data, self.at = where, data, 0

    def need(self, size: int) -> None:
        """A `ReverieError` unless `size` more bytes are there."""
        if size > len(self.data) - self.at:
            limit = " or its header too large" if len(self.data) == MAX_HEADER_BYTES else ""
            raise damaged(self.where, f"it is cut off{limit}")

    def number(self, layout: struct.Struct) -> Any:
        self.need(layout.size)
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return value

    def count(self, item_bytes: int) -> int:
        """A number of items that take at least `item_bytes` each."""
        value: int = self.number(_U64)
        self.need(value * item_bytes)
        return value

    def string(self) -> str:
        return self.strings(1)[0]

    def strings(self, num: int) -> list[str]:
        """Strings, one after another. A tight loop: a vocabulary has 100,000 of them."""
        data, at, size, length, found = self.data, self.at, len(self.data), _U64.unpack_from, list[str]()
        try:
            for _ in range(num):
                start = at + 8
                at = start + length(data, at)[0]
                if at > size:
                    break
                found.append(str(data[start:at], "utf-8"))
        except (struct.error, UnicodeDecodeError) as error:
            raise damaged(self.where, "a string is not UTF-8 or is cut off") from error
        self.need(at - self.at)
        self.at = at
        return found

    def numbers(self, num: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        size = num * dtype.itemsize
        self.need(size)
        values = np.frombuffer(self.data[self.at : self.at + size], dtype)
        self.at += size
        return values


def _read_counts(cursor: _Cursor) -> tuple[int, int]:
    """The numbers of tensors and of metadata pairs, from the first 24 bytes."""
    if cursor.data[:4] != b"GGUF":
        raise ReverieError(f"{cursor.where} is not a GGUF file: it begins with other letters.")
    cursor.at = 4
    version = cursor.number(_U32)
    if version not in VERSIONS:
        big = int.from_bytes(_U32.pack(version), "big") in VERSIONS
        what = "of a big-endian machine" if big else f"of version {version}"
        raise ReverieError(f"{cursor.where} is a GGUF file {what}: Reverie reads little-endian versions 2 and 3.")
    num_tensors = cursor.count(4 * 8)  # a name's length, one dimension and its count, type, offset
    num_pairs = cursor.count(8 + 4 + 1)
    if num_tensors > MAX_TENSORS or num_pairs > MAX_PAIRS:
        raise damaged(cursor.where, f"no model has {num_tensors} tensors and {num_pairs} keys")
    return num_tensors, num_pairs


def _read_metadata(cursor: _Cursor, num_pairs: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(num_pairs):
        key = cursor.string()
        if key in metadata:
            raise damaged(cursor.where, f"the key {key[:80]!r} stands there twice")
        metadata[key] = _read_value(cursor, cursor.number(_U32))
    return metadata


def _read_value(cursor: _Cursor, kind: int) -> Any:
    if kind == _STRING:
        return cursor.string()
    if kind == _ARRAY:
        return _read_array(cursor, cursor.number(_U32))
    if kind not in _STRUCTS:
        raise damaged(cursor.where, f"{kind} is not a type of metadata")
    return cursor.number(_STRUCTS[kind])


def _read_array(cursor: _Cursor, kind: int) -> list[str] | npt.NDArray[Any]:
    """A list of strings or an array of numbers. Arrays of arrays, which no known model has, are refused."""
    if kind == _STRING:
        return cursor.strings(cursor.count(8))
    if kind not in _DTYPES:
        raise damaged(cursor.where, f"{kind} is not a type of metadata in a list")
    return cursor.numbers(cursor.count(_DTYPES[kind].itemsize), _DTYPES[kind])


def _read_tensors(cursor: _Cursor, num_tensors: int) -> list[TensorInfo]:
    """The tensors, with offsets from the start of the data."""
    found: dict[str, TensorInfo] = {}
    for _ in range(num_tensors):
        info = _read_tensor(cursor)
        if info.name in found:
            raise damaged(cursor.where, f"the tensor {info.name[:80]!r} stands there twice")
        found[info.name] = info
    return list(found.values())


def _read_tensor(cursor: _Cursor) -> TensorInfo:
    name, num_dims = cursor.string(), cursor.number(_U32)
    if not 1 <= num_dims <= 4:
        raise damaged(cursor.where, f"tensor {name[:80]!r} has {num_dims} dimensions")
    # The file has the fastest dimension first, torch has it last.
    shape = tuple(cursor.number(_U64) for _ in range(num_dims))[::-1]
    kind = _KINDS.get(cursor.number(_U32))
    if kind is None or kind.name not in SUPPORTED:
        wrong = "of an unknown type" if kind is None else kind.name
        raise ReverieError(f"{cursor.where}: tensor {name[:80]!r} is {wrong}; Reverie reads {', '.join(SUPPORTED)}.")
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if 0 in shape or shape[-1] % block:
        raise damaged(cursor.where, f"tensor {name[:80]!r} has rows of {shape[-1]} numbers in blocks of {block}")
    return TensorInfo(name, shape, kind.name, cursor.number(_U64), math.prod(shape) // block * block_bytes)


def _alignment(metadata: dict[str, Any], where: str) -> int:
    """What the offsets of tensors are multiples of."""
    alignment = metadata.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise damaged(where, "its alignment is not a power of two")
    return alignment


def _placed(tensors: list[TensorInfo], start: int, alignment: int, size_bytes: int, where: str) -> list[TensorInfo]:
    """The tensors with offsets from the start of the file, all of them within it and none on top of another."""
    for info in tensors:
        if info.offset % alignment or start + info.offset + info.nbytes > size_bytes:
            raise damaged(where, f"tensor {info.name[:80]!r} is misplaced or cut off")
    placed = [dataclasses.replace(info, offset=start + info.offset) for info in tensors]
    refuse_overlaps(placed, where)
    return placed
