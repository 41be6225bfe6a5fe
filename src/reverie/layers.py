"""The layers both cores are made of: norms, n-axis RoPE, attention, MLP, block (arXiv:1706.03762).

B batch, T tokens asked about, S tokens that can be seen, H heads, G key-value heads, D width of a head, W model width
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "relu2": lambda x: _squared(F.relu(x)),  # arXiv:2109.08668
    "gelu_exact": F.gelu,
}

BLOCK_QUERIES = 128  # attention on CPUs goes by so many queries at a time


def _squared(x: Tensor) -> Tensor:
    """x x as a product: under autocast torch takes powers in float32."""
    return x * x


Found = tuple[Tensor, Tensor]  # keys and values
Mask = Tensor | list[Tensor | None] | None  # True where a query may look; a list: one for each row


class Memory(Protocol):
    """Where keys and values are kept from one call to the next; `lm.cache` has the one in use."""

    def extend(self, layer: int, k: Tensor, v: Tensor) -> Found | list[Found]:
        """Stores new keys and values (B, G, T, D) and gives all that `layer` has so far (B, G, S, D).

        Where S is another in each row, it gives a list of them, (1, G, S, D) each.
        """


class RMSNorm(nn.Module):
    """x / rms(x) * weight, over the last axis (arXiv:1910.07467, eq. 4)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        # In one type, for torch's fused kernel: under autocast x is often bf16 and the weight float32.
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


def norm(kind: str, width: int, eps: float) -> nn.Module:
    """The norm named "rms" or "layer" (arXiv:1607.06450)."""
    return nn.LayerNorm(width, eps=eps) if kind == "layer" else RMSNorm(width, eps)


def rope_frequencies(width: int, theta: float, factors: Sequence[float] = ()) -> Tensor:
    """Angles per position, theta^(-2i/width) (arXiv:2104.09864, eq. 15): (width/2,) float32.

    factors: what to divide each of them by, to stretch a model to a longer context (Llama 3 and linear scaling).
    """
    frequencies = theta ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    return frequencies / torch.tensor(factors) if factors else frequencies


