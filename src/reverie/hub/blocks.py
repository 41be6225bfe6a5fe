"""GGUF's 4-bit blocks as integer codes with a scale and an offset, so that they reach the 4-bit kernel as stored.

R rows, K columns; 32 weights share a scale and an offset. Layouts: `gguf.quants`, against which this is tested.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reverie.lm.pack import Blocks


def four_bit(raw: Tensor, kind: str) -> Blocks:
    """The rows of a tensor of type `kind`, one of `FOUR_BIT`, raw (R, bytes) uint8, as blocks."""
    return _READERS[kind](raw)


def _halves(raw: Tensor) -> Tensor:
    """Bytes (..., 2n) as n float16 numbers, in float32."""
    return raw.contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor) -> Tensor:
    """Bytes (..., n) as 2n codes: all the low halves, then all the high ones."""
    num = packed.shape[-1]
    codes = packed.new_empty(*packed.shape[:-1], 2 * num)
    torch.bitwise_and(packed, 15, out=codes[..., :num])
    torch.bitwise_right_shift(packed, 4, out=codes[..., num:])
    return codes


def _q4_0(raw: Tensor) -> Blocks:
    blocks = raw.unflatten(1, (-1, 18))  # (R, K/32, 18): a scale, 16 bytes of codes; weight = (code - 8) scale
    scale = _halves(blocks[..., :2])[..., 0]
    return Blocks(_nibbles(blocks[..., 2:]).flatten(1), scale, -8 * scale)


def _q4_1(raw: Tensor) -> Blocks:
    blocks = raw.unflatten(1, (-1, 20))  # (R, K/32, 20): a scale, an offset, 16 bytes of codes
    scale, offset = _halves(blocks[..., :4]).unbind(-1)
    return Blocks(_nibbles(blocks[..., 4:]).flatten(1), scale, offset)


def _q4_k(raw: Tensor) -> Blocks:
    """256 weights: two float16, 12 bytes with eight 6-bit scales and offsets in their units, 128 bytes of codes."""
    blocks = raw.unflatten(1, (-1, 144))  # (R, K/256, 144)
    unit, offset_unit = _halves(blocks[..., :4]).split(1, -1)  # (R, K/256, 1)
    low, middle, high = blocks[..., 4:16].split(4, -1)
    scale = torch.cat((low & 63, (high & 15) | ((low >> 6) << 4)), -1)  # (R, K/256, 8)
    offset = torch.cat((middle & 63, (high >> 4) | ((middle >> 6) << 4)), -1)
    codes = _nibbles(blocks[..., 16:].unflatten(-1, (4, 32)))  # each 32 bytes: low halves are one group, high the next
    return Blocks(codes.flatten(1), (unit * scale).flatten(1), (-offset_unit * offset).flatten(1))


_READERS: dict[str, Callable[[Tensor], Blocks]] = {"Q4_0": _q4_0, "Q4_1": _q4_1, "Q4_K": _q4_k}
FOUR_BIT = frozenset(_READERS)
