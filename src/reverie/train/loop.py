"""The training loop. A step is a function of its number: killed and resumed, a run gives the same bits."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from reverie.config import to_json
from reverie.hub import files
from reverie.train import data, export, schedule, state
from reverie.train.distributed import World, joined
from reverie.train.settings import Learner, Training, same_run
from reverie.train.trainer import Trainer, facts
from reverie.train.watch import Ended, Event, Log, Progress, Started, Watcher
from reverie.types import ReverieError


def run(learner: Learner, training: Training, source: str, folder: Path, events: Watcher = lambda event: None) -> Path:
    """Trains a model on `source` and gives its folder; goes on where an earlier run in `folder` was stopped.

    events: is told of everything that happens, in the first process only. Interrupted (Ctrl-C, SIGTERM), it ends with a
    checkpoint. Whatever a person can mend is a `ReverieError`.
    """
    with joined() as world, _alone(folder, world), _stoppable() as stop, ExitStack() as stack:
        loop = Loop(Trainer(learner, training, world), source, folder)
        notes = loop.resume()
        loop.listeners = [stack.enter_context(Log(folder, loop.trainer.step)), events] if world.is_first else []
        loop.tell(loop.start(notes))
        for progress in loop.steps(stop):
            loop.tell(progress)
        loop.tell(loop.end(finished=not stop.is_set()))
    return folder / export.MODEL


class Loop:
    """A run: a trainer, what it learns from, and the folder where everything is kept."""

    def __init__(self, trainer: Trainer, source: str, folder: Path) -> None:
        self.trainer, self.source, self.folder = trainer, source, folder
        self.examples, self.held_out = (trainer.learner.examples(source, held_out=held) for held in (False, True))
        self.listeners: list[Watcher] = []
        self._saved_step, self._saved_seconds, self._loss = 0, 0.0, "not measured"

    def resume(self) -> tuple[str, ...]:
        """Goes back to the newest checkpoint that is whole, if there is one; gives what was wrong with others."""
        trainer = self.trainer
        saved, problems = state.newest(self.folder)
        trainer.world.wait()  # before the first process may write another
        if saved is None:
            return ()
        if saved.header["learner"] != trainer.learner.name:
            raise ReverieError(f"{self.folder} holds a run of {saved.header['learner']}: choose another folder.")
        same_run(saved.header["training"], _as_json(trainer.training), self.folder)
        trainer.load(saved.tensors())
        trainer.step, trainer.seconds = saved.header["step"], float(saved.header["seconds"])
        self._saved_step, self._saved_seconds = trainer.step, trainer.seconds
        return tuple(problems)

    def steps(self, stop: threading.Event) -> Iterator[Progress]:
        """Step after step until the run is done or `stop` is set."""
        trainer, training, world = self.trainer, self.trainer.training, self.trainer.world
        parts = data.parts(self.examples, training, trainer.step, world.rank, world.size)
        began = time.perf_counter() - trainer.seconds
        done = schedule.progress(training, trainer.step, trainer.seconds)
        while done < 1 and not stop.is_set():
            scale = schedule.scale(training, trainer.step, done)
            loss, norm = trainer.learn(parts, scale)
            self._agree(stop, time.perf_counter() - began)
            done = schedule.progress(training, trainer.step, trainer.seconds)
            num_examples = trainer.step * training.batch
            progress = Progress(trainer.step, done, loss, norm, scale, trainer.seconds, num_examples)
            yield self._intervals(progress, last=done >= 1 or stop.is_set())

    def _agree(self, stop: threading.Event, seconds: float) -> None:
        """The first process's clock holds for all, and a wish to stop of any of them."""
        world = self.trainer.world
        wishes, self.trainer.seconds = world.sums([stop.is_set(), seconds if world.is_first else 0.0])
        if wishes:
            stop.set()

    def _intervals(self, now: Progress, *, last: bool) -> Progress:
        """Does what is due after a step: measures, makes a sample, writes a checkpoint."""
        training = self.trainer.training
        if _due(now.step, training.evaluate_every_steps, last):
            now = replace(now, held_out=self.trainer.evaluate(self.held_out))
            self._loss = f"{now.held_out:.4f}"
        if _due(now.step, training.sample_every_steps, last):
            now = replace(now, sample=self.sample())
        minutes = (now.seconds - self._saved_seconds) / 60
        late = 0 < training.checkpoint_every_minutes <= minutes
        if last or late or _due(now.step, training.checkpoint_every_steps):
            now = replace(now, checkpoint=self.save())
        return now

    def save(self) -> Path:
        """Writes a checkpoint, and the model as it is now for use."""
        trainer = self.trainer
        header = {"learner": trainer.learner.name, "step": trainer.step, "seconds": trainer.seconds}
        tensors = trainer.tensors()
        if trainer.world.is_first:
            state.save(self.folder, {**header, "training": _as_json(trainer.training)}, tensors)
        with trainer.finished() as model:
            if model is not None:
                words = {"learnt from": Path(self.source).name, **facts(trainer), "held-out loss": self._loss}
                export.export(self.folder, trainer.learner, trainer.training, model, words)
        self._saved_step, self._saved_seconds = trainer.step, trainer.seconds
        return state.path_of(self.folder, trainer.step)

    def sample(self) -> Path | None:
        """Makes what the medium likes to be asked for; the first of the files, if any."""
        with self.trainer.finished() as model:
            made = [] if model is None else export.samples(self.folder, self.trainer.learner, model, self.trainer.step)
        return made[0] if made else None

    def start(self, notes: tuple[str, ...]) -> Started:
        """What there is to say before the first step."""
        trainer = self.trainer
        measured = trainer.step == 0 and trainer.training.evaluate_every_steps > 0
        held_out = trainer.evaluate(self.held_out) if measured else None
        first = trainer.learner.batch([self.examples.item(trainer.training.seed, 0)])[0]
        tokens = None if first.is_floating_point() else first[0].numel() - 1
        num_weights = facts(trainer)["weights"]
        return Started(self.folder, trainer.step, num_weights, trainer.training.batch, tokens, notes, held_out)

    def end(self, *, finished: bool) -> Ended:
        """What there is to say after the last step, which is saved if a wish to stop came too late for that."""
        if self._saved_step != self.trainer.step:
            self.save()
        return Ended(self.trainer.step, finished, self.folder / export.MODEL)

    def tell(self, event: Event) -> None:
        """Tells all listeners."""
        for listener in self.listeners:
            listener(event)


def _as_json(training: Training) -> dict[str, Any]:
    """The settings as they come back from a file."""
    data: dict[str, Any] = json.loads(json.dumps(to_json(training)))
    return data


def _due(step: int, every: int, last: bool = False) -> bool:
    """Whether something is due that is done after every so many steps (0: never), and after the last."""
    return every > 0 and (last or step % every == 0)


@contextmanager
def _alone(folder: Path, world: World) -> Iterator[None]:
    """Keeps other runs out of the folder."""
    if not world.is_first:
        yield
        return
    with files.lock(folder / ".lock", wait=False) as ours:
        if not ours:
            raise ReverieError(f"Another run is training in {folder}: wait for it, or choose another folder.")
        yield


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, so that no step is cut in two; a second one ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # where Python lets nobody handle signals
        yield stop
        return

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
