"""What a run leaves for use: the folder of the model, with its card, and samples on the way."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reverie.config import to_json
from reverie.hub import checkpoint, drawings, files, safetensors_file
from reverie.train.settings import Training
from reverie.train.trainer import unique

MODEL, SAMPLES = "model", "samples"


def export(folder: Path, learner: Any, training: Training, model: nn.Module, facts: Mapping[str, Any]) -> Path:
    """Writes the model as it is now to FOLDER/model, in the layout that `engine.load` opens."""
    text = card(learner.name, training, facts)
    if hasattr(learner, "save"):
        learner.save(folder / MODEL, model, training.model, text)
        return folder / MODEL
    if hasattr(learner, "tokenizer"):
        parts = model, learner.tokenizer, learner.template, text
        checkpoint.save(folder / MODEL, *parts, modality=learner.name)  # type: ignore[arg-type]
        return folder / MODEL
    if hasattr(learner, "codec"):
        drawings.save(folder / MODEL, learner, unique(model), training.model, text)
        return folder / MODEL
    layout = {"reverie": 1, "modality": learner.name, "model": to_json(training.model)}
    safetensors_file.save(folder / MODEL / safetensors_file.SINGLE, unique(model))
    files.write(folder / MODEL / "config.json", json.dumps(layout, indent=1))
    files.write(folder / MODEL / "README.md", text)
    return folder / MODEL


def card(name: str, training: Training, facts: Mapping[str, Any]) -> str:
    """A card in Markdown: what the model is, what it learnt from and how."""
    rows = "".join(f"| {key.replace('_', ' ')} | {value} |\n" for key, value in facts.items())
    settings = json.dumps(to_json(training), indent=1)
    return (
        f"# A model for {name}, trained with Reverie\n\n| | |\n|---|---|\n{rows}\n"
        f"Settings of the training:\n\n```json\n{settings}\n```\n"
    )


@torch.no_grad()
def samples(folder: Path, learner: Any, model: nn.Module, step: int) -> list[Path]:
    """Makes what the medium likes to be asked for, and writes it to FOLDER/samples; nothing for other learners."""
    written = []
    for index, request in enumerate(learner.trials() if hasattr(learner, "trials") else ()):
        steps = learner.family.generate(model, learner.condition(request), request, learner.shape(request))
        *_, last = steps
        made = learner.decode(last.guess)
        suffix = mimetypes.guess_extension(made.media_type)
        path = folder / SAMPLES / f"{step:08}-{index + 1}{'' if suffix is None else suffix}"
        files.write(path, made.data)
        written.append(path)
    return written
