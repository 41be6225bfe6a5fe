"""The encoder: BERT, a transformer in which every token sees every other (arXiv:1810.04805); MiniLM is one.

B batch, T tokens, W model width
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reverie.layers import MLP, Attention


@dataclass(frozen=True)
class EncoderConfig:
    """All that tells one encoder from another. mlp_width: hidden width. max_tokens: the longest text."""

    vocab_size: int
    width: int
    depth: int
    num_heads: int
    mlp_width: int
    max_tokens: int
    norm_eps: float = 1e-12

    @property
    def head_width(self) -> int:
        """Channels a head."""
        return self.width // self.num_heads

    @property
    def num_kv_heads(self) -> int:
        """Heads of keys and values: as many as of queries."""
        return self.num_heads


class EncoderBlock(nn.Module):
    """norm(x + attention(x)), then norm(x + mlp(x)): the norm comes last, as in arXiv:1706.03762."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, heads = config.width, config.num_heads
        self.attention = Attention(width, heads, heads, config.head_width, bias=(True, True))
        self.attention_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = MLP(width, config.mlp_width, "gelu_exact", gated=False, bias=True)
        self.mlp_norm = nn.LayerNorm(width, eps=config.norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, W) -> (B, T, W); mask: True where a query may look, (B, 1, 1, T)."""
        x = self.attention_norm(x + self.attention(x, mask=mask))
        out: Tensor = self.mlp_norm(x + self.mlp(x))
        return out


class Encoder(nn.Module):
    """Token ids (B, T) -> a state of each in its context (B, T, W)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.max_tokens, config.width)
        self.kinds = nn.Embedding(2, config.width)  # of a first text and a second one, which is never there
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.depth))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """tokens (B, T) -> (B, T, W). mask (B, T): False for padding, which nothing looks at; None: there is none."""
        tokens = tokens.to(self.embed.weight.device)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x: Tensor = self.norm(self.embed(tokens) + self.kinds.weight[0] + self.positions(positions))  # (B, T, W)
        keys = None if mask is None else mask[:, None, None]
        for block in self.blocks:
            x = block(x, keys)
        return x
