"""train: a model from data; the same command goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reverie.train.settings import Learner, Training

SIGINT_STATUS = 128 + 2  # what a shell reports for a program that Ctrl-C ended

Output = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the run and its model live.")]
MaxSteps = Annotated[int | None, typer.Option(help="End after so many steps in all.")]
MaxMinutes = Annotated[float | None, typer.Option(help="End after so many minutes in all.")]
CheckpointEvery = Annotated[float | None, typer.Option(metavar="MINUTES", help="As a rule 5; 0 is never.")]
Batch = Annotated[int | None, typer.Option(help="Examples a step.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same model.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting: model.depth=6, clip=0.5 ...")
]


def train(
    medium: Annotated[str, typer.Argument(metavar="MEDIUM", help="What the model shall make: text, ...")],
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="A file, or the name of built data.")],
    output: Output,
    *,
    size: Annotated[str, typer.Option(help="tiny, small, ...: width, depth, batch and rates together.")] = "tiny",
    max_steps: MaxSteps = None,
    max_minutes: MaxMinutes = None,
    checkpoint_every: CheckpointEvery = None,
    batch: Batch = None,
    seed: Seed = None,
    settings: Settings = None,
    compile_: Annotated[bool, typer.Option("--compile", help="Let torch make faster kernels first.")] = False,
) -> None:
    """Train a model; repeat the command to go on after a stop of any kind."""
    from reverie.cli.feedback import prepare

    prepare()
    from reverie.train.plan import plan

    learner, training = plan(
        medium, data, size, [] if settings is None else settings,
        max_steps=max_steps, max_minutes=max_minutes, checkpoint_every_minutes=checkpoint_every, batch=batch, seed=seed,
        compile=compile_,
    )  # fmt: skip
    follow(learner, training, data, output)


def follow(learner: Learner, training: Training, data: str, folder: Path) -> None:
    """Trains, and shows how it goes; ends the program if the person ended the run."""
    from reverie.cli.training_view import TrainingView
    from reverie.train import run

    with TrainingView(training.max_steps) as view:
        run(learner, training, data, folder, view)
    if view.interrupted:
        raise typer.Exit(SIGINT_STATUS)
