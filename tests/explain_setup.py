"""What tests of exhibits share: a tiny model that writes, and the data of an exhibit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reverie import engine, explain
from reverie.engine import EXACT, Model
from reverie.explain.exhibit import Exhibit
from reverie.lm.model import DecoderConfig
from tiny_models import LLAMA, decoder, save

PROMPT = "the robot dog ran into the garden of the old house"
PACKED = engine.Placement("cpu", torch.bfloat16, packed=True)


def opened(folder: Path, config: DecoderConfig = LLAMA, place: engine.Placement = EXACT) -> Model:
    """A tiny model with random weights."""
    save(folder, decoder(config))
    return engine.load(str(folder), place=place)


def ids(model: Model, prompt: str = PROMPT) -> Tensor:
    """A prompt as tokens (1, T)."""
    return torch.tensor([model.medium.encode(prompt)])


def data(name: str, model: Model, prompt: Any = PROMPT, **options: Any) -> Any:
    """An exhibit's data."""
    return explain.exhibit(name, model, prompt, **options).data


def check_small_data(made: Exhibit) -> None:
    """Every exhibit is plain data of a modest size, and says in sentences what it shows."""
    assert json.loads(made.json())["data"] == made.data  # it comes back as it went
    assert 0 < len(made.json()) < 100_000
    assert made.says
    assert all(sentence[0].isupper() or sentence[0] == "“" for sentence in made.says)
    assert "\ufffd" not in made.json()
