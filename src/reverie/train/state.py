"""Checkpoints of a run: whole or not there at all, and the last good one if the newest is broken.

FOLDER/step-00012345/training.safetensors   weights, their running mean, the optimisers' moments
FOLDER/step-00012345/state.json             step, seconds, settings, and the SHA-256 of the file above
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from reverie.hub import files, safetensors_file
from reverie.hub.paths import inside
from reverie.types import ReverieError

TENSORS, HEADER = "training.safetensors", "state.json"
KEEP = 2  # checkpoints
_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk, verified. header: step, seconds, training (settings) and learner (a name)."""

    path: Path
    header: Mapping[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """All its tensors, in their own types."""
        from safetensors.torch import load_file  # noqa: PLC0415 - imports torch at use

        return load_file(self.path / TENSORS)


def save(folder: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Writes a checkpoint aside, waits until it is on the disk, and gives it its name; then lets the oldest go."""
    final = path_of(folder, header["step"])
    with _folder_aside(final) as part:
        safetensors_file.save(part / TENSORS, tensors)
        whole = {"reverie": 1, **header, "sha256": files.sha256(part / TENSORS)}
        files.write(part / HEADER, json.dumps(whole, indent=1))
    for old in checkpoints(folder)[KEEP:]:
        _remove(old)
    return final


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is, or would be."""
    return folder / f"step-{step:08}"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the newest first, broken ones too."""
    if not folder.is_dir():
        return []
    found = {path: _NAME.fullmatch(path.name) for path in folder.iterdir()}
    return sorted((path for path, match in found.items() if match), key=lambda path: int(path.name[5:]), reverse=True)


def newest(folder: Path) -> tuple[Saved | None, list[str]]:
    """The newest checkpoint that is whole, if there is any, and what is wrong with those that are newer.

    Where all are broken a `ReverieError` says so: to begin anew without a word would lose a run.
    """
    problems = list[str]()
    for path in checkpoints(folder):
        try:
            return _open(folder, path), problems
        except (ReverieError, OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{path.name} is broken ({error})")
    if problems:
        raise ReverieError(f"No checkpoint in {folder} can be used: {problems[0]}. Begin again in another folder.")
    return None, []


def _open(folder: Path, path: Path) -> Saved:
    path = inside(folder, path.name)
    header = json.loads(inside(path, HEADER).read_bytes())
    if header["sha256"] != files.sha256(inside(path, TENSORS)):
        raise ReverieError("its tensors are not those that were written")
    kinds: dict[str, Any] = {"step": int, "seconds": (int, float), "training": dict, "learner": str}
    for name, kind in kinds.items():
        if not isinstance(header[name], kind):
            raise ReverieError(f"its {name} cannot be {header[name]!r}")
    return Saved(path, header)


@contextmanager
def _folder_aside(final: Path) -> Iterator[Path]:
    """A new folder beside `final`, which takes its place if the block succeeds. One process at a time writes here."""
    part = final.with_name(f".{final.name}.part")
    with files.explained(final.parent):
        _remove(part)
        part.mkdir(parents=True)
    try:
        yield part
        with files.explained(final.parent):
            files.sync(part)
            _remove(final)  # of the same step, and either broken or the same
            part.rename(final)
            files.sync(final.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _remove(path: Path) -> None:
    """Removes a folder; killed meanwhile, what is left does not pass for a checkpoint."""
    if path.exists():
        inside(path, HEADER).unlink(missing_ok=True)
        shutil.rmtree(path)
