"""An npm package gives up the one file that is known, or nothing."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reverie.hub import npm
from reverie.types import ReverieError

CONTENT = b'{"icons": {"dog": {"body": "<g/>"}}}'
MEMBER = "icons.json"


def tarball(*members: tuple[str, bytes], link: tuple[str, bytes, str] | None = None) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link is not None:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname, info.size = link[1], link[2], 0
            archive.addfile(info)
    return file.getvalue()


GOOD = tarball(("package/package.json", b"{}"), (f"package/{MEMBER}", CONTENT))
WANTED = npm.Package("tiny", "@scope/tiny@1.0.0", npm.integrity(GOOD), len(CONTENT), "MIT")

HOSTILE: dict[str, Callable[[], bytes]] = {
    "not compressed": lambda: b"hello" * 1000,
    "empty": lambda: b"",
    "cut off": lambda: GOOD[: len(GOOD) // 2],
    "compressed nonsense": lambda: gzip.compress(b"nonsense" * 200),
    "no such member": lambda: tarball(("package/package.json", b"{}")),
    "only a climbing member": lambda: tarball((f"package/../../{MEMBER}", CONTENT), (f"/package/{MEMBER}", CONTENT)),
    "too large": lambda: tarball((f"package/{MEMBER}", CONTENT + b" ")),
    "far too large": lambda: tarball((f"package/{MEMBER}", bytes(50_000_000))),
    "too small": lambda: tarball((f"package/{MEMBER}", CONTENT[:-1])),
    "symbolic link": lambda: tarball(link=(f"package/{MEMBER}", tarfile.SYMTYPE, "/etc/passwd")),
    "hard link": lambda: tarball(("package/x", CONTENT), link=(f"package/{MEMBER}", tarfile.LNKTYPE, "package/x")),
    "device": lambda: tarball(link=(f"package/{MEMBER}", tarfile.CHRTYPE, "")),
    "folder": lambda: tarball(link=(f"package/{MEMBER}", tarfile.DIRTYPE, "")),
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("REVERIE_HOME", str(folder))
    monkeypatch.delenv("REVERIE_OFFLINE", raising=False)
    return folder


def fake_npm(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, gives: bytes = b"", says: str = "", code: int = 0
) -> Path:
    """An `npm` on the path that writes what it is told; gives a file with how often it was called."""
    if os.name == "nt":
        pytest.skip("the stand-in for npm is a POSIX script")
    folder.mkdir()
    calls, data = folder / "calls", folder / "data.tgz"
    data.write_bytes(gives)
    script = folder / "npm"
    script.write_text(
        f"""#!{sys.executable}
import pathlib, shutil, sys
with open({str(calls)!r}, "a") as file:
    print(sys.argv[1:], file=file)
print({says!r}, file=sys.stderr)
if {code}:
    sys.exit({code})
shutil.copy({str(data)!r}, pathlib.Path(sys.argv[sys.argv.index("--pack-destination") + 1], "scope-tiny-1.0.0.tgz"))
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return calls


def test_a_package_is_fetched_once_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_npm(tmp_path / "bin", monkeypatch, gives=GOOD)
    assert npm.member_json(WANTED, MEMBER) == {"icons": {"dog": {"body": "<g/>"}}}
    assert npm.member_json(WANTED, MEMBER) == {"icons": {"dog": {"body": "<g/>"}}}
    (call,) = calls.read_text().splitlines()
    assert "'pack', '@scope/tiny@1.0.0', '--ignore-scripts'" in call


def test_a_package_with_another_hash_is_not_kept(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tarball((f"package/{MEMBER}", CONTENT), ("package/more", b"x"))
    fake_npm(tmp_path / "bin", monkeypatch, gives=other)
    with pytest.raises(ReverieError, match="does not have the SHA-512"):
        npm.fetch(WANTED)
    assert not [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("npm error code ENOTFOUND", "could not reach its registry"),
        ("npm error code E404", "has no @scope/tiny@1.0.0"),
        ("npm error code ENOSPC", "disk became full"),
        ("npm error something else", "something else"),
        ("", "no reason given"),
    ],
)
def test_why_npm_failed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, sentence: str) -> None:
    fake_npm(tmp_path / "bin", monkeypatch, says=says, code=1)
    with pytest.raises(ReverieError, match=sentence):
        npm.fetch(WANTED)


def test_offline_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_npm(tmp_path / "bin", monkeypatch, gives=GOOD)
    monkeypatch.setenv("REVERIE_OFFLINE", "1")
    with pytest.raises(ReverieError, match="once with a network"):
        npm.fetch(WANTED)
    assert not calls.exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tarballs_give_one_sentence(tmp_path: Path, name: str) -> None:
    data = HOSTILE[name]()
    file = tmp_path / "hostile.tgz"
    file.write_bytes(data)
    with pytest.raises(ReverieError) as caught:
        npm.read_member(file, replace(WANTED, integrity=npm.integrity(data)), MEMBER)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.tgz"]


def test_what_is_not_json_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tarball((f"package/{MEMBER}", b"{oh"))
    fake_npm(tmp_path / "bin", monkeypatch, gives=data)
    with pytest.raises(ReverieError, match="not JSON"):
        npm.member_json(replace(WANTED, integrity=npm.integrity(data), size_bytes=3), MEMBER)
