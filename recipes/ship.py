"""A run's model as it is shipped: python recipes/ship.py RUN/model src/reverie/weights/NAME

Weights become bf16, half the size; the card, README.md, is written by hand and stays.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import torch

from reverie import engine
from reverie.hub import checkpoint
from reverie.hub.drawings import is_drawing, open_drawing, save


def main() -> None:
    """Reads one folder and writes the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder `model` of a run")
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    card = options.target / "README.md"
    words = card.read_text(encoding="utf-8") if card.exists() else (options.run / "README.md").read_text()
    if not is_drawing(options.run):
        ship_decoder(options.run, options.target, words)
        return
    found = open_drawing(options.target.name, options.run)
    medium = SimpleNamespace(
        name=found.modality,
        codec=found.codec("cpu", torch.bfloat16),
        encoder=SimpleNamespace(name=found.encoder),
        size_px=found.size_px,
    )
    save(options.target, medium, found.denoiser("cpu", torch.bfloat16).state_dict(), found.config, words)


def ship_decoder(run: Path, target: Path, words: str) -> None:
    """A model that writes or composes."""
    model = engine.load(str(run), place=engine.EXACT)
    found = model.checkpoint
    core = model.core.to(torch.bfloat16)
    checkpoint.save(target, core, found.tokenizer, found.template, words, modality=found.modality)


if __name__ == "__main__":
    main()
