"""Models as the server knows them: which may be asked for, what is known of each, and their coming and going.

A name from a request is looked up and never used as a path: the catalogue, what is installed, what this server trained,
and what was given on the command line are all there is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reverie import modalities
from reverie.hub import files, paths, sources
from reverie.hub.catalogue import Entry, catalogue, default_name, entry
from reverie.serve.errors import Refused
from reverie.serve.shapes import ModelView, PullEvent
from reverie.types import Request, ReverieError

TRAINED = "run:"  # before the name of a run of this server
POLL_SECONDS = 0.2
READERS = "encoder"  # a family that makes nothing


@dataclass
class Pull:
    """A model on its way here."""

    name: str
    done_bytes: int = 0
    total_bytes: int = 0
    ended: bool = False
    error: ReverieError | None = None

    def event(self) -> PullEvent:
        """How far it is."""
        return PullEvent(name=self.name, done_bytes=self.done_bytes, total_bytes=self.total_bytes)


class Models:
    """served: name -> what `engine.load` takes, of models that were given on the command line; the first of a medium
    stands for it when none is asked for. runs: the folder of what this server trains.
    """

    def __init__(self, served: Mapping[str, str], runs: Path) -> None:
        self.served, self.runs = dict(served), runs
        self._pulls: dict[str, Pull] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def resolve(self, name: str | None, modality: str | None = None) -> str:
        """What `engine.load` takes for a name from a request; None: the default of a medium, or of text.

        A `Refused` for what is not there (404), is not installed or makes nothing (409).
        """
        if name is None:
            name = self.default(modality)
        if name in self.served:
            return self.served[name]
        if name.startswith(TRAINED):
            return str(self._trained(name))
        if name in catalogue():
            return self._catalogued(catalogue()[name])
        if name not in self._others():
            raise Refused(404, f"There is no model {name[:100]!r}: /api/models lists those there are.")
        return name if name.startswith("hf:") else str(self._others()[name].path)

    def default(self, modality: str | None) -> str:
        """The name that stands for a medium; None: the first that was given on the command line, or that of text."""
        wanted = "text" if modality is None else modality
        if wanted not in modalities.names():
            raise Refused(400, f"There is no medium {wanted[:40]!r}: Reverie makes {', '.join(modalities.names())}.")
        for name, path in self.served.items():
            if modality is None or _medium(name, Path(path)) == wanted:
                return name
        with suppress(ReverieError):
            return default_name(wanted)
        here = [view.name for view in self.views() if view.modality == wanted and view.installed and view.usable]
        if not here:
            raise Refused(409, f"No model for {wanted} is here: train one, or start the server with -m.")
        return here[0]

    def kind(self, name: str) -> type[Request]:
        """What a model can be asked for, as its folder or the catalogue tells."""
        medium = _medium(name, Path(self.resolve(name)))
        found: type[Request] = modalities.modality(medium).request
        return found

    def views(self) -> list[ModelView]:
        """All there are: those served, the catalogue, other installed ones, those trained here."""
        given = [self._view_folder(name, Path(path)) for name, path in self.served.items() if name not in catalogue()]
        listed = [self._view(found) for found in catalogue().values()]
        others = [self._view_folder(name, found.path) for name, found in self._others().items()]
        names = self._run_names()
        trained = [self._view_folder(name, self._trained(name)) for name in names]
        return [*given, *listed, *others, *trained]

    async def pull(self, name: str) -> AsyncIterator[PullEvent]:
        """Fetches a model of the catalogue, or joins whoever does; goes on to the end even if nobody watches."""
        if name not in catalogue():  # other addresses than those of the catalogue are for the command line
            raise Refused(404, f"The catalogue has no model {name[:100]!r}: /api/models lists those there are.")
        pull = self._pulls.get(name)
        if pull is None or pull.ended:
            pull = self._pulls[name] = Pull(name)
            task = asyncio.create_task(self._fetch(pull))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._watch(pull)

    async def _watch(self, pull: Pull) -> AsyncIterator[PullEvent]:
        while not pull.ended:
            yield pull.event()
            await asyncio.sleep(POLL_SECONDS)
        if pull.error is not None:
            raise pull.error
        yield pull.event()

    async def _fetch(self, pull: Pull) -> None:
        def progress(done: int, total: int) -> None:
            pull.done_bytes, pull.total_bytes = done, total

        try:
            await asyncio.to_thread(sources.fetch, entry(pull.name), progress=progress)
        except ReverieError as error:
            pull.error = error
        except OSError as error:
            pull.error = ReverieError(f"{pull.name} could not be fetched ({error.strerror}): try again.")
        finally:
            pull.ended = True

    def remove(self, name: str) -> int:
        """Deletes an installed model; gives the bytes that became free."""
        if name not in catalogue() and name not in self._others():
            raise Refused(404, f"There is no model {name[:100]!r}: /api/models lists those there are.")
        try:
            return sources.remove(name)
        except ReverieError as error:
            raise Refused(409, str(error)) from error

    # --- within ---

    def _catalogued(self, found: Entry) -> str:
        if not _makes(found):
            raise Refused(409, f"{found.name} makes nothing by itself: choose another model of /api/models.")
        if not _is_whole(found):
            raise Refused(
                409, f"{found.name} is not installed: pull it on the Models page, or by `reverie models pull`."
            )
        return found.name

    def _others(self) -> dict[str, sources.Installed]:
        """What is in the model folder besides the catalogue."""
        return {found.name: found for found in sources.installed() if found.name not in catalogue()}

    def _run_names(self) -> list[str]:
        folders = sorted(self.runs.iterdir()) if self.runs.is_dir() else []
        return [TRAINED + folder.name for folder in folders if (folder / "model" / "config.json").is_file()]

    def _trained(self, name: str) -> Path:
        if name not in self._run_names():
            raise Refused(404, f"There is no model {name[:100]!r}: no run of that name has written one yet.")
        return paths.inside(self.runs, name.removeprefix(TRAINED), "model")

    def _view(self, found: Entry) -> ModelView:
        whole = _is_whole(found)
        removable = whole and found.source != "package"
        pull = self._pulls.get(found.name)
        return ModelView(
            name=found.name, modality=found.modality, family=found.family, licence=found.licence, notes=found.notes,
            size_bytes=found.about_bytes, parameters=found.parameters, context_tokens=found.context_tokens,
            installed=whole, default=found.default, usable=_makes(found), gated=found.gated, removable=removable,
            pulling=pull is not None and not pull.ended,
        )  # fmt: skip

    def _view_folder(self, name: str, path: Path) -> ModelView:
        config = _config(path)
        parameters = config.get("parameters", 0)
        return ModelView(
            name=name, modality=_medium(name, path), family=str(config.get("family", "lm")), licence="see its card",
            notes="trained here" if name.startswith(TRAINED) else "", size_bytes=files.folder_bytes(path),
            parameters=parameters if isinstance(parameters, int) else 0, context_tokens=0, installed=True,
            default=False, usable=True, gated=False, removable=name in self._others(), pulling=False,
        )  # fmt: skip


def _medium(name: str, path: Path) -> str:
    """What a model makes, as the catalogue tells, or its own folder."""
    if name in catalogue():
        return catalogue()[name].modality
    told = _config(path).get("modality", "text")
    return told if isinstance(told, str) else "text"


def _makes(found: Entry) -> bool:
    return found.family != READERS and found.modality in modalities.names()


def _is_whole(found: Entry) -> bool:
    with suppress(ReverieError):  # a link that leads out of the folder
        return sources.find(found) is not None
    return False


def _config(path: Path) -> dict[str, Any]:
    """What a model's folder says of itself; nothing if it does not."""
    with suppress(OSError, ValueError):
        data = json.loads((path / "config.json").read_text(encoding="utf-8"))
        return data if isinstance(data, dict) else {}
    return {}
