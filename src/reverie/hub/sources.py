"""Sources: models are fetched once, verified, and there afterwards without a network.

A model is gathered in home/downloads/NAME and takes its place, home/models/NAME, whole, by one rename. A lock for each
name keeps two processes apart; what a killed one left is taken up or thrown away by the next.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from reverie.hub import files, huggingface, paths, pypi
from reverie.hub.catalogue import Entry, catalogue, entry
from reverie.hub.files import Progress
from reverie.types import ReverieError

STALE_SECONDS = 24 * 3600  # an abandoned download younger than this may yet be taken up

_SWITCH = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off", ""), False)
SUFFIXES = (".gguf", ".safetensors")  # of files that are models

_DOWNLOADS = {"pypi": pypi.download, "hf": huggingface.download}


@dataclass(frozen=True)
class Installed:
    """A model on this disk. path: its folder. size_bytes: all of it."""

    name: str
    path: Path
    size_bytes: int


def fetch(wanted: Entry, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """The model's file (from a wheel) or folder (from Hugging Face), fetched and verified first if it is not there.

    offline: never touch the network, whatever $REVERIE_OFFLINE says. progress: called with (bytes done, bytes in all)
    while something is fetched, from another thread. What goes wrong is a `ReverieError`, and leaves nothing behind.
    """
    present = find(wanted)
    if present is not None:
        return present
    if wanted.source == "package":
        raise ReverieError(f"{wanted.name} comes with Reverie and is not there: install Reverie again.")
    if offline or offline_wished():
        raise _not_installed(wanted.name, " once with a network")
    with _locked(wanted.name):
        present = find(wanted)  # another process may have fetched it while this one waited
        return _fetch(wanted, progress) if present is None else present


def local(name: str) -> Path | None:
    """The path that a name is, None if it is one for the catalogue. A path with nothing there is a `ReverieError`."""
    if not name or name in catalogue() or name.startswith("hf:"):
        return None
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - unlike Path's, it lets an unknown user stand
    with suppress(OSError):  # the name is too long for a path
        if path.is_dir() or (path.suffix in SUFFIXES and path.is_file()):
            return path
    if path.suffix in SUFFIXES or "/" in name or os.sep in name:
        raise ReverieError(
            f"There is no model at {name[:200]!r}: give a folder, a .gguf or .safetensors file, or hf:owner/name."
        )
    return None


def offline_wished() -> bool:
    """Whether $REVERIE_OFFLINE says never to touch the network; a `ReverieError` if it is neither yes nor no."""
    word = os.environ.get("REVERIE_OFFLINE", "").strip().lower()
    if word not in _SWITCH:
        raise ReverieError(f"REVERIE_OFFLINE is {word[:40]!r}: write 1 for no network, or 0.")
    return _SWITCH[word]


def find(wanted: Entry) -> Path | None:
    """Where the model is, if it is installed; it was verified when it came, so only the size is looked at here."""
    if wanted.source == "package":
        return _packaged(wanted.where)
    folder = paths.model_path(wanted.name)
    if wanted.file is None:
        return folder if paths.inside(folder, huggingface.SUMS).is_file() else None
    found = {paths.inside(folder, member.name): member.size_bytes for member in wanted.members}
    whole = all(file.is_file() and file.stat().st_size == size_bytes for file, size_bytes in found.items())
    return next(iter(found)) if whole else None


def _packaged(name: str) -> Path | None:
    """The folder of weights that came with Reverie."""
    folder = paths.inside(Path(str(resources.files("reverie"))), "weights", name)
    return folder if folder.is_dir() else None


def installed() -> list[Installed]:
    """All models on this disk, by name."""
    root = paths.inside(paths.home(), "models")
    names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    found = []
    for name in names:
        with suppress(ReverieError):  # a folder that is none of ours
            path = paths.inside(root, name)
            found.append(Installed(paths.model_name(name), path, files.folder_bytes(path)))
    return found


def remove(name: str) -> int:
    """Deletes an installed model, and any unfinished download of it; gives the bytes that became free."""
    folder, staging = paths.model_path(name), _staging(name)
    if not folder.is_dir() and not staging.is_dir():
        raise ReverieError(f"{name[:100]} is not installed: `reverie models list` shows what is.")
    with _locked(name):
        size_bytes = files.folder_bytes(folder) + files.folder_bytes(staging)
        with files.explained(folder):
            for path in (folder, staging):
                if path.is_dir():
                    shutil.rmtree(path)
    return size_bytes


def verify_installed(name: str) -> bool:
    """Whether an installed model is, byte for byte, what it was when it was fetched; not if it cannot be read."""
    wanted = entry(name)
    if wanted.source == "package":
        return find(wanted) is not None
    if not paths.model_path(name).is_dir():
        raise _not_installed(name)
    path = find(wanted)
    if path is None:
        return False
    if path.is_dir():
        return huggingface.check_sums(path)
    with suppress(OSError):
        return all(files.sha256(paths.inside(path.parent, member.name)) == member.sha256 for member in wanted.members)
    return False


def _not_installed(name: str, how: str = "") -> ReverieError:
    return ReverieError(f"{name} is not installed; run `reverie models pull {name}`{how}.")


def _staging(name: str) -> Path:
    return paths.inside(paths.home(), "downloads", paths.folder_name(name))


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Keeps other processes from fetching or removing the same model."""
    with files.lock(_lock_path(paths.folder_name(name))):
        yield


def _lock_path(folder_name: str) -> Path:
    return paths.inside(paths.home(), "locks", f"{folder_name}.lock")


def _fetch(wanted: Entry, progress: Progress | None) -> Path:
    """Gathers the model and puts it in its place. The model's lock must be held."""
    staging, target = _staging(wanted.name), paths.model_path(wanted.name)
    _clear_stale(staging)
    resumable = wanted.source == "hf"
    try:
        with files.explained(staging, wanted.about_bytes):
            if not resumable:
                shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True, exist_ok=True)
            _install(_DOWNLOADS[wanted.source](wanted, staging, progress), target)
            resumable = False
    finally:
        if not resumable or files.folder_bytes(staging) == 0:
            shutil.rmtree(staging, ignore_errors=True)
    path = find(wanted)
    assert path is not None
    return path


def _install(folder: Path, target: Path) -> None:
    """Puts a finished folder in its place, in one step."""
    if target.is_dir():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.replace(target)
    files.sync(target.parent)


def _clear_stale(staging: Path) -> None:
    """Removes other downloads that nobody holds and nobody has touched for a day."""
    for path in staging.parent.iterdir() if staging.parent.is_dir() else ():
        with suppress(ReverieError, OSError):  # no name of ours, or gone meanwhile
            if path.name == staging.name or time.time() - path.stat().st_mtime < STALE_SECONDS:
                continue
            with files.lock(_lock_path(path.name), wait=False) as held:
                if held:
                    shutil.rmtree(path, ignore_errors=True)
