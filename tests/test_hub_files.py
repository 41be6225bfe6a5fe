"""A file is whole or not there at all; what went wrong is said in one sentence."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reverie.hub import files
from reverie.types import ReverieError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_write_replaces_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    for content in (b"first", b"second"):
        with files.atomic_write(path) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"first"
        assert path.read_bytes() == content
    assert names(path.parent) == ["file"]


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with files.atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_full_disk_says_how_much_and_where(tmp_path: Path) -> None:
    def fail() -> None:
        with files.atomic_write(tmp_path / "file", 98_362_432):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ReverieError, match=r"disk is full: 98\.4 MB are needed .* free in .*REVERIE_HOME") as caught:
        fail()
    assert str(tmp_path) in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_for_real() -> None:
    with pytest.raises(ReverieError, match="disk is full: 1 B are"), files.explained(Path("/dev"), 1):
        Path("/dev/full").write_bytes(b"x")


def test_no_space_is_noticed_before(tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match="disk is full"):
        files.need_space(tmp_path, 10**18)
    files.need_space(tmp_path, 1)


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ReverieError, match="cannot be written"), files.atomic_write(tmp_path / "file" / "x"):
        pass


def test_folder_is_not_blamed_for_trouble_elsewhere(tmp_path: Path) -> None:
    elsewhere = PermissionError(errno.EACCES, "Permission denied", "/other/file")
    with pytest.raises(PermissionError), files.atomic_write(tmp_path / "file"):
        raise elsewhere
    assert names(tmp_path) == []


WRITER = """
import sys, time
from pathlib import Path
from reverie.hub import files
with files.atomic_write(Path(sys.argv[1])) as file:
    file.write(b"x" * 100_000)
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""


def test_killed_writer_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.kill()
    assert not path.exists()
    with files.atomic_write(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"


def test_sha256(tmp_path: Path) -> None:
    path, content = tmp_path / "file", os.urandom(2_500_000)
    path.write_bytes(content)
    assert files.sha256(path) == hashlib.sha256(content).hexdigest()


def test_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "x.lock"
    got = list[bool]()

    def other() -> None:
        with files.lock(path, wait=False) as held:
            got.append(held)

    with files.lock(path) as held:
        assert held
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    other()
    assert got == [False, True]


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (98_362_432, "98.4 MB"), (999_999, "1.0 MB"), (5e15, "5000.0 TB")]
)
def test_sizes_in_words(size: float, words: str) -> None:
    assert files.in_words(size) == words
