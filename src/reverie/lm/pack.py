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

from reverie.layers import MLP

GROUP = 32  # weights that share a scale, as in the 4-bit formats of GGUF
FEW_ROWS = 64  # up to here narrow weights are faster, or so little slower that making wide ones does not pay
PROMPT_ROWS = 512  # what the layout of wide weights is chosen for; it serves any number


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

    def weight(self) -> Tensor:
        """W in bf16 (N, K), made anew."""
        weights = self._source()
        return (weights.weight() if isinstance(weights, Blocks) else weights).bfloat16()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if _has_many_rows(x):
            if self._wide is None:
                self._wide = laid_out(self.weight())
            return product(x, self._wide, self.bias)
        rows = x.reshape(-1, x.shape[-1])
        if self.bits == 4:
            y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.codes, GROUP, self.scales)
        else:
            y = torch.ops.aten._weight_int8pack_mm(rows, self.codes, self.scales)
        out: Tensor = y.view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


class PackedMLP(nn.Module):
    """A gated MLP of packed layers: for many rows, SiLU and the gate are done inside oneDNN's products.

    That saves passes over memory; the outcome differs from the plain one's by rounding.
    """

    def __init__(self, up: PackedLinear, down: nn.Module) -> None:
        super().__init__()
        self.up, self.down = up, down
        self._gate_and_up: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if not _has_many_rows(x):
            gate, up = self.up(x).chunk(2, -1)
            few: Tensor = self.down(F.silu(gate) * up)
            return few
        if self._gate_and_up is None:
            gate, up = self.up.weight().chunk(2)
            self._gate_and_up = laid_out(gate), laid_out(up)
        gate, up = self._gate_and_up
        hidden = torch.ops.mkldnn._linear_pointwise(x, gate, None, "swish", [], "")
        out: Tensor = self.down(torch.ops.mkldnn._linear_pointwise.binary(x, hidden, up, None, "mul"))
        return out


def fused(mlp: MLP) -> nn.Module:
    """`PackedMLP` where it can stand in, else the MLP itself."""
    up: nn.Module = mlp.up
    if isinstance(up, PackedLinear) and up.bias is None and mlp.gated and mlp.activation is F.silu and _has_onednn():
        return PackedMLP(up, mlp.down)
    return mlp


def laid_out(weight: Tensor) -> Tensor:
    """W (N, K) in the order in which oneDNN reads it; as it is, where there is no oneDNN."""
    if not _has_onednn():
        return weight
    ordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PROMPT_ROWS)
    return ordered


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + bias, for what `laid_out` gave."""
    if not weight.is_mkldnn:
        return F.linear(x, weight, bias)
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def _has_many_rows(x: Tensor) -> bool:
    return x.numel() // x.shape[-1] > FEW_ROWS


def _has_onednn() -> bool:
    """Whether this build and machine multiply bf16 by oneDNN."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
