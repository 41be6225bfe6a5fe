"""Checkpoints: a model on disk, of whatever layout, as config, tokenizer, template and weights by our names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from reverie.config import to_json
from reverie.hub import configs, files, safetensors_file, sources, tokenizers
from reverie.hub.blocks import FOUR_BIT, four_bit
from reverie.hub.catalogue import default_name, entry
from reverie.hub.files import Progress
from reverie.hub.gguf_file import GGUFFile
from reverie.hub.keymaps import TABLES, Table, joined, parts, to_ours
from reverie.hub.safetensors_file import SafetensorsFile
from reverie.hub.tensor_file import find
from reverie.lm.chat import ChatTemplate
from reverie.lm.model import Decoder, DecoderConfig
from reverie.lm.pack import Blocks, Weights
from reverie.lm.tokenizer import Tokenizer
from reverie.types import ReverieError

# Tensors that some files hold though they are computed and not learnt: masks, and RoPE's frequencies.
_BUFFER = re.compile(r"(^|\.)(attn\.(masked_)?bias|rotary_emb\.inv_freq|rope_freqs\.weight)$")


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

    def sha256s(self) -> dict[str, str]:
        """The SHA-256 of its file of weights."""
        single = self.path / safetensors_file.SINGLE
        return {"sha256": files.sha256(single if self.path.is_dir() else self.path)}

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
        types = {find(self.file.tensors, part.name, self.path.name).type for part in found}
        if not (isinstance(self.file, GGUFFile) and types <= FOUR_BIT and all(part.rows_only for part in found)):
            return self.weight(ours, shape)
        blocks = [_four_bit(self.file, part.name) for part in found]
        with suppress(RuntimeError):
            codes, scale, offset = (
                joined([part.to_ours(value, self.config) for part, value in zip(found, values, strict=True)])
                for values in zip(*((b.codes, b.scale, b.offset) for b in blocks), strict=True)
            )
            if codes.shape == torch.Size(shape):
                return Blocks(codes, scale, offset)
        raise self._misshapen(ours)

    def _misshapen(self, ours: str) -> ReverieError:
        return ReverieError(f"{self.path.name} does not fit its own config ({ours} has another shape): fetch it again.")


def _four_bit(file: GGUFFile, name: str) -> Blocks:
    return four_bit(torch.from_numpy(file.raw(name)), file.tensors[name].type)


def open_checkpoint(name: str | None, *, offline: bool = False, progress: Progress | None = None) -> Checkpoint:
    """Finds, fetches if need be, and opens a model.

    name: of the catalogue (None: its default text model), "hf:owner/name", or the path of a folder (Reverie's own or
    Hugging Face layout), of a .gguf or of a .safetensors file with its config.json beside it. What the catalogue knows
    is never a path, so that a name means the same in every folder: for a folder called gpt2 write "./gpt2".
    """
    name = default_name() if name is None else name
    return open_at(name, locate(name, offline=offline, progress=progress))


def locate(name: str, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """The file or folder that a name stands for, see `open_checkpoint`; fetched if need be."""
    path = sources.local(name)
    return sources.fetch(entry(name), offline=offline, progress=progress) if path is None else path


def open_at(name: str, path: Path) -> Checkpoint:
    """Opens the model in a file or folder."""
    try:
        return _open_gguf(name, path) if path.suffix == ".gguf" else _open_folder(name, path)
    except OSError as error:
        raise ReverieError(f"{path} cannot be read ({error.strerror}): check that you may.") from error


class Unfilled(TorchFunctionMode):
    """Draws no random numbers: torch's first `normal_` on the meta device imports its compiler for 1 to 2 seconds."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {} if kwargs is None else kwargs
        return kwargs["tensor"] if function is nn.init.normal_ else function(*args, **kwargs)


def skeleton(config: DecoderConfig) -> Decoder:
    """A decoder whose weights have shapes but neither values nor memory (on the meta device)."""
    with torch.device("meta"), Unfilled():
        return Decoder(config)


