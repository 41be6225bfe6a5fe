"""Watching a download from outside: the bytes in a folder, reported while something else fills it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reverie.hub.files import Progress, folder_bytes

INTERVAL_SECONDS = 0.2


@contextmanager
def watching(folder: Path, total: int, progress: Progress | None) -> Iterator[None]:
    """Calls `progress(bytes in the folder, total)` from a thread during the block, with all bytes if it succeeds."""
    if progress is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        most = 0  # files are moved and deleted on the way; a bar never runs backwards
        while not over.wait(INTERVAL_SECONDS):
            most = max(most, folder_bytes(folder))
            progress(min(most, total), total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    progress(total, total)
