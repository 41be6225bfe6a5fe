"""Training: one loop for both cores."""

from reverie.train.loop import run
from reverie.train.settings import Training

__all__ = ["Training", "run"]
