"""What a run tells while it goes on: events, log.jsonl and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reverie.hub import files

LOG, BOARD = "log.jsonl", "tensorboard"


@dataclass(frozen=True)
class Started:
    """A run begins, or goes on after `step` steps. notes: what the person should know, such as a broken checkpoint.

    held_out: the loss on what is never learnt from, before the first step.
    """

    folder: Path
    step: int
    num_weights: int
    num_examples: int  # a step
    tokens_per_example: int | None
    notes: tuple[str, ...] = ()
    held_out: float | None = None


@dataclass(frozen=True)
class Progress:
    """One step more. done: the share of the run. scale: of the learning rates. seconds, examples: since the beginning.

    norm: of the gradient. held_out: the loss on what is never learnt from, where it was just measured. sample and
    checkpoint: the file and the folder just written.
    """

    step: int
    done: float
    loss: float
    norm: float
    scale: float
    seconds: float
    examples: int
    held_out: float | None = None
    sample: Path | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Ended:
    """A run is over (`finished`) or was interrupted and can go on. model: the folder of the model."""

    step: int
    finished: bool
    model: Path


Event = Started | Progress | Ended
Watcher = Callable[[Event], None]


class Log:
    """log.jsonl, a line a step, and the same for TensorBoard. What is there of steps to come is cut off first."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - takes a second to import

        self._folder = folder
        _cut(folder / LOG, step)
        with files.explained(folder):
            self._file = (folder / LOG).open("a", encoding="utf-8")
            self._board = SummaryWriter(str(folder / BOARD), purge_step=step + 1)

    def __call__(self, event: Event) -> None:
        """Writes down a step."""
        if not isinstance(event, Progress):
            return
        line = {name: value for name, value in asdict(event).items() if isinstance(value, int | float)}
        with files.explained(self._folder):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            for name, value in line.items():
                if name != "step":
                    self._board.add_scalar(name, value, event.step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):  # what there was no room for is told already
            self._file.close()
        self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last line that is cut off is left out."""
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines() if (folder / LOG).is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:  # the process was killed while it wrote
            break
    return found


def _cut(path: Path, step: int) -> None:
    """Leaves only the lines up to `step`."""
    if path.is_file():
        kept = [line for line in read_log(path.parent) if line.get("step", step + 1) <= step]
        files.write(path, "".join(json.dumps(line) + "\n" for line in kept))
