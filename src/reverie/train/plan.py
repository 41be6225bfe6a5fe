"""From a few words to a training: the dial of sizes, and what a person sets besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reverie import engine, modalities
from reverie.config import override
from reverie.train.settings import Training, chosen
from reverie.types import Modality, ReverieError


def plan(
    medium: str, source: str, size: str = "tiny", settings: Sequence[str] = (), **options: Any
) -> tuple[Modality, Training]:
    """The medium that is to learn from `source`, and how: by its size, then the `options`, then the `settings`.

    options: fields of `Training`; None means what suits the size. settings: such as "model.depth=6" or "clip=0.5".
    """
    kind = modalities.modality(medium)
    if size not in kind.presets:
        raise ReverieError(f"There is no size {size!r} of {medium}: choose {', '.join(kind.presets)}.")
    training = override(Training(kind.presets[size], **chosen(kind.recipes[size], **options)), settings)
    learner, model = engine.fresh(medium, source, training.model)
    return learner, replace(training, model=model)