def rope_table(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of each position's angles, ready for `rotate`.

    positions: (..., T) for one axis, or (..., T, A) for A axes, whose angles add up.
    frequencies: (D/2,) for one axis, (A, D/2) for A. Returns two (..., T, D) float32: cos, and sin with the sign of
    `rotate` already in it.
    """
    angles = positions[..., None].float() * frequencies if frequencies.ndim == 1 else positions.float() @ frequencies
    cos, sin = angles.cos(), angles.sin()  # (..., T, D/2)
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns x (..., T, D) by its position: channel i pairs with i + D/2 (arXiv:2104.09864, eq. 34)."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)  # under autocast x may be bf16, and its table float32
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


class Attend(nn.Module):
    """softmax(q k^T scale) v, by a fused kernel, or step by step when someone looks.

    With `explicit` set, the probabilities pass through `weights`, an identity for forward hooks to read.
    softcap: c > 0 squashes the scores to (-c, c) by c tanh(s / c) (Gemma 2, arXiv:2408.00118).
    """

    def __init__(self, scale: float, softcap: float = 0.0) -> None:
        super().__init__()
        self.scale = scale
        self.softcap = softcap
        self.explicit = False
        self.weights = nn.Identity()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, causal: bool = False) -> Tensor:
        """q (B, H, T, D), k and v (B, G, S, D) -> (B, H, T, D); mask: True where a query may look, (..., T, S)."""
        if self.explicit or self.softcap:
            return self._explicit(q, k, v, causal_mask(q.shape[2], k.shape[2], q.device) if causal else mask)
        if q.shape[2] == 1:
            # One query a head: the heads that share keys stand in one matrix, which is several times faster on a CPU.
            q = q.view(q.shape[0], k.shape[1], -1, q.shape[3])  # (B, G, H/G, D)
            return F.scaled_dot_product_attention(q, k, v, mask, scale=self.scale).flatten(1, 2)[:, :, None]
        if q.device.type == "cpu" and (torch.is_grad_enabled() or not causal or q.shape[2] > BLOCK_QUERIES):
            return self._in_blocks(q, k, v, mask, causal=causal)
        gqa = q.shape[1] != k.shape[1]
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=self.scale, enable_gqa=gqa)

    def rows(self, q: Tensor, found: list[Found], mask: list[Tensor | None]) -> Tensor:
        """One query a row, q (B, H, 1, D), with keys and values (1, G, S, D) for each: (B, H, 1, D).

        Each row is worked out as it would be alone, to the bit.
        """
        if self.explicit or self.softcap:
            rows = zip(q.split(1), found, mask, strict=True)
            return torch.cat([self(row, *keys, seen) for row, keys, seen in rows])
        q = q.view(len(found), found[0][0].shape[1], -1, q.shape[3])  # (B, G, H/G, D), as above
        rows = zip(q.split(1), found, mask, strict=True)
        see = partial(F.scaled_dot_product_attention, scale=self.scale)
        attended = torch.cat([see(row, *keys, seen) for row, keys, seen in rows])
        return attended.flatten(1, 2)[:, :, None]

    def _in_blocks(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """Some queries at a time, whose scores fit in the cache; causal ones over no more keys than they may see."""
        blocks, first, end = [], 0, k.shape[2]
        for part in self._grouped(q, k).split(BLOCK_QUERIES, 3):
            seen, first = mask, first + part.shape[3]
            if causal:
                end = k.shape[2] - q.shape[2] + first
                seen = causal_mask(part.shape[3], end, q.device)
            elif mask is not None and mask.shape[-2] > 1:
                seen = mask[..., first - part.shape[3] : first, :]
            blocks.append(_plain(part, k[:, :, :end], v[:, :, :end], seen))
        return torch.cat(blocks, 2)

    def _grouped(self, q: Tensor, k: Tensor) -> Tensor:
        """Scaled queries, with those that share keys together: (B, H, T, D) -> (B, G, H/G, T, D)."""
        grouped: Tensor = (q * self.scale).unflatten(1, (k.shape[1], -1))
        return grouped

    def _explicit(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scores = (q @ k.transpose(-2, -1)).float() * self.scale  # (B, H, T, S)
        if self.softcap:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        # A row that may look nowhere (padding) gets zeros, not NaN.
        weights: Tensor = self.weights(scores.softmax(-1).nan_to_num())  # (B, H, T, S)
        return weights.to(v.dtype) @ v


def _plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T) v for scaled q (B, G, H/G, T, D) and k, v (B, G, S, D) by two large products: (B, H, T, D).

    Heads that share keys stand beneath each other. On CPUs torch's fused kernel takes 1.6 times as long for a prompt,
    and its backward pass 4 times as long.
    """
    heads = q.shape[2:4]
    scores = (q.flatten(2, 3) @ k.transpose(-2, -1)).unflatten(2, heads)  # (B, G, H/G, T, S)
    if mask is not None:
        least = torch.finfo(q.dtype).min / 2  # not -inf: a row that may look nowhere (padding) must not become NaN
        hidden = torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, least)
        scores = scores + (hidden if mask.ndim == 2 else hidden.unsqueeze(1))
    attended: Tensor = (scores.softmax(-1).flatten(2, 3) @ v).unflatten(2, heads)  # (B, G, H/G, T, D)
    return attended.flatten(1, 2)


def causal_mask(num_queries: int, num_keys: int, device: torch.device, window: int = 0) -> Tensor:
    """True where query i, the last of them standing at the last key, may see key j: (T, S) bool.

    window: how many tokens back it may look, itself included; 0 is no limit.
    """
    offset = num_keys - num_queries
    mask = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device).tril(offset)
    return mask.triu(offset - window + 1) if window else mask


