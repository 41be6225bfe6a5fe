"""What the recipes of whole trainings have in common: their arguments, and a line now and then."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from reverie.diffusion.family import Diffusion
from reverie.diffusion.model import Denoiser, DenoiserConfig
from reverie.hub.drawings import open_drawing
from reverie.train import compute


def arguments(description: str | None, minutes: float) -> argparse.ArgumentParser:
    """A parser that knows what every recipe can be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=minutes, help="of training, all earlier ones included")
    parser.add_argument("--seed", type=int, default=0, help="another one shows other examples")
    parser.add_argument("--workers", type=int, default=1, help="processes that make examples")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--evaluate-every", type=int, default=500, help="steps; samples half as often; 0: never")
    return parser


def drawing_arguments(
    description: str | None, minutes: float, batch: int, looks: int, ema: float
) -> argparse.ArgumentParser:
    """As `arguments`, for denoisers; a GPU wants a larger batch, and then larger rates."""
    parser = arguments(description, minutes)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--looks", type=int, default=looks, help="at each example in a step, at as many times")
    parser.add_argument("--matrix-rate", type=float, default=0.01)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--decay", type=float, default=0.5)
    parser.add_argument("--ema", type=float, default=ema)
    parser.add_argument("--styles", default="noto", help="of the scenes, with commas; empty: all")
    return parser


def drawing_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Training` that those arguments are for, and what every training of a denoiser has."""
    return {
        "batch": options.batch,
        "max_minutes": options.minutes,
        "decay": options.decay,
        "matrix_rate": options.matrix_rate,
        "rate": options.rate,
        "ema": options.ema,
        "evaluate_every_steps": options.evaluate_every,
        "sample_every_steps": 2 * options.evaluate_every,
        "checkpoint_every_steps": 0,
        "checkpoint_every_minutes": 4.0,
        "num_workers": options.workers,
        "compile": options.compile,
        "seed": options.seed,
    }


class Continued(Diffusion):
    """Builds with the weights of a model that is there, of the same shape, instead of fresh ones."""

    def __init__(self, folder: Path) -> None:
        self._start = open_drawing(folder.name, folder)

    def build(self, config: DenoiserConfig) -> Denoiser:
        """A denoiser that is to be trained on."""
        model = super().build(config)
        model.load_state_dict(self._start.denoiser("cpu", torch.float32).state_dict())
        return model


def device() -> str:
    """Where everything is: a GPU if there is one."""
    return str(compute.device())


def lines(every: int) -> Callable[[Any], None]:
    """Shows every so many steps, and all that is rarer, on stderr."""

    def show(event: Any) -> None:
        if getattr(event, "step", 0) % every == 0 or getattr(event, "held_out", None) is not None:
            print(event, file=sys.stderr, flush=True)

    return show
