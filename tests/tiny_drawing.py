"""A tiny model that draws, with random weights, and a prompt encoder that needs no file."""

from __future__ import annotations

import zlib
from pathlib import Path

import torch
from torch import Tensor, nn

from reverie.diffusion.codec import Codec, CodecConfig
from reverie.diffusion.model import Denoiser, DenoiserConfig
from reverie.hub import drawings
from reverie.lm.prompt_states import PromptEncoder
from reverie.modalities.image import Image

SIDE_PX = 64
STATES = 24  # their width
CODEC = CodecConfig(channels=4, encoder_widths=(16, 16), decoder_widths=(16, 16, 8), decoder_blocks=(1, 1, 1))
CONFIG = DenoiserConfig(
    channels=4, side=SIDE_PX // 8, width=32, depth=2, num_heads=2, mlp_width=64, prompt_width=STATES
)


def encoder() -> PromptEncoder:
    """Each word has a random state of its own."""
    table = torch.randn(256, STATES, generator=torch.Generator().manual_seed(0))

    def states(ids: Tensor) -> Tensor:
        return table[ids]

    def tokenise(text: str) -> list[int]:
        return [0, *(zlib.crc32(word.encode()) % 256 for word in text.split())]

    return PromptEncoder(states, tokenise, STATES, name="minilm")


def find_data(name: str, size_px: int) -> Path:
    raise AssertionError(f"{name} is not needed")


def codec() -> Codec:
    """Random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Codec(CODEC).eval().requires_grad_(False)


def denoiser() -> Denoiser:
    """Random weights, none of them zero: what a fresh model begins with would draw nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Denoiser(CONFIG)
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                nn.init.normal_(weight, std=0.2)
        return model.eval()


def write_model(folder: Path) -> Path:
    """A folder that `engine.load` opens; `engine.prompt_encoder` must give `encoder()`."""
    medium = Image(codec(), encoder(), SIDE_PX, find_data)
    drawings.save(folder, medium, denoiser().state_dict(), CONFIG, "A tiny model.")
    return folder
