"""How a training run looks while it goes on: a live curve in a terminal, a line now and then anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from reverie.cli.feedback import note

if TYPE_CHECKING:
    from rich.console import RenderableType

    from reverie.train.watch import Ended, Event, Progress, Started

SECONDS_A_LINE = 10.0  # where stderr is no terminal
SECONDS_A_PICTURE = 0.5
SAMPLE_LINES = 8
CURVE_COLUMNS, CURVE_ROWS = 60, 6


class TrainingView:
    """Shows the events of a run on stderr, and the model's folder on stdout at the end."""

    def __init__(self, max_steps: int | None) -> None:
        self.interrupted = False
        self._of = "" if max_steps is None else f" of {max_steps:,}"
        self._losses: list[float] = []
        self._recent: list[tuple[float, float, int]] = []  # seconds, share done, examples
        self._held_out = self._sample = ""
        self._tokens: int | None = None
        self._shown = 0.0
        self._live: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        match type(event).__name__:  # the classes are known once torch is imported
            case "Started":
                self._start(event)  # type: ignore[arg-type]
            case "Progress":
                self._go_on(event)  # type: ignore[arg-type]
            case _:
                self._end(event)  # type: ignore[arg-type]

    def _start(self, event: Started) -> None:
        from reverie.train.watch import read_log

        self._tokens = event.tokens_per_example
        self._losses = [line["loss"] for line in read_log(event.folder)]  # of the time before a stop
        for text in event.notes:
            self._say(f"{text}; an older checkpoint is used.")
        where = f"goes on after step {event.step:,}" if event.step else "begins"
        if event.held_out is not None:
            where += f" with a held-out loss of {event.held_out:.3f}"
        self._say(f"A model of {event.num_weights:,} weights {where}; all of it is kept in {event.folder}")

    def _go_on(self, event: Progress) -> None:
        self._losses.append(event.loss)
        self._recent = [*self._recent[-49:], (event.seconds, event.done, event.examples)]
        if event.held_out is not None:
            self._held_out = f", held out {event.held_out:.3f}"
        if event.sample is not None and event.sample.suffix == ".txt":
            self._sample = event.sample.read_text(encoding="utf-8", errors="replace")
        now = time.monotonic()
        wait = SECONDS_A_LINE if self._live is None else SECONDS_A_PICTURE
        if now - self._shown < wait and event.done < 1:
            return
        self._shown = now
        if self._live is None:
            note(self._line(event))
        else:
            self._live.update(self._picture(event), refresh=True)

    def _line(self, event: Progress) -> str:
        """Where the run is, in one line."""
        loss = smooth(self._losses)[-1]
        parts = [f"step {event.step:,}{self._of}", f"loss {loss:.3f}{self._held_out}"]
        (began, done, examples), (now, done_now, examples_now) = self._recent[0], self._recent[-1]
        if now > began:
            rate = (examples_now - examples) / (now - began)
            parts.append(f"{rate:,.1f} examples/s" if self._tokens is None else f"{rate * self._tokens:,.0f} tokens/s")
            if done_now > done:
                parts.append(f"{in_time((1 - done_now) * (now - began) / (done_now - done))} left")
        return ", ".join(parts)

    def _picture(self, event: Progress) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        losses = smooth(self._losses)
        rows = braille(losses, CURVE_COLUMNS, CURVE_ROWS)
        labels = [f"{max(losses):6.3f}", *[" " * 6] * (CURVE_ROWS - 2), f"{min(losses):6.3f}"]
        curve = "\n".join(f"{label} {row}" for label, row in zip(labels, rows, strict=True))
        sample = "\n".join(self._sample.splitlines()[:SAMPLE_LINES])
        return Group(Text(curve, style="cyan"), Text(self._line(event)), Text(sample, style="dim"))

    def _end(self, event: Ended) -> None:
        self.__exit__(None, None, None)
        self._live = None
        if not event.finished:
            self.interrupted = True
            note(f"Stopped after step {event.step:,}: the same command goes on from there.")
        print(event.model)

    def _say(self, text: str) -> None:
        if self._live is None:
            note(text)
        else:
            self._live.console.print(text, style="dim", highlight=False)


def smooth(values: Sequence[float], keep: float = 0.95) -> list[float]:
    """A running mean that forgets: value i weighs keep^(n - i)."""
    means, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = total * keep + value, weight * keep + 1
        means.append(total / weight)
    return means


def braille(values: Sequence[float], columns: int, rows: int) -> list[str]:
    """A curve in braille characters, two dots wide and four high each; the whole of `values` in `columns`."""
    width, height = 2 * columns, 4 * rows
    low, high = min(values), max(values)
    grid = [[0] * columns for _ in range(rows)]
    dots = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column within a character
    before = None
    for x in range(min(width, len(values))):
        value = values[x * len(values) // min(width, len(values))]
        y = round((high - value) / (high - low) * (height - 1)) if high > low else height - 1
        for between in range(
            min(y, before if before is not None else y), max(y, before if before is not None else y) + 1
        ):
            grid[between // 4][x // 2] |= dots[between % 4][x % 2]
        before = y
    return ["".join(chr(0x2800 + cell) for cell in row) for row in grid]


def in_time(seconds: float) -> str:
    """A duration for people: 4000 -> "1 h 6 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
