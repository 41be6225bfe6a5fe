"""Models that draw, on disk: a folder of denoiser and codec, and the name of what reads the prompt.

config.json          {"reverie": 1, "modality": "image", "family": "diffusion", "model": DenoiserConfig, ...}
model.safetensors    the denoiser
codec/               the same two files for the codec: a model of its own
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from reverie.config import from_json, to_json
from reverie.diffusion.codec import Codec, CodecConfig
from reverie.diffusion.model import Denoiser, DenoiserConfig
from reverie.hub import files, safetensors_file
from reverie.hub.checkpoint import Unfilled
from reverie.hub.paths import inside
from reverie.hub.safetensors_file import SafetensorsFile
from reverie.hub.tokenizers import read_json
from reverie.types import ReverieError

FAMILY, CODEC, CONFIG = "diffusion", "codec", "config.json"
COUNTER = "num_batches_tracked"  # of batch norms: no weight
LEAST, MOST = 1, 1 << 16  # of every whole number in a config

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")


@dataclass(frozen=True)
class DrawingCheckpoint:
    """A model that draws, on disk. encoder: the catalogue name of what reads prompts. size_px: of its pictures."""

    name: str
    path: Path
    modality: str
    config: DenoiserConfig
    codec_config: CodecConfig
    encoder: str
    size_px: int

    def sha256s(self) -> dict[str, str]:
        """The SHA-256 of its files of weights."""
        return {"sha256": _sha256(self.path), "codec_sha256": _sha256(self.path / CODEC)}

    def denoiser(self, device: str, dtype: torch.dtype) -> Denoiser:
        """The denoiser with its weights, ready to be used."""
        with torch.device("meta"), Unfilled():
            core = Denoiser(self.config)
        return _filled(core, self.path, device, dtype)

    def codec(self, device: str, dtype: torch.dtype) -> Codec:
        """The codec with its weights, ready to be used."""
        return _codec(self.path / CODEC, self.codec_config, device, dtype)


def is_drawing(path: Path) -> bool:
    """Whether the folder of a model holds one that draws."""
    config = path / CONFIG
    return path.is_dir() and config.is_file() and read_json(config).get("family") == FAMILY


def open_drawing(name: str, path: Path) -> DrawingCheckpoint:
    """Reads what the folder `path` says of itself; whatever is wrong is a `ReverieError`."""
    data = read_json(path / CONFIG)
    match data:
        case {"modality": str(modality), "encoder": str(encoder), "size_px": int(size_px)} if 8 <= size_px <= 4096:
            config = _config(DenoiserConfig, data, path)
            codec_config = codec_config_of(path / CODEC)
            if config.channels != codec_config.channels or config.width % config.num_heads:
                raise _inconsistent(path)
            return DrawingCheckpoint(name, path, modality, config, codec_config, encoder, size_px)
    raise ReverieError(f"{path / CONFIG} does not say what the model draws, how large, and what reads its prompts.")


def save(folder: Path, medium: Any, core: Mapping[str, torch.Tensor], config: DenoiserConfig, card: str) -> None:
    """Writes the folder of a model that draws. core: the denoiser's weights by name."""
    save_codec(folder / CODEC, medium.codec)
    layout = {"reverie": 1, "modality": medium.name, "family": FAMILY}
    parts = {"model": to_json(config), "encoder": medium.encoder.name, "size_px": medium.size_px}
    _write(folder, layout | parts, core)
    files.write(folder / "README.md", card)


def save_codec(folder: Path, codec: Codec) -> None:
    """Writes the folder of a codec."""
    weights = {name: weight for name, weight in codec.state_dict().items() if not name.endswith(COUNTER)}
    _write(folder, {"reverie": 1, "modality": CODEC, "model": to_json(codec.config)}, weights)


def open_codec(folder: Path, device: str, dtype: torch.dtype) -> Codec:
    """A codec from its own folder."""
    return _codec(folder, codec_config_of(folder), device, dtype)


def codec_config_of(folder: Path) -> CodecConfig:
    """What a codec's folder says of it."""
    return _config(CodecConfig, read_json(folder / CONFIG), folder)


def _codec(folder: Path, config: CodecConfig, device: str, dtype: torch.dtype) -> Codec:
    try:
        with torch.device("meta"), Unfilled():
            codec = Codec(config)
    except ValueError as error:  # widths that its layers cannot have
        raise _inconsistent(folder) from error
    return _filled(codec, folder, device, dtype)


def _write(folder: Path, layout: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    safetensors_file.save(folder / safetensors_file.SINGLE, weights)
    files.write(folder / CONFIG, json.dumps(layout, indent=1))


def _filled(module: M, folder: Path, device: str, dtype: torch.dtype) -> M:
    """A module without memory -> the same with the weights of a folder: all of them, and no others."""
    wanted = {name: tensor for name, tensor in module.state_dict().items() if not name.endswith(COUNTER)}
    with SafetensorsFile.open(inside(folder, safetensors_file.SINGLE)) as file:
        there = {name for name in file.tensors if not name.endswith(COUNTER)}
        shapes = {name: file.tensors[name].shape for name in there}
        if shapes != {name: tuple(tensor.shape) for name, tensor in wanted.items()}:
            raise _inconsistent(folder)
        weights = {name: file.read(name).to(device, dtype, copy=True) for name in wanted}
    counters = {name: torch.zeros((), dtype=torch.long) for name in module.state_dict() if name.endswith(COUNTER)}
    module.load_state_dict(weights | counters, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _config(kind: type[T], data: Mapping[str, Any], folder: Path) -> T:
    config = from_json(kind, data.get("model", {}))
    numbers = [n for value in vars(config).values() for n in (value if isinstance(value, tuple) else (value,))]
    if not all(LEAST <= number <= MOST for number in numbers if isinstance(number, int)):
        raise _inconsistent(folder)
    return config


def _sha256(folder: Path) -> str:
    return files.sha256(folder / safetensors_file.SINGLE)


def _inconsistent(folder: Path) -> ReverieError:
    return ReverieError(f"{folder} is no whole model (its config and its weights do not go together): fetch it again.")
