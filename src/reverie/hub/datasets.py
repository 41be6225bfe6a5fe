"""Data sets that are made on this machine: the icons of the illustrated scenes, and the tunes."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from reverie.config import from_json
from reverie.data import draw, tunes
from reverie.data.draw import Drawing
from reverie.data.scene import Split
from reverie.data.scenes import Scenes
from reverie.data.vocabulary import text, vocabulary
from reverie.hub import files, npm, paths, pypi
from reverie.hub.files import Progress
from reverie.hub.npm import Package
from reverie.types import ReverieError

VERSION = 4  # of how icons are drawn: with another number, each build is made anew
SIZES_PX = (64, 128, 256)

# Collections of tunes in a package whose code is not used; NOTICE says who made them.
TUNES_VERSION = 2  # of how tunes are cleaned
TUNES_WHEEL, TUNES_WHEEL_BYTES = "music21==10.5.1", 20_118_992
TUNES_INSIDE = "music21/corpus/"
COLLECTIONS = {
    "ryansMammoth": "Ryan's Mammoth Collection, Boston 1883",
    "oneills1850": "O'Neill's Music of Ireland, Chicago 1903",
    "airdsAirs": "Aird's Airs, Glasgow 1778 to 1801",
    "miscFolk/northumbrianminstrelsyopus": "Northumbrian Minstrelsy, Newcastle 1882",
}
TUNES_FOLDERS = tuple(TUNES_INSIDE + name for name in COLLECTIONS)
TUNES_SHA256 = "335b3bdf9dad8984e032d24d642e9969d136c62c165337e1fa34dbbf178fea32"  # of those files, see `pypi.digest`


def packages() -> dict[str, Package]:
    """The packages of data.toml, by style."""
    table = tomllib.loads(resources.files("reverie.hub").joinpath("data.toml").read_text(encoding="utf-8"))
    return {name: from_json(Package, {"name": name, **row}) for name, row in table.items()}


def scenes_path(size_px: int) -> Path:
    """Where the icons for pictures of this size are once built; another vocabulary has another name."""
    if size_px not in SIZES_PX:
        raise ReverieError(f"Scenes cannot be {size_px} pixels wide: choose one of {', '.join(map(str, SIZES_PX))}.")
    sources = [package.integrity for package in packages().values()]
    key = hashlib.sha256(json.dumps([VERSION, text("scenes.toml"), text("singles.toml"), sources]).encode())
    return paths.inside(paths.home(), "data", "scenes", f"icons-{size_px}-{key.hexdigest()[:12]}.safetensors")


def tunes_path() -> Path:
    """Where the tunes are once built; another way of cleaning them has another name."""
    key = hashlib.sha256(json.dumps([TUNES_VERSION, TUNES_WHEEL, TUNES_SHA256, TUNES_FOLDERS]).encode())
    return paths.inside(paths.home(), "data", "tunes", f"tunes-{key.hexdigest()[:12]}.json")


def _path(name: str, size_px: int) -> Path:
    match name:
        case "scenes":
            return scenes_path(size_px)
        case "tunes":
            return tunes_path()
    raise ReverieError(f"There is no data set {name[:100]!r}: `reverie data list` shows the names.")


def build(name: str, size_px: int = 128, progress: Progress | None = None) -> Path:
    """Makes a data set, fetching what it needs first; gives its file. What is there already is left as it is.

    name: "scenes" (pictures `size_px` wide) or "tunes". progress: called with (parts done, parts in all).
    """
    target = _path(name, size_px)
    with files.lock(paths.inside(paths.home(), "locks", f"data-{name}.lock")):
        if not target.is_file() and target == tunes_path():
            files.write(target, _tunes())
        elif not target.is_file():
            with files.atomic_path(target) as part:
                draw.save(part, _drawn(size_px, progress))
    return target


def _tunes() -> str:
    """The tunes of the collections inside the wheel, cleaned, as one file."""
    found = pypi.read_folder(TUNES_WHEEL, TUNES_SHA256, TUNES_FOLDERS, ".abc", TUNES_WHEEL_BYTES)
    return tunes.to_json(
        tunes.collect(
            {name.removeprefix(TUNES_INSIDE): data.decode("utf-8", "replace") for name, data in found.items()}
        )
    )


def _drawn(size_px: int, progress: Progress | None) -> Iterator[tuple[str, Drawing]]:
    """Each icon of each style, fetched and drawn as it is asked for."""
    for done, (style, package) in enumerate(packages().items(), start=1):
        table = npm.member_json(package, "icons.json")
        for drawing in draw.drawings(style, table, vocabulary(), size_px):
            yield style, drawing
        if progress is not None:
            progress(done, len(packages()))


def open_scenes(
    size_px: int = 128, split: Split = "train", styles: tuple[str, ...] = (), synonyms: bool = False
) -> Scenes:
    """The scenes, built before; a `ReverieError` if they are not. The arguments are those of `Scenes`."""
    return Scenes(built("scenes", size_px), size_px, split, styles, synonyms)


def built(name: str, size_px: int = 128) -> Path:
    """The file of a data set that is built already; a `ReverieError` if it is not. size_px: of scenes."""
    path = _path(name, size_px)
    if not path.is_file():
        size = f" --size {size_px}" if path != tunes_path() else ""
        raise ReverieError(f"The {name} are not built: run `reverie data build {name}{size}`.")
    return path
