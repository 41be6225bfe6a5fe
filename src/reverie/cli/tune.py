"""tune: a pretrained model learns from conversations, by small adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reverie.cli.train import Batch, CheckpointEvery, MaxMinutes, MaxSteps, Output, Seed, Settings, follow


def tune(
    data: Annotated[str, typer.Option("--data", metavar="FILE", help='JSONL: {"messages": [...]} a line.')],
    output: Output,
    *,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The model to tune, as a rule smollm2.")] = None,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Of the adapters: more can learn more.")] = 8,
    max_steps: MaxSteps = None,
    max_minutes: MaxMinutes = None,
    checkpoint_every: CheckpointEvery = None,
    batch: Batch = None,
    seed: Seed = None,
    settings: Settings = None,
    merge: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Afterwards write the tuned model there, for use with -m.")
    ] = None,
) -> None:
    """Tune a model to answer as in your conversations (LoRA); repeat the command to go on after a stop."""
    from reverie.cli.feedback import prepare

    prepare()
    from reverie.config import override
    from reverie.hub.catalogue import default_name
    from reverie.train.adapters import AdapterConfig, Tuner, save_merged
    from reverie.train.settings import Training, chosen

    base = default_name() if model is None else model
    given = chosen(
        TUNING, max_steps=max_steps, max_minutes=max_minutes, checkpoint_every_minutes=checkpoint_every, batch=batch,
        seed=seed,
    )  # fmt: skip
    training = override(Training(AdapterConfig(base, rank), **given), [] if settings is None else settings)
    follow(Tuner.of(base), training, data, output)
    if merge is not None:
        save_merged(output / "model", merge)
        print(merge)


# Adapters start from nothing beside a model that is good already: AdamW, and rates that suit it.
TUNING = {
    "batch": 4, "max_steps": 100, "rate": 0.0005, "matrix_rate": 0.0, "weight_decay": 0.0, "warmup_steps": 10,
    "evaluate_every_steps": 25, "evaluate_examples": 16,
}  # fmt: skip
