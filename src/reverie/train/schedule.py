"""The learning rate over a run: warm-up, stable, decay (arXiv:2404.06395, section 4.2)."""

from __future__ import annotations

from reverie.train.settings import Training


def progress(training: Training, step: int, seconds: float) -> float:
    """How much of the run is done, 0 to 1: by its steps or by its minutes, whichever is further."""
    shares = [0.0]
    if training.max_steps is not None:
        shares.append(step / training.max_steps)
    if training.max_minutes is not None:
        shares.append(seconds / (60 * training.max_minutes))
    return min(max(shares), 1.0)


def scale(training: Training, step: int, done: float) -> float:
    """What the rates of step `step` are multiplied by; `done` is the `progress` before it.

    A run that is extended after its decay goes back to full rates, and decays at its new end.
    """
    warm = min((step + 1) / training.warmup_steps, 1.0) if training.warmup_steps else 1.0
    return warm * (min((1.0 - done) / training.decay, 1.0) if training.decay else 1.0)
