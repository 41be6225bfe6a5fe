"""Key maps: what each weight of our decoder is called in files of others, one table a family, used both ways.

A table says, for a name of ours, which tensors of theirs stand beneath each other in it (queries, keys and values;
gate and up), and what must be done to each: transposed (GPT-2's Conv1D), one added (Gemma keeps norm - 1), rows
reordered (GGUF pairs RoPE channels 2i and 2i+1 for Llama, we pair i and i + D/2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor


class Heads(Protocol):
    """What a change needs to know of a config, a decoder's or an encoder's."""

    @property
    def num_heads(self) -> int:
        """Of queries."""

    @property
    def num_kv_heads(self) -> int:
        """Of keys and values."""

    @property
    def head_width(self) -> int:
        """Channels of each."""


Change = Callable[[Tensor, Heads], Tensor]


@dataclass(frozen=True)
class Part:
    """One tensor of theirs, and how it becomes ours and back. rows: the change moves rows and touches no value."""

    name: str
    to_ours: Change = lambda tensor, _: tensor
    to_theirs: Change = lambda tensor, _: tensor
    rows_only: bool = True

    def renamed(self, name: str) -> Part:
        """The same under another name."""
        return replace(self, name=name)


Table = Mapping[str, tuple[Part, ...]]


def _transposed(name: str) -> Part:
    return Part(name, lambda w, _: w.mT, lambda w, _: w.mT, rows_only=False)


def _less_one(name: str) -> Part:
    return Part(name, lambda w, _: w + 1, lambda w, _: w - 1, rows_only=False)


def _halves_from_pairs(tensor: Tensor, config: Heads) -> Tensor:
    """Rows of each head from x0 y0 x1 y1 ... to x0 x1 ... y0 y1 ..."""
    pairs = tensor.reshape(-1, config.head_width // 2, 2, *tensor.shape[1:])
    return pairs.transpose(1, 2).reshape(tensor.shape)


def _pairs_from_halves(tensor: Tensor, config: Heads) -> Tensor:
    halves = tensor.reshape(-1, 2, config.head_width // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def _paired(name: str) -> Part:
    return Part(name, _halves_from_pairs, _pairs_from_halves)


def _plain(table: Mapping[str, str]) -> dict[str, tuple[Part, ...]]:
    """A table from text: parts are separated by spaces."""
    return {ours: tuple(Part(name) for name in theirs.split()) for ours, theirs in table.items()}


_LLAMA = _plain(
    {
        "embed.weight": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
        "head.weight": "lm_head.weight",
        "blocks.#.attention_norm.weight": "model.layers.#.input_layernorm.weight",
        "blocks.#.attention.qkv.weight": "model.layers.#.self_attn.q_proj.weight "
        "model.layers.#.self_attn.k_proj.weight model.layers.#.self_attn.v_proj.weight",
        "blocks.#.attention.qkv.bias": "model.layers.#.self_attn.q_proj.bias "
        "model.layers.#.self_attn.k_proj.bias model.layers.#.self_attn.v_proj.bias",
        "blocks.#.attention.q_norm.weight": "model.layers.#.self_attn.q_norm.weight",
        "blocks.#.attention.k_norm.weight": "model.layers.#.self_attn.k_norm.weight",
        "blocks.#.attention.out.weight": "model.layers.#.self_attn.o_proj.weight",
        "blocks.#.attention.out.bias": "model.layers.#.self_attn.o_proj.bias",
        "blocks.#.mlp_norm.weight": "model.layers.#.post_attention_layernorm.weight",
        "blocks.#.mlp.up.weight": "model.layers.#.mlp.gate_proj.weight model.layers.#.mlp.up_proj.weight",
        "blocks.#.mlp.up.bias": "model.layers.#.mlp.gate_proj.bias model.layers.#.mlp.up_proj.bias",
        "blocks.#.mlp.down.weight": "model.layers.#.mlp.down_proj.weight",
        "blocks.#.mlp.down.bias": "model.layers.#.mlp.down_proj.bias",
    }
)
_GEMMA: Table = _LLAMA | {
    ours: (_less_one(theirs),)
    for ours, theirs in {
        "norm.weight": "model.norm.weight",
        "blocks.#.attention_norm.weight": "model.layers.#.input_layernorm.weight",
        "blocks.#.attention_post_norm.weight": "model.layers.#.post_attention_layernorm.weight",
        "blocks.#.attention.q_norm.weight": "model.layers.#.self_attn.q_norm.weight",
        "blocks.#.attention.k_norm.weight": "model.layers.#.self_attn.k_norm.weight",
        "blocks.#.mlp_norm.weight": "model.layers.#.pre_feedforward_layernorm.weight",
        "blocks.#.mlp_post_norm.weight": "model.layers.#.post_feedforward_layernorm.weight",
    }.items()
}
_GPT2: Table = _plain(
    {
        "embed.weight": "wte.weight",
        "positions.weight": "wpe.weight",
        "norm.weight": "ln_f.weight",
        "norm.bias": "ln_f.bias",
        "head.weight": "lm_head.weight",
        "blocks.#.attention_norm.weight": "h.#.ln_1.weight",
        "blocks.#.attention_norm.bias": "h.#.ln_1.bias",
        "blocks.#.attention.qkv.bias": "h.#.attn.c_attn.bias",
        "blocks.#.attention.out.bias": "h.#.attn.c_proj.bias",
        "blocks.#.mlp_norm.weight": "h.#.ln_2.weight",
        "blocks.#.mlp_norm.bias": "h.#.ln_2.bias",
        "blocks.#.mlp.up.bias": "h.#.mlp.c_fc.bias",
        "blocks.#.mlp.down.bias": "h.#.mlp.c_proj.bias",
    }
) | {
    "blocks.#.attention.qkv.weight": (_transposed("h.#.attn.c_attn.weight"),),
    "blocks.#.attention.out.weight": (_transposed("h.#.attn.c_proj.weight"),),
    "blocks.#.mlp.up.weight": (_transposed("h.#.mlp.c_fc.weight"),),
    "blocks.#.mlp.down.weight": (_transposed("h.#.mlp.c_proj.weight"),),
}
_GGUF = _plain(
    {
        "embed.weight": "token_embd.weight",
        "positions.weight": "position_embd.weight",
        "norm.weight": "output_norm.weight",
        "norm.bias": "output_norm.bias",
        "head.weight": "output.weight",
        "blocks.#.attention_norm.weight": "blk.#.attn_norm.weight",
        "blocks.#.attention_norm.bias": "blk.#.attn_norm.bias",
        "blocks.#.attention_post_norm.weight": "blk.#.post_attention_norm.weight",
        "blocks.#.attention.qkv.weight": "blk.#.attn_q.weight blk.#.attn_k.weight blk.#.attn_v.weight",
        "blocks.#.attention.qkv.bias": "blk.#.attn_q.bias blk.#.attn_k.bias blk.#.attn_v.bias",
        "blocks.#.attention.q_norm.weight": "blk.#.attn_q_norm.weight",
        "blocks.#.attention.k_norm.weight": "blk.#.attn_k_norm.weight",
        "blocks.#.attention.out.weight": "blk.#.attn_output.weight",
        "blocks.#.attention.out.bias": "blk.#.attn_output.bias",
        "blocks.#.mlp_norm.weight": "blk.#.ffn_norm.weight",
        "blocks.#.mlp_norm.bias": "blk.#.ffn_norm.bias",
        "blocks.#.mlp_post_norm.weight": "blk.#.post_ffw_norm.weight",
        "blocks.#.mlp.up.weight": "blk.#.ffn_gate.weight blk.#.ffn_up.weight",
        "blocks.#.mlp.up.bias": "blk.#.ffn_gate.bias blk.#.ffn_up.bias",
        "blocks.#.mlp.down.weight": "blk.#.ffn_down.weight",
        "blocks.#.mlp.down.bias": "blk.#.ffn_down.bias",
    }
)
_GGUF_LLAMA: Table = {
    **_GGUF,
    "blocks.#.attention.qkv.weight": (
        _paired("blk.#.attn_q.weight"),
        _paired("blk.#.attn_k.weight"),
        Part("blk.#.attn_v.weight"),
    ),
}
_GGUF_GPT2: Table = {**_GGUF} | _plain(
    {
        "blocks.#.attention.qkv.weight": "blk.#.attn_qkv.weight",
        "blocks.#.attention.qkv.bias": "blk.#.attn_qkv.bias",
        "blocks.#.mlp.up.weight": "blk.#.ffn_up.weight",
        "blocks.#.mlp.up.bias": "blk.#.ffn_up.bias",
    }
)

_BERT: Table = _plain(
    {
        "embed.weight": "embeddings.word_embeddings.weight",
        "positions.weight": "embeddings.position_embeddings.weight",
        "kinds.weight": "embeddings.token_type_embeddings.weight",
        "norm.weight": "embeddings.LayerNorm.weight",
        "norm.bias": "embeddings.LayerNorm.bias",
        "blocks.#.attention.qkv.weight": "encoder.layer.#.attention.self.query.weight "
        "encoder.layer.#.attention.self.key.weight encoder.layer.#.attention.self.value.weight",
        "blocks.#.attention.qkv.bias": "encoder.layer.#.attention.self.query.bias "
        "encoder.layer.#.attention.self.key.bias encoder.layer.#.attention.self.value.bias",
        "blocks.#.attention.out.weight": "encoder.layer.#.attention.output.dense.weight",
        "blocks.#.attention.out.bias": "encoder.layer.#.attention.output.dense.bias",
        "blocks.#.attention_norm.weight": "encoder.layer.#.attention.output.LayerNorm.weight",
        "blocks.#.attention_norm.bias": "encoder.layer.#.attention.output.LayerNorm.bias",
        "blocks.#.mlp.up.weight": "encoder.layer.#.intermediate.dense.weight",
        "blocks.#.mlp.up.bias": "encoder.layer.#.intermediate.dense.bias",
        "blocks.#.mlp.down.weight": "encoder.layer.#.output.dense.weight",
        "blocks.#.mlp.down.bias": "encoder.layer.#.output.dense.bias",
        "blocks.#.mlp_norm.weight": "encoder.layer.#.output.LayerNorm.weight",
        "blocks.#.mlp_norm.bias": "encoder.layer.#.output.LayerNorm.bias",
    }
)

_OWN: Table = {ours: (Part(ours),) for table in (_GPT2, _GEMMA) for ours in table}

TABLES: dict[str, Table] = {
    "reverie": _OWN,
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3": _GEMMA,
    "gpt2": _GPT2,
    "bert": _BERT,
    "gguf-llama": _GGUF_LLAMA,
    "gguf-qwen2": _GGUF,
    "gguf-qwen3": _GGUF,
    "gguf-gemma3": _GGUF,
    "gguf-gpt2": _GGUF_GPT2,
}


def parts(table: Table, ours: str) -> tuple[Part, ...]:
    """The tensors of theirs that make up the weight `ours` ("blocks.3.mlp.up.weight"), with the layer filled in."""
    layer = re.search(r"\.(\d+)\.", ours)
    if layer is None:
        return table[ours]
    key = ours.replace(layer.group(0), ".#.", 1)
    number = layer.group(1)
    return tuple(part.renamed(part.name.replace("#", number)) for part in table[key])


def to_ours(table: Table, ours: str, read: Callable[[str], Tensor], config: Heads) -> Tensor:
    """The weight `ours`, from a function that reads tensors of theirs by name."""
    return joined([part.to_ours(read(part.name), config) for part in parts(table, ours)])


def joined(pieces: Sequence[Tensor]) -> Tensor:
    """The pieces beneath each other; a single one as it is."""
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))


def to_theirs(table: Table, ours: str, weight: Tensor, config: Heads) -> dict[str, Tensor]:
    """The tensors of theirs that the weight `ours` is made of: the inverse of `to_ours`."""
    found = parts(table, ours)
    heads, kv = config.num_heads * config.head_width, config.num_kv_heads * config.head_width
    sizes = {1: (len(weight),), 2: (len(weight) // 2,) * 2, 3: (heads, kv, kv)}[len(found)]
    pieces = weight.split(sizes)
    return {part.name: part.to_theirs(piece, config).contiguous() for part, piece in zip(found, pieces, strict=True)}
