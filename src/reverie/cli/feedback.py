"""What a person sees on stderr while they wait, and after: never a part of the result."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from reverie.hub.files import in_words
from reverie.types import LMRequest, ReverieError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.status import Status

    from reverie.cli.options import Sampling
    from reverie.engine import Model


def note(text: str) -> None:
    """A line for the person, dim where stderr is a terminal."""
    print(f"\x1b[2m{text}\x1b[22m" if sys.stderr.isatty() else text, file=sys.stderr)


def note_made(prompt: str, seed: int) -> None:
    """What a picture or a clip was made of: with both it can be made again."""
    note(f'"{prompt}", seed {seed}')


class Feedback:
    """One live line on stderr: a status or a progress bar. Where stderr is no terminal, only that a model is fetched.

    rich is imported when there is something to show: a piped command starts without it.
    dropped_tokens: how many tokens the model forgot meanwhile (--slide), to be said afterwards.
    """

    def __init__(self) -> None:
        self._status: Status | None = None
        self._progress: tuple[Progress, TaskID] | None = None
        self._fetching = False
        self.dropped_tokens = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()

    def status(self, text: str) -> None:
        """Shows what is going on, in place of what was shown before."""
        if not sys.stderr.isatty():
            return
        if self._status is None:
            from rich.console import Console

            self.clear()
            self._status = Console(stderr=True).status(text)
            self._status.start()
        else:
            self._status.update(text)

    def progress(self, done: int, total: int) -> None:
        """Shows how many bytes of a model are here."""
        if not sys.stderr.isatty():
            if not self._fetching:
                note(f"Fetching the model ({in_words(total)}) ...")
            self._fetching = True
            return
        if self._progress is None:
            self.clear()
            self._progress = _progress_bar(total)
        bar, task = self._progress
        bar.update(task, completed=done, total=total)

    def clear(self) -> None:
        """Takes the status away; a progress bar stays as it is."""
        if self._status is not None:
            self._status.stop()
        if self._progress is not None:
            self._progress[0].stop()
        self._status = self._progress = None


def _progress_bar(total: int) -> tuple[Progress, TaskID]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    bar = progress.Progress(*columns, console=Console(stderr=True))
    bar.start()
    return bar, bar.add_task("Fetching the model", total=total)


def load(options: Sampling, feedback: Feedback) -> Model:
    """The model that was asked for; fetched first, with a progress bar, if it is not here."""
    model = load_named(options.model, options.offline, feedback)
    if not issubclass(model.medium.request, LMRequest):
        raise ReverieError(f"{model.name} makes {model.medium.name}: choose a model that writes with -m.")
    return model


def load_for(medium: str, name: str | None, offline: bool, feedback: Feedback) -> Model:
    """The model called `name`, or the default one of a medium."""
    from reverie.hub.catalogue import default_name

    return load_named(default_name(medium) if name is None else name, offline, feedback)


def load_named(name: str | None, offline: bool, feedback: Feedback) -> Model:
    """The model called `name`, or the default text model; fetched first, with a progress bar, if it is not here."""
    from reverie.hub.catalogue import entry
    from reverie.hub.sources import local

    if name is not None and local(name) is None:
        entry(name)  # an unknown name is told before torch is imported
    feedback.status("Loading the model")
    prepare()
    from reverie import engine  # imports torch: a second in which the status is seen

    return engine.load(name, offline=offline, progress=feedback.progress)


def prepare() -> None:
    """Settings that torch reads when it is imported, for a process that does nothing else; what a person set stays.

    Memory in huge pages, and each thread kept on a core of its own: prompts are read a sixth faster (LOG.md).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if "OMP_NUM_THREADS" not in os.environ:  # with fewer threads than cores they would all be kept on the first
        os.environ.setdefault("OMP_PROC_BIND", "close")
