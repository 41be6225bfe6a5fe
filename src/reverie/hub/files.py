"""Files: whole or not there at all, verified, and locked between processes."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from reverie.types import ReverieError

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)
CHUNK_BYTES = 1 << 20


@contextmanager
def atomic_path(path: Path, size_bytes: int | None = None) -> Iterator[Path]:
    """A temporary path beside `path` to write a file to; it takes the place of `path` if the block succeeds.

    Until then `path` is as it was, and afterwards it is on the disk, even if the machine or the process dies between.
    size_bytes: what will be written, if known, so that a full disk gives an error that says how much is needed.
    """
    folder, part = path.parent, path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with explained(folder, size_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            part.touch(exist_ok=False)
        with _room_explained(folder, size_bytes):  # what else the block may not do is not for this folder to answer
            yield part
        with explained(folder, size_bytes):
            sync(part)
            part.replace(path)
            sync(folder)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def atomic_write(path: Path, size_bytes: int | None = None) -> Iterator[BinaryIO]:
    """`atomic_path` as a file open for writing."""
    with atomic_path(path, size_bytes) as part, part.open("wb") as file:
        yield file


def write(path: Path, content: str | bytes) -> None:
    """Writes a whole file by `atomic_write`; text as UTF-8."""
    with atomic_write(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows has no way to ask this of a folder
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def explained(folder: Path, size_bytes: int | None = None) -> Iterator[None]:
    """Turns a full disk, or a folder that may not be written, into a `ReverieError` that says what to do."""
    try:
        with _room_explained(folder, size_bytes):
            yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise ReverieError(f"{folder} cannot be written ({error.strerror}): choose a folder that can.") from error
        raise


@contextmanager
def _room_explained(folder: Path, size_bytes: int | None) -> Iterator[None]:
    """Turns a full disk alone into a `ReverieError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(folder, size_bytes) from error
        raise


def need_space(folder: Path, size_bytes: int) -> None:
    """A `ReverieError` unless `size_bytes` are free where `folder` is, which must exist."""
    if shutil.disk_usage(folder).free < size_bytes:
        raise _disk_full(folder, size_bytes)


def _disk_full(folder: Path, size_bytes: int | None) -> ReverieError:
    needed = "" if size_bytes is None else f"{in_words(size_bytes)} are needed and "
    free = in_words(shutil.disk_usage(folder).free)
    return ReverieError(
        f"The disk is full: {needed}{free} are free in {folder}. "
        "Free some space, or set REVERIE_HOME to a folder on another disk."
    )


def in_words(size_bytes: float) -> str:
    """A size for people: 98362432 -> "98.4 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.95:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_bytes(folder: Path) -> int:
    """The sizes of all files in a folder and below, in bytes. Files may come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(parent, name)).st_size
            except OSError:
                continue
    return total


@contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds a lock that other processes respect: True once it is ours; False if `wait` is off and it is not free."""
    import filelock  # noqa: PLC0415 - takes longer to import than `reverie models list` takes in all

    handle = filelock.FileLock(path)
    with explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(filelock.Timeout):
            handle.acquire(blocking=wait)
    try:
        yield handle.is_locked
    finally:
        handle.release()
