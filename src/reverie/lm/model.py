"""The decoder: one transformer for GPT-2, Llama, SmolLM2, Qwen2.5, Qwen3 and Gemma 3 (arXiv:1706.03762, GPT-2).

B batch, T tokens, S tokens seen so far, D width of a head, W model width, V vocabulary
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.layers import MLP, Attention, Block, norm, rope_frequencies, rope_table
from reverie.lm.cache import Cache, Rows


@dataclass(frozen=True)
class Window:
    """Layers that look only `tokens` back, themselves included, with RoPE of their own `rope_theta`."""

    tokens: int
    layers: tuple[int, ...]
    rope_theta: float


@dataclass(frozen=True)
class DecoderConfig:
    """All that tells one decoder from another. The defaults are a small Llama.

    head_width: channels a head. mlp_width: hidden width. max_tokens: the context. norm: "sandwich" is RMSNorm before
    and after. mlp: "gelu" and "relu2" have no gate, "swiglu" and "geglu" have. rope_theta: 0 means learned positions
    instead. rope_factors: what each RoPE frequency is divided by. attention_scale: 0 is head_width^-0.5. softcaps: of
    the attention scores and of the logits, 0 is none. tied: the head is the embedding. embed_scale: what the embedding
    is multiplied by.
    """

    vocab_size: int
    width: int
    depth: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    mlp_width: int
    max_tokens: int
    norm: Literal["rms", "layer", "sandwich"] = "rms"
    norm_eps: float = 1e-5
    mlp: Literal["gelu", "relu2", "swiglu", "geglu"] = "swiglu"
    bias: Literal["none", "qkv", "attention", "all"] = "none"
    rope_theta: float = 10000.0
    rope_factors: tuple[float, ...] = ()
    qk_norm: bool = False
    window: Window | None = None
    attention_scale: float = 0.0
    softcaps: tuple[float, ...] = (0.0, 0.0)
    tied: bool = True
    embed_scale: float = 1.0


def small_decoder(width: int, depth: int, context_tokens: int, vocab_size: int = 0) -> DecoderConfig:
    """A decoder with heads of 64 channels, and besides what learns fastest (LOG.md says what was compared).

    vocab_size: 0 is for a medium that finds out how many words there are from what it learns from.
    """
    return DecoderConfig(
        vocab_size=vocab_size,
        width=width,
        depth=depth,
        num_heads=width // 64,
        num_kv_heads=width // 64,
        head_width=64,
        mlp_width=4 * width,
        max_tokens=context_tokens,
        mlp="relu2",
        qk_norm=True,
        tied=False,
    )


# What the names of `DecoderConfig.mlp` mean: the activation, and whether there is a gate.
MLPS = {"gelu": ("gelu", False), "relu2": ("relu2", False), "swiglu": ("silu", True), "geglu": ("gelu", True)}

Rope = tuple[Tensor, Tensor]
# What a layer needs to know of positions: rope, mask (for rows of their own, a list), plainly causal?
View = tuple[Rope | None, Tensor | list[Tensor | None] | None, bool]


class Decoder(nn.Module):
    """Token ids (B, T) -> logits of the next token at each position (B, T, V)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.positions = None if config.rope_theta else nn.Embedding(config.max_tokens, config.width)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.depth))
        self.norm = norm(config.norm, config.width, config.norm_eps)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor, cache: Cache | Rows | None = None) -> Tensor:
        """tokens (B, T) -> logits (B, T, V). With a cache they follow what it holds, and it holds them afterwards."""
        return self.logits(self.hidden(tokens, cache))

    def hidden(self, tokens: Tensor, cache: Cache | Rows | None = None, *, last_only: bool = False) -> Tensor:
        """tokens (B, T) -> the hidden states before the head (B, T, W), or only the last token's (B, 1, W)."""
        before = Cache() if cache is None else cache
        positions = before.positions(tokens.shape[1], tokens.device)  # (1 or B, T)
        x = self.embed(tokens)  # (B, T, W)
        if self.config.embed_scale != 1.0:
            x = x * torch.tensor(self.config.embed_scale, dtype=x.dtype)
        if self.positions is not None:
            x = x + self.positions(positions)
        views = self._views(positions, before, x.dtype)
        for i, block in enumerate(self.blocks):
            rope, mask, causal = views[self._is_windowed(i)]
            last = last_only and i == self.config.depth - 1  # of the last block nothing else is needed
            x = block(x, rope, mask, causal=causal, memory=cache, layer=i, last_only=last)
        if cache is not None:
            cache.advance(tokens.shape[1])
        hidden: Tensor = self.norm(x)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., W) -> logits (..., V), float32."""
        logits = self.head(hidden).float()
        cap = self.config.softcaps[1]
        return cap * torch.tanh(logits / cap) if cap else logits

    def _is_windowed(self, layer: int) -> bool:
        return self.config.window is not None and layer in self.config.window.layers

    def _views(self, positions: Tensor, before: Cache | Rows, dtype: torch.dtype) -> tuple[View, View]:
        """How layers see: those that look at everything, and those with a window."""
        config, window = self.config, self.config.window
        T, device = positions.shape[1], positions.device
        rope = _rope(positions, config.head_width, config.rope_theta, dtype, config.rope_factors)
        everything: View = (rope, *before.view(T, device))
        if window is None:
            return everything, everything
        rope = _rope(positions, config.head_width, window.rope_theta, dtype)
        return everything, (rope, *before.view(T, device, window.tokens))


def _block(config: DecoderConfig) -> Block:
    width, sandwich = config.width, config.norm == "sandwich"
    attention = Attention(
        width,
        config.num_heads,
        config.num_kv_heads,
        config.head_width,
        bias=(config.bias != "none", config.bias in ("attention", "all")),
        qk_norm_eps=config.norm_eps if config.qk_norm else None,
        scale=config.attention_scale if config.attention_scale else None,
        softcap=config.softcaps[0],
    )
    activation, gated = MLPS[config.mlp]
    mlp = MLP(width, config.mlp_width, activation, gated=gated, bias=config.bias == "all")
    return Block(attention, mlp, partial(norm, config.norm, width, config.norm_eps), sandwich=sandwich)


def _rope(
    positions: Tensor, width: int, theta: float, dtype: torch.dtype, factors: tuple[float, ...] = ()
) -> Rope | None:
    """cos and sin (B or 1, 1, T, D) for positions (B or 1, T)."""
    if not theta:
        return None
    cos, sin = rope_table(positions[:, None], rope_frequencies(width, theta, factors).to(positions.device))
    return cos.to(dtype), sin.to(dtype)


def pad_left(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Prompts of different lengths as one batch: tokens (B, T) padded on the left, and where each row starts (B,)."""
    longest = max(len(row) for row in rows)
    tokens = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    return tokens, torch.tensor([longest - len(row) for row in rows])


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean nats a token; logits (..., V), targets (...) with -100 where nothing is asked."""
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=-100)
