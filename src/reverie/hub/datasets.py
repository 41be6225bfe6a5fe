"""Data sets that are made on this machine: the icons of the illustrated scenes."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from reverie.config import from_json
from reverie.data import draw
from reverie.data.draw import Drawing
from reverie.data.scene import Split
from reverie.data.scenes import Scenes
from reverie.data.vocabulary import text, vocabulary
from reverie.hub import files, npm, paths
from reverie.hub.files import Progress
from reverie.hub.npm import Package
from reverie.types import ReverieError

VERSION = 4  # of how icons are drawn: with another number, each build is made anew
SIZES_PX = (64, 128, 256)


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


def build(name: str, size_px: int = 128, progress: Progress | None = None) -> Path:
    """Makes a data set, fetching what it needs first; gives its file. What is there already is left as it is.

    name: "scenes". progress: called with (styles done, styles in all).
    """
    if name != "scenes":
        raise ReverieError(f"There is no data set {name[:100]!r}: `reverie data list` shows the names.")
    target = scenes_path(size_px)
    with files.lock(paths.inside(paths.home(), "locks", "data-scenes.lock")):
        if not target.is_file():
            with files.atomic_path(target) as part:
                draw.save(part, _drawn(size_px, progress))
    return target


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


def built(name: str, size_px: int) -> Path:
    """The file of a data set that is built already; a `ReverieError` if it is not."""
    if name != "scenes":
        raise ReverieError(f"There is no data set {name[:100]!r}: `reverie data list` shows the names.")
    path = scenes_path(size_px)
    if not path.is_file():
        raise ReverieError(f"The scenes are not built: run `reverie data build scenes --size {size_px}`.")
    return path
