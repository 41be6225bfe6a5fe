"""Checkpoints: a model on disk, of whatever layout, as config, tokenizer, template and weights by our names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reverie.config import from_json, to_json
from reverie.hub import configs, files, safetensors_file, sources, tokenizers
from reverie.hub.blocks import four_bit
from reverie.hub.catalogue import default_name, entry
from reverie.hub.files import Progress
from reverie.hub.gguf_file import GGUFFile
from reverie.hub.keymaps import TABLES, Table, parts, to_ours
from reverie.hub.safetensors_file import SafetensorsFile
from reverie.hub.tensor_file import find
from reverie.lm.chat import ChatTemplate
from reverie.lm.model import Decoder, DecoderConfig
from reverie.lm.pack import Blocks, Weights
from reverie.lm.tokenizer import Tokenizer
from reverie.types import ReverieError


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk. Weights are read when they are asked for, by the names that our decoder gives them."""

    name: str
    path: Path
    modality: str
    config: DecoderConfig
    tokenizer: Tokenizer
    template: ChatTemplate
    file: GGUFFile | SafetensorsFile
    table: Table

    def weight(self, ours: str, shape: Sequence[int]) -> Tensor:
        """The weight `ours` in float32. A shape other than `shape` means a broken file: a `ReverieError`."""
        try:
            weight = to_ours(self.table, ours, self.file.read, self.config)
        except RuntimeError as error:  # pieces that do not go together
            raise self._misshapen(ours) from error
        if weight.shape != torch.Size(shape):
            raise self._misshapen(ours)
        return weight

    def stored(self, ours: str, shape: Sequence[int]) -> Weights:
        """The matrix `ours` as 4-bit blocks where the file has it so, else as `weight`."""
        found = parts(self.table, ours)
        if not isinstance(self.file, GGUFFile) or not all(part.rows_only for part in found):
            return self.weight(ours, shape)
        pieces = [_four_bit(self.file, part.name) for part in found]
        blocks = [piece for piece in pieces if piece is not None]
        if len(blocks) < len(found):
            return self.weight(ours, shape)
        with suppress(RuntimeError):
            codes, scale, offset = (
                torch.cat([part.to_ours(value, self.config) for part, value in zip(found, values, strict=True)])
                for values in zip(*((b.codes, b.scale, b.offset) for b in blocks), strict=True)
            )
            if codes.shape == torch.Size(shape):
                return Blocks(codes, scale, offset)
        raise self._misshapen(ours)

    def _misshapen(self, ours: str) -> ReverieError:
        return ReverieError(f"{self.path.name} does not fit its own config ({ours} has another shape): fetch it again.")


def _four_bit(file: GGUFFile, name: str) -> Blocks | None:
    info = find(file.tensors, name, file.path.name)
    return four_bit(torch.from_numpy(file.raw(name)), info.type)


def open_checkpoint(name: str | None, *, offline: bool = False, progress: Progress | None = None) -> Checkpoint:
    """Finds, fetches if need be, and opens a model.

    name: of the catalogue (None: its default text model), "hf:owner/name", or the path of a folder (Reverie's own or
    Hugging Face layout), of a .gguf or of a .safetensors file with its config.json beside it.
    """
    name = default_name() if name is None else name
    path = Path(name).expanduser()
    if path.suffix not in (".gguf", ".safetensors") and not path.is_dir():
        path = sources.fetch(entry(name), offline=offline, progress=progress)
    return _open_gguf(name, path) if path.suffix == ".gguf" else _open_folder(name, path)


def save(folder: Path, model: Decoder, tokenizer: Tokenizer, template: ChatTemplate, card: str) -> None:
    """Writes a model folder of Reverie's own layout: config.json, model.safetensors, tokenizer and card.

    Each file is written aside and renamed, the weights last: a folder without them is not a model yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    layout = {"reverie": 1, "modality": "text", "model": to_json(model.config)}
    _write(folder / "config.json", json.dumps(layout, indent=1))
    _write(folder / "README.md", card)
    tokenizers.save(tokenizer, folder)
    if template.source is not None:
        _write(folder / "chat_template.jinja", template.source)
    weights = {name: weight for name, weight in model.state_dict().items() if not _is_tied_head(name, model.config)}
    safetensors_file.save(folder / "model.safetensors", weights)


def _write(path: Path, text: str) -> None:
    with files.atomic_write(path) as file:
        file.write(text.encode())


def _open_gguf(name: str, path: Path) -> Checkpoint:
    file = GGUFFile.open(path)
    factors = file.read("rope_freqs.weight").tolist() if "rope_freqs.weight" in file.tensors else []
    tied = "output.weight" not in file.tensors
    table, config = configs.from_gguf(file.metadata, tied=tied, rope_factors=factors)
    tokenizer = tokenizers.from_gguf(file.metadata)
    template = _template(tokenizers.chat_template(file.metadata), tokenizer)
    return _checked(Checkpoint(name, path, "text", config, tokenizer, template, file, TABLES[table]))


def _open_folder(name: str, path: Path) -> Checkpoint:
    folder = path if path.is_dir() else path.parent
    file = SafetensorsFile.open(path)
    data = _read_config(folder / "config.json")
    if "reverie" in data:
        table, config = _own_table(data), from_json(DecoderConfig, data.get("model", {}))
        configs.check(config)
    else:
        kind, config = configs.from_hugging_face(data)
        table = _with_prefix(TABLES[kind], file)
    tokenizer = tokenizers.from_folder(folder)
    template = _template(tokenizers.chat_template(folder), tokenizer)
    return _checked(Checkpoint(name, path, str(data.get("modality", "text")), config, tokenizer, template, file, table))


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    """Refuses a vocabulary that the embedding has no rows for."""
    if checkpoint.tokenizer.vocab_size > checkpoint.config.vocab_size:
        raise ReverieError(
            f"{checkpoint.path.name} has {checkpoint.tokenizer.vocab_size} tokens and weights for "
            f"{checkpoint.config.vocab_size}: fetch it again."
        )
    return checkpoint


def _template(source: str | None, tokenizer: Tokenizer) -> ChatTemplate:
    return ChatTemplate(source, tokenizer.bos_text, tokenizer.eos_text)


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ReverieError(f"There is no config.json in {path.parent}: give the folder of a whole model.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReverieError(f"{path} cannot be read as JSON: fetch the model again.") from error
    if not isinstance(data, Mapping):
        raise ReverieError(f"{path} is not a JSON object: fetch the model again.")
    return data


def _own_table(data: Mapping[str, Any]) -> Table:
    if data["reverie"] != 1:
        raise ReverieError("This model was made by a newer Reverie: update to read it.")
    return TABLES["reverie"]


def _with_prefix(table: Table, file: SafetensorsFile) -> Table:
    """GPT-2 files exist with and without "transformer." before each name."""
    if "transformer.wte.weight" not in file.tensors:
        return table
    return {
        ours: tuple(
            part if part.name == "lm_head.weight" else part.renamed(f"transformer.{part.name}") for part in found
        )
        for ours, found in table.items()
    }


def _is_tied_head(name: str, config: DecoderConfig) -> bool:
    return name == "head.weight" and config.tied
