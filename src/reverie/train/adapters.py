"""LoRA: a pretrained model learns by a few small matrices beside its frozen ones (arXiv:2106.09685, eq. 3).

B batch, T tokens, R rank
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie import engine
from reverie.config import from_json, to_json
from reverie.hub import checkpoint, files, safetensors_file
from reverie.hub.paths import inside
from reverie.hub.safetensors_file import SafetensorsFile
from reverie.lm.chat import ChatTemplate
from reverie.lm.model import Decoder, cross_entropy
from reverie.lm.tokenizer import Tokenizer
from reverie.train.chats import Chats, read_chats
from reverie.train.optim import in_block, learning
from reverie.types import Example, ReverieError

ADAPTERS, SETTINGS = "adapters.safetensors", "adapters.json"


@dataclass(frozen=True)
class AdapterConfig:
    """base: the model that is tuned, as `engine.load` names it. alpha: how much the adapters weigh, alpha / rank."""

    base: str
    rank: int = 8
    alpha: float = 16.0


class Adapter(nn.Module):
    """base(x) + alpha / rank * up(down(x)), where only `down` and `up` learn; at first `up` is zero."""

    def __init__(self, base: nn.Linear, config: AdapterConfig) -> None:
        super().__init__()
        self.base, self.scale = base, config.alpha / config.rank
        self.down = nn.Parameter(torch.empty(config.rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, config.rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = self.base(x)
        return out + F.linear(F.linear(x, self.down), self.up * self.scale)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One layer that computes the same."""
        self.base.weight += self.scale * self.up @ self.down
        return self.base


def adapt(model: nn.Module, config: AdapterConfig) -> nn.Module:
    """Freezes a model and puts an adapter beside every linear layer of its blocks."""
    model.requires_grad_(False)
    for path, layer in [*model.named_modules()]:
        if isinstance(layer, nn.Linear) and in_block(path):
            model.set_submodule(path, Adapter(layer, config))
    return model


def merge(model: nn.Module) -> nn.Module:
    """Adds every adapter to the layer it stands beside; the model is then as it was built, with other weights."""
    for path, layer in [*model.named_modules()]:
        if isinstance(layer, Adapter):
            model.set_submodule(path, layer.merged())
    return model


class Tuned:
    """A pretrained decoder with adapters, as a family."""

    def build(self, config: AdapterConfig) -> nn.Module:
        """The base model, frozen, with fresh adapters."""
        return adapt(engine.load(config.base, place=engine.EXACT).core, config)

    def loss(self, model: nn.Module, batch: Tensor, condition: None, rng: torch.Generator) -> Tensor:
        """Mean nats a token of the answers in tokens and targets (B, 2, T)."""
        return cross_entropy(model(batch[:, 0, :-1]), batch[:, 1, 1:])

    def generate(self, *_: Any) -> Any:
        """Nothing is generated with adapters apart: merge them first."""
        raise NotImplementedError


class Tuner:
    """What the training loop asks for, for a model that learns from conversations."""

    name = "tune"
    family = Tuned()

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, context_tokens: int) -> None:
        self._tokenizer, self._template, self._context_tokens = tokenizer, template, context_tokens

    @classmethod
    def of(cls, base: str) -> Tuner:
        """The tuner of a model; only its tokenizer and template are read now."""
        found = checkpoint.open_checkpoint(base)
        return cls(found.tokenizer, found.template, found.config.max_tokens)

    def examples(self, source: str, *, held_out: bool) -> Chats:
        """The conversations in the JSONL file `source`: the last tenth if `held_out`, else the others."""
        return read_chats(source, self._tokenizer, self._template, self._context_tokens, held_out=held_out)

    def batch(self, examples: Sequence[Example]) -> tuple[Tensor, None]:
        """Tokens and targets (B, 2, T), filled up on the right, where nothing is asked."""
        longest = max(example.x.shape[1] for example in examples)
        rows = torch.zeros(len(examples), 2, longest, dtype=torch.long)
        rows[:, 1] = -100
        for row, example in zip(rows, examples, strict=True):
            row[:, : example.x.shape[1]] = example.x
        return rows, None

    def save(self, folder: Path, model: nn.Module, config: AdapterConfig, card: str) -> None:
        """Writes the adapters alone: adapters.safetensors, adapters.json and a card."""
        safetensors_file.save(folder / ADAPTERS, learning(model))
        files.write(folder / SETTINGS, json.dumps(to_json(config), indent=1))
        files.write(folder / "README.md", card)


@torch.no_grad()
def save_merged(adapters: Path, folder: Path) -> None:
    """Writes a model folder for `engine.load`: the base model with the adapters that are in the folder `adapters`."""
    config = _config(adapters)
    base = engine.load(config.base, place=engine.EXACT)
    model = adapt(base.core, config)
    learnt = learning(model)
    file = SafetensorsFile.open(inside(adapters, ADAPTERS))
    if {name: info.shape for name, info in file.tensors.items()} != {n: tuple(w.shape) for n, w in learnt.items()}:
        raise ReverieError(f"The adapters in {adapters} do not fit {config.base}: tune that model again.")
    for name, weight in learnt.items():
        weight.copy_(file.read(name))
    merged = merge(model)
    assert isinstance(merged, Decoder)
    card = f"# {config.base}, tuned with Reverie\n\nThe adapters of rank {config.rank} are merged into the weights.\n"
    checkpoint.save(folder, merged.bfloat16(), base.medium.tokenizer, base.medium.template, card)


def _config(adapters: Path) -> AdapterConfig:
    try:
        return from_json(AdapterConfig, json.loads(inside(adapters, SETTINGS).read_bytes()))
    except (OSError, ValueError) as error:
        raise ReverieError(f"{adapters} holds no {SETTINGS} that can be read: give the folder of a tuning.") from error
