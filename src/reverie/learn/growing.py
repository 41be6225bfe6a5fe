"""A tiny model trained before the reader's eyes, whose checkpoints are kept for looking back (explain/training.py)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files as resources
from pathlib import Path

from reverie.explain.training import GROWTH
from reverie.hub import files
from reverie.hub.paths import inside
from reverie.train import run
from reverie.train.distributed import World
from reverie.train.export import MODEL, export
from reverie.train.plan import plan
from reverie.train.settings import Training
from reverie.train.trainer import Trainer
from reverie.train.watch import Event, Progress, Watcher
from reverie.types import Modality

SOURCE = "text.txt"


def grow(
    folder: Path,
    source: str | None = None,
    *,
    seconds: float = 30.0,
    max_steps: int | None = None,
    every_steps: int = 25,
    settings: Sequence[str] = (),
    events: Watcher = lambda event: None,
) -> Path:
    """Trains a tiny model that writes, in FOLDER for so many seconds, and gives its folder, for `engine.load`.

    source: a text file to learn from; None: the lessons. max_steps: end then, if that is earlier. every_steps: how
    often what it has learnt is kept. settings: as `reverie train --set` takes them. events: is told of everything, as
    in `train.run`.
    """
    source = _lessons(folder) if source is None else source
    every = [f"checkpoint_every_steps={every_steps}", "sample_every_steps=0", *settings]
    learner, training = plan("text", source, "tiny", every, max_minutes=seconds / 60, max_steps=max_steps)
    keep(_newborn(folder, learner, training), folder, 0)

    def watch(event: Event) -> None:
        if isinstance(event, Progress) and event.checkpoint is not None:
            keep(folder / MODEL, folder, event.step)
        events(event)

    return run(learner, training, source, folder, watch)


def keep(model: Path, folder: Path, step: int) -> None:
    """Copies a model's folder into the growth of the run in `folder`; the weights come last, whole or not at all."""
    kept = inside(folder, GROWTH, f"step-{step:08}")
    there = [path for path in model.iterdir() if path.is_file()]
    for file in sorted(there, key=lambda path: path.suffix == ".safetensors"):
        files.write(inside(kept, file.name), file.read_bytes())


def _newborn(folder: Path, learner: Modality, training: Training) -> Path:
    """The model before its first step."""
    return export(folder, learner, training, Trainer(learner, training, World()).model, {})


def _lessons(folder: Path) -> str:
    """All lessons as one text file."""
    lessons = sorted((resources("reverie.learn") / "lessons").iterdir(), key=lambda lesson: lesson.name)
    texts = [lesson.read_text(encoding="utf-8") for lesson in lessons if lesson.name.endswith(".md")]
    files.write(folder / SOURCE, "\n\n".join(texts))
    return str(folder / SOURCE)
