"""A tiny model that animates, with random weights; its prompts are read by `tiny_drawing.encoder`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import tiny_drawing
from reverie import engine
from reverie.diffusion.model import Denoiser
from reverie.engine import Model
from reverie.hub import drawings
from reverie.modalities.video import NUM_FRAMES, Video

CONFIG = replace(tiny_drawing.CONFIG, num_frames=NUM_FRAMES)


def denoiser() -> Denoiser:
    """Random weights, none of them zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Denoiser(CONFIG)
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                nn.init.normal_(weight, std=0.2)
        return model.eval()


def write_model(folder: Path) -> Path:
    """A folder that `engine.load` opens; `engine.prompt_encoder` must give `tiny_drawing.encoder()`."""
    medium = Video(tiny_drawing.codec(), tiny_drawing.encoder(), tiny_drawing.SIDE_PX, tiny_drawing.find_data)
    drawings.save(folder, medium, denoiser().state_dict(), CONFIG, "A tiny model.")
    return folder


def opened(folder: Path) -> Model:
    """The model of such a folder, in exact arithmetic."""
    before = engine.prompt_encoder
    engine.prompt_encoder = lambda *_, **__: tiny_drawing.encoder()
    try:
        return engine.load(str(folder), place=engine.EXACT)
    finally:
        engine.prompt_encoder = before
