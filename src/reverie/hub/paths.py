"""Paths: where Reverie keeps its files, and the one function that turns names into paths.

Names come from catalogues, archives, repositories and people. A name that reached the file system unchecked is how
other programs of this kind were broken into, twice (CVE-2024-37032, CVE-2026-7020), so nothing but `inside` joins them.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from reverie.types import ReverieError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=-]{0,127}")
# Windows opens a device for these whatever the ending ("nul.txt"), so they are refused everywhere.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def home() -> Path:
    """The folder of all that Reverie keeps: $REVERIE_HOME, or `reverie` in the platform's cache folder. Not created."""
    chosen = os.environ.get("REVERIE_HOME", "")
    try:
        return Path(chosen).expanduser().absolute() if chosen else _cache() / "reverie"
    except RuntimeError as error:
        raise ReverieError("Your home folder is unknown: set REVERIE_HOME to the folder for models.") from error


def data_home() -> Path:
    """The folder of what cannot be fetched again: $REVERIE_HOME, or `reverie` in the platform's data folder."""
    chosen = os.environ.get("REVERIE_HOME", "")
    try:
        return Path(chosen).expanduser().absolute() if chosen else _data() / "reverie"
    except RuntimeError as error:
        raise ReverieError("Your home folder is unknown: set REVERIE_HOME to the folder for all files.") from error


def _data() -> Path:
    """The folder where this platform keeps what programs make for a person."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    variable, default = (
        ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_DATA_HOME", ".local/share")
    )
    chosen = Path(os.environ.get(variable, ""))
    return chosen if chosen.is_absolute() else Path.home() / default


def _cache() -> Path:
    """The folder where this platform keeps what programs can fetch again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    variable, default = ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_CACHE_HOME", ".cache")
    chosen = Path(os.environ.get(variable, ""))
    return chosen if chosen.is_absolute() else Path.home() / default


def inside(root: Path, *names: str) -> Path:
    """root/names[0]/names[1]/... with links resolved, certain to lie in `root`.

    Each name is one path component of at most 128 letters, digits and ._+=-; a separator, "..", a drive, a leading
    dot or dash, a Windows device, or a link that leads out of `root` is a `ReverieError`.
    """
    for name in names:
        _check(name)
    try:
        base = root.resolve()
        path = base.joinpath(*names).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ReverieError(f"The folder {root} cannot be used: {error}.") from error
    if not path.is_relative_to(base):
        raise ReverieError(f"{'/'.join(names)} is a link that leads out of {root}: put the file itself there.")
    return path


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or ".." in name or name.endswith(".") or _DEVICE.fullmatch(name):
        shown = name if len(name) <= 140 else f"{name[:140]}..."
        raise ReverieError(f"{shown!r} is not a file name Reverie accepts: use letters, digits and ._+=-, 128 at most.")


def model_path(name: str) -> Path:
    """The folder of the installed model `name` ("smollm2", "hf:owner/name")."""
    return inside(home(), "models", folder_name(name))


def folder_name(name: str) -> str:
    """A model's name as one path component: "hf:owner/name" -> "hf--owner--name" (repositories have no "--")."""
    if not re.fullmatch(r"hf:[^:/]+/[^:/]+", name) or "--" in name:
        return name
    return name.replace(":", "--").replace("/", "--")


def model_name(folder: str) -> str:
    """The inverse of `folder_name`."""
    if not folder.startswith("hf--") or folder.count("--") != 2:
        return folder
    return folder.replace("--", ":", 1).replace("--", "/", 1)


def shown_name(name: str) -> str:
    """A model's name; of a folder without those above it, which are nobody's business."""
    return name if name.startswith("hf:") else Path(name).name