def save(
    folder: Path, model: Decoder, tokenizer: Tokenizer, template: ChatTemplate, card: str, *, modality: str = "text"
) -> None:
    """Writes a model folder of Reverie's own layout: config.json, model.safetensors, tokenizer and card.

    Killed at any moment, it leaves the model that was there, the new one, or none: never parts of both. Until all
    weights are on the disk nothing is touched; then the old ones go, and the new ones take their place after the rest.
    """
    weights = {name: weight for name, weight in model.state_dict().items() if not _is_tied_head(name, model.config)}
    if weights.keys() != _names(model.config):
        raise ReverieError("A model with packed weights cannot be saved: load it with place=EXACT.")
    final = folder / safetensors_file.SINGLE
    with files.atomic_path(final, sum(weight.nbytes for weight in weights.values())) as part:
        safetensors_file.save(part, weights)
        for old in (final, folder / safetensors_file.INDEX, folder / "chat_template.jinja"):
            old.unlink(missing_ok=True)
        layout = {"reverie": 1, "modality": modality, "model": to_json(model.config)}
        files.write(folder / "config.json", json.dumps(layout, indent=1))
        files.write(folder / "README.md", card)
        tokenizers.save(tokenizer, folder)
        if template.source is not None:
            files.write(folder / "chat_template.jinja", template.source)


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
    own = "reverie" in data
    kind, config = configs.from_reverie(data) if own else configs.from_hugging_face(data)
    tokenizer = tokenizers.from_folder(folder)
    template = _template(tokenizers.chat_template(folder), tokenizer)
    modality = str(data.get("modality", "text"))[:80] if own else "text"
    return _checked(Checkpoint(name, path, modality, config, tokenizer, template, file, _table(kind, file)))


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    """Refuses a vocabulary that the embedding has no rows for, and tensors that the decoder has no place for."""
    where, config = checkpoint.path.name, checkpoint.config
    if checkpoint.tokenizer.vocab_size > config.vocab_size:
        raise ReverieError(
            f"{where} has {checkpoint.tokenizer.vocab_size} tokens and weights for {config.vocab_size}: fetch it again."
        )
    known = {part.name for ours in (*_names(config), "head.weight") for part in parts(checkpoint.table, ours)}
    for name in sorted(checkpoint.file.tensors.keys() - known):
        if not _BUFFER.search(name):
            raise ReverieError(
                f"{where} has a tensor {name[:80]!r} that its config has no place for: use another model."
            )
    return checkpoint


def _names(config: DecoderConfig) -> set[str]:
    """The names of a decoder's weights; a tied head is none."""
    return {
        name.replace("blocks.0.", f"blocks.{layer}.")
        for name in skeleton(replace(config, depth=1)).state_dict()
        for layer in range(config.depth)
        if not _is_tied_head(name, config)
    }


def _template(source: str | None, tokenizer: Tokenizer) -> ChatTemplate:
    return ChatTemplate(source, tokenizer.bos_text, tokenizer.eos_text)


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_bytes(), parse_int=_integer)
    except FileNotFoundError as error:
        raise ReverieError(f"There is no config.json in {path.parent}: give the folder of a whole model.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReverieError(f"{path} cannot be read as JSON: fetch the model again.") from error
    if not isinstance(data, Mapping):
        raise ReverieError(f"{path} is not a JSON object: fetch the model again.")
    return data


def _integer(digits: str) -> int:
    """An integer of a size that machines count in, so that arithmetic with it costs nothing."""
    if len(digits) > 20:
        raise ValueError("an integer is too long")
    return int(digits)


def _table(kind: str, file: SafetensorsFile) -> Table:
    """The key map of a family. GPT-2 files exist with and without "transformer." before each name."""
    table = TABLES[kind]
    if kind != "gpt2" or "transformer.wte.weight" not in file.tensors:
        return table
    return {
        ours: tuple(
            part if part.name == "lm_head.weight" else part.renamed(f"transformer.{part.name}") for part in found
        )
        for ours, found in table.items()
    }


def _is_tied_head(name: str, config: DecoderConfig) -> bool:
    return name == "head.weight" and config.tied