class Attention(nn.Module):
    """Multi-head attention with grouped keys and values (arXiv:2305.13245), RoPE and optional QK-norm.

    qkv is one matrix: queries, keys and values beneath each other.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        num_kv_heads: int,
        head_width: int,
        *,
        bias: tuple[bool, bool] = (False, False),
        qk_norm_eps: float | None = None,
        scale: float | None = None,
        softcap: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads = (num_heads, num_kv_heads, num_kv_heads)
        self.head_width = head_width
        self.qkv = nn.Linear(width, sum(self.heads) * head_width, bias=bias[0])
        self.out = nn.Linear(num_heads * head_width, width, bias=bias[1])
        self.q_norm, self.k_norm = (
            nn.Identity() if qk_norm_eps is None else RMSNorm(head_width, qk_norm_eps) for _ in range(2)
        )
        self.attend = Attend(head_width**-0.5 if scale is None else scale, softcap)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor] | None = None,
        mask: Mask = None,
        *,
        causal: bool = False,
        memory: Memory | None = None,
        layer: int = 0,
        last_only: bool = False,
    ) -> Tensor:
        """x (B, T, W) -> (B, T, W), or only for the last of T.

        rope: from `rope_table`, broadcast over heads. memory: holds earlier keys and values, and gets the new ones.
        """
        B, T, _ = x.shape
        qkv = self.qkv(x).view(B, T, -1, self.head_width).transpose(1, 2)  # (B, H+2G, T, D)
        q, k, v = self._turn(qkv, rope)
        found = (k, v) if memory is None else memory.extend(layer, k, v)
        if isinstance(found, list):
            assert isinstance(mask, list)
            attended = self.attend.rows(q, found, mask)  # (B, H, 1, D)
        else:
            assert not isinstance(mask, list)
            if last_only:  # it sees everything that the mask lets it
                q, mask, causal = q[:, :, -1:], None if mask is None else mask[..., -1:, :], False
            attended = self.attend(q, *found, mask, causal=causal)  # (B, H, T, D)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out

    def _turn(self, qkv: Tensor, rope: tuple[Tensor, Tensor] | None) -> tuple[Tensor, ...]:
        """Queries and keys normalised and turned by their positions, and the values."""
        H, G, _ = self.heads
        if isinstance(self.q_norm, nn.Identity):
            if rope is None:
                return torch.split(qkv, list(self.heads), 1)
            turned = rotate(qkv[:, : H + G], *rope)  # queries and keys in one go: fewer, larger operations
            return *turned.split((H, G), 1), qkv[:, H + G :]
        q, k, v = qkv.split(self.heads, 1)
        q, k = self.q_norm(q.contiguous()), self.k_norm(k.contiguous())  # rows that lie apart take twice as long
        return (q, k, v) if rope is None else (rotate(q, *rope), rotate(k, *rope), v)


class MLP(nn.Module):
    """down(act(up x)), or with a gate down(act(gate x) * up x) (GLU, arXiv:2002.05202, eq. 6).

    With a gate, `up` is one matrix: gate and up beneath each other.
    """

    def __init__(self, width: int, hidden: int, activation: str, *, gated: bool, bias: bool = False) -> None:
        super().__init__()
        self.gated = gated
        self.activation = ACTIVATIONS[activation]
        self.up = nn.Linear(width, hidden * (2 if gated else 1), bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        hidden: Tensor = self.up(x)
        if self.gated:
            gate, up = hidden.chunk(2, -1)
            hidden = self.activation(gate) * up
        else:
            hidden = self.activation(hidden)
        out: Tensor = self.down(hidden)
        return out


class Block(nn.Module):
    """x + attention(norm x), then x + mlp(norm x); a sandwich also normalises what is added (Gemma)."""

    def __init__(self, attention: Attention, mlp: MLP, make_norm: Callable[[], nn.Module], *, sandwich: bool) -> None:
        super().__init__()
        self.attention_norm, self.attention = make_norm(), attention
        self.mlp_norm, self.mlp = make_norm(), mlp
        self.attention_post_norm = make_norm() if sandwich else nn.Identity()
        self.mlp_post_norm = make_norm() if sandwich else nn.Identity()

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor] | None = None,
        mask: Mask = None,
        *,
        causal: bool = False,
        memory: Memory | None = None,
        layer: int = 0,
        last_only: bool = False,
    ) -> Tensor:
        """x (B, T, W) -> (B, T, W), or only for the last of T. The rest is as in `Attention`."""
        attended = self.attention(
            self.attention_norm(x), rope, mask, causal=causal, memory=memory, layer=layer, last_only=last_only
        )
        x = x[:, -attended.shape[1] :] + self.attention_post_norm(attended)
        out: Tensor = x + self.mlp_post_norm(self.mlp(self.mlp_norm(x)))
        return out
