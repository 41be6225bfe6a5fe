"""A text, icons, and models so small that a run takes seconds; as a program, such a run in a process of its own."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import tiny_drawing
import tiny_scenes
from reverie.data.vocabulary import vocabulary
from reverie.lm.model import DecoderConfig
from reverie.modalities.image import Image
from reverie.modalities.text import Text
from reverie.train import Training, run
from reverie.train.watch import Watcher

CONFIG = DecoderConfig(
    vocab_size=256, width=32, depth=2, num_heads=2, num_kv_heads=2, head_width=16, mlp_width=64, max_tokens=32
)
WORDS = ("the", "dog", "robot", "old", "small", "red", "saw", "ran", "into", "on", "near", "garden", "wall", "house")


def write_text(folder: Path) -> str:
    """A text file of some thousand characters."""
    path = folder / "text.txt"
    rng = random.Random(0)
    path.write_text("\n".join(" ".join(rng.choices(WORDS, k=8)) for _ in range(300)))
    return str(path)


def write_icons(folder: Path) -> str:
    """Icons to make scenes of."""
    return str(tiny_scenes.build(folder / "icons.safetensors", vocabulary().styles))


def training(config: Any = CONFIG, **settings: Any) -> Training:
    """Forty steps with a checkpoint after each fifth, computed as exactly as can be."""
    given = {"max_steps": 40, "batch": 4, "warmup_steps": 4, "ema": 0.9, "compute": "fp32", "checkpoint_every_steps": 5}
    rest = {"evaluate_every_steps": 10, "evaluate_examples": 8, "sample_every_steps": 0}
    return Training(config, **{**given, **rest, **settings})


def train(source: str, folder: Path, events: Watcher = lambda event: None, **settings: Any) -> Path:
    """A run on `source`: a text, or icons."""
    medium, config = _medium(source)
    return run(medium, training(config, **settings), source, folder, events)


def _medium(source: str) -> tuple[Any, Any]:
    if not source.endswith(".safetensors"):
        return Text.fresh(source, CONFIG)[0], CONFIG
    codec, encoder = tiny_drawing.codec(), tiny_drawing.encoder()
    return Image(codec, encoder, tiny_drawing.SIDE_PX, lambda *_: Path(source)), tiny_drawing.CONFIG


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), max_steps=int(sys.argv[3]) if sys.argv[3:] else 40)
