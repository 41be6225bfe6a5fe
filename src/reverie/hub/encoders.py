"""Encoders on disk: a BERT folder in Hugging Face's layout, as a model and its tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch

from reverie.config import from_json
from reverie.hub import sources
from reverie.hub.catalogue import entry
from reverie.hub.checkpoint import Unfilled
from reverie.hub.configs import limited
from reverie.hub.files import Progress
from reverie.hub.keymaps import TABLES, parts, to_ours
from reverie.hub.safetensors_file import SafetensorsFile
from reverie.hub.tokenizers import read_json
from reverie.lm.encoder import Encoder, EncoderConfig
from reverie.types import ReverieError

Tokenise = Callable[[str], list[int]]

_FIELDS = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "max_tokens": "max_position_embeddings",
    "norm_eps": "layer_norm_eps",
}
_BEYOND = re.compile(r"(bert\.)?(pooler\.dense\.(weight|bias)|embeddings\.position_ids)")  # not of the states


def open_encoder(
    name: str, dtype: torch.dtype, *, offline: bool = False, progress: Progress | None = None
) -> tuple[Encoder, Tokenise]:
    """An encoder, by its catalogue name or its folder, with its tokenizer; fetched first if it is not there.

    Whatever is wrong with the files is a `ReverieError`.
    """
    path = sources.local(name)
    path = sources.fetch(entry(name), offline=offline, progress=progress) if path is None else path
    folder = path if path.is_dir() else path.parent
    config = read_config(read_json(folder / "config.json"))
    with SafetensorsFile.open(path) as file:
        core = _with_weights(config, file, dtype)
    return core, _tokeniser(folder / "tokenizer.json", config)


def read_config(data: Mapping[str, Any]) -> EncoderConfig:
    """The config, from the contents of config.json."""
    for key, value in {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}.items():
        if data.get(key, "absolute") != value:
            raise ReverieError(f"The encoder's {key} is {str(data.get(key))[:80]!r}: Reverie reads only {value!r}.")
    if missing := sorted(set(_FIELDS.values()) - set(data)):
        raise ReverieError(f"The encoder's config.json lacks {missing[0]}: fetch it again.")
    config = from_json(EncoderConfig, {ours: data[theirs] for ours, theirs in _FIELDS.items()})
    for field in _FIELDS:
        limited(field, getattr(config, field))
    if config.width % config.num_heads:
        raise ReverieError(f"The encoder's {config.width} channels cannot be shared by {config.num_heads} heads.")
    return config


def _with_weights(config: EncoderConfig, file: SafetensorsFile, dtype: torch.dtype) -> Encoder:
    with torch.device("meta"), Unfilled():
        core = Encoder(config).eval().requires_grad_(False)
    table = TABLES["bert"]
    known = {part.name for ours in core.state_dict() for part in parts(table, ours)}
    for name in sorted(file.tensors.keys() - known):
        if not _BEYOND.fullmatch(name):
            raise ReverieError(f"The encoder has a tensor {name[:80]!r} that its config has no place for: use another.")
    try:
        weights = {ours: to_ours(table, ours, file.read, config).to(dtype) for ours in core.state_dict()}
        core.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:  # of another shape
        raise ReverieError("The encoder's weights do not fit its config.json: fetch it again.") from error
    return core


def _tokeniser(path: Path, config: EncoderConfig) -> Tokenise:
    """Text -> ids, between [CLS] and [SEP]; typed text never becomes one of those."""
    data = read_json(path)
    try:
        vocabulary = data["model"]["vocab"]
        first, last = vocabulary["[CLS]"], vocabulary["[SEP]"]
        data |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        plain = tokenizers.Tokenizer.from_str(json.dumps(data))
    except Exception as error:  # of ours where the structure is wrong, and bare ones of the library
        raise ReverieError(f"{path} is missing or broken ({str(error)[:200]}): fetch the encoder again.") from error
    if max(first, last, *plain.get_vocab().values()) >= config.vocab_size:
        raise ReverieError(f"{path} has tokens that the encoder has no weights for: fetch it again.")
    return lambda text: [first, *plain.encode(text, add_special_tokens=False).ids, last]
