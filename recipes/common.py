"""What the recipes of whole trainings have in common: their arguments, and a line now and then."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def arguments(description: str | None, minutes: float) -> argparse.ArgumentParser:
    """A parser that knows what every recipe can be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=minutes, help="of training, all earlier ones included")
    parser.add_argument("--seed", type=int, default=0, help="another one shows other examples")
    parser.add_argument("--compile", action="store_true")
    return parser


def lines(every: int) -> Callable[[Any], None]:
    """Shows every so many steps, and all that is rarer, on stderr."""

    def show(event: Any) -> None:
        if getattr(event, "step", 0) % every == 0 or getattr(event, "held_out", None) is not None:
            print(event, file=sys.stderr, flush=True)

    return show
