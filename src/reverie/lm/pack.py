"""Linear layers for a CPU that reads text: few rows use 4- or 8-bit weights, many rows use bf16.

One token is a matrix-vector product, bound by the bytes of the weights; a prompt is a matrix product, bound by
arithmetic, which oneDNN does in bf16. So each layer keeps narrow weights, and makes wide ones when a prompt first
needs them.

N outputs, K inputs, G = K / 32 groups, M rows of x
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 32  # weights that share a scale, as in the 4-bit formats of GGUF
FEW_ROWS = 64  # up to here narrow weights are faster, or so little slower that making wide ones does not pay


@dataclass(frozen=True)
class Blocks:
    """4-bit weights as stored: weight = code * scale + offset. codes (N, K) 0..15; scale, offset (N, G) float32."""

    codes: Tensor
    scale: Tensor
    offset: Tensor

    def weight(self) -> Tensor:
        """(N, K) float32."""
        N, K = self.codes.shape
        grouped = self.codes.view(N, -1, GROUP) * self.scale[..., None] + self.offset[..., None]
        return grouped.view(N, K)


Weights = Tensor | Blocks  # float (N, K), or 4-bit


def pack4(blocks: Blocks) -> tuple[Tensor, Tensor]:
    """The operands of torch's 4-bit CPU kernel, which computes (code - 8) * scale + zero in groups of 32."""
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(blocks.codes.to(torch.int32), 1)
    zero = blocks.offset + 8 * blocks.scale
    return packed, torch.stack((blocks.scale, zero), -1).bfloat16().transpose(0, 1).contiguous()  # (G, N, 2)


def pack8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The operands of torch's 8-bit kernel: codes (N, K) int8, and a bf16 scale for each output (N,)."""
    pieces = [_pack8_rows(rows.float()) for rows in weight.split(4096)]  # a vocabulary is long
    return torch.cat([codes for codes, _ in pieces]), torch.cat([scale for _, scale in pieces])


def _pack8_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = (weight.abs().amax(1) / 127).bfloat16()  # rounded first, so that the codes make up for it
    codes = (weight / scale.float().clamp_min(1e-30)[:, None]).round_().clamp_(-127, 127)
    return codes.to(torch.int8), scale


def can_pack(layer: nn.Linear) -> bool:
    """Whether torch's narrow kernels take a layer of this shape."""
    return layer.in_features % GROUP == 0 and layer.out_features % 16 == 0


class PackedLinear(nn.Module):
    """x W^T + bias for bf16 x (..., K). `source` gives W again whenever the wide weights are wanted."""

    def __init__(self, source: Callable[[], Weights], bias: Tensor | None = None) -> None:
        super().__init__()
        weights = source()
        self.bits = 4 if isinstance(weights, Blocks) else 8
        codes, scales = pack4(weights) if isinstance(weights, Blocks) else pack8(weights)
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        self.bias = bias
        self._source = source
        self._wide: Tensor | None = None

    @property
    def wide(self) -> Tensor:
        """W in bf16 (N, K), made at first use."""
        if self._wide is None:
            weights = self._source()
            self._wide = (weights.weight() if isinstance(weights, Blocks) else weights).bfloat16()
        return self._wide

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        rows = x.reshape(-1, x.shape[-1])
        if rows.shape[0] > FEW_ROWS:
            return F.linear(x, self.wide, self.bias)
        if self.bits == 4:
            y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.codes, GROUP, self.scales)
        else:
            y = torch.ops.aten._weight_int8pack_mm(rows, self.codes, self.scales)
        out: Tensor = y.view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias
