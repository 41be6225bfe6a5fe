"""4-bit blocks of GGUF files reach the kernel as they were stored."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from reverie.hub.blocks import four_bit
from reverie.layers import MLP
from reverie.lm.pack import PackedLinear, PackedMLP, fused

TYPES = ["Q4_0", "Q4_1", "Q4_K"]


def stored(kind: str, rows: int, seed: int = 0) -> np.ndarray:
    """Random bytes in the layout of `kind`, 512 weights a row, with scales of a sensible size."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (rows, 512 // block, size), dtype=np.uint8)
    num_scales = 1 if kind == "Q4_0" else 2
    scales = rng.uniform(-0.01, 0.01, (rows, 512 // block, num_scales)).astype(np.float16)
    raw[..., : 2 * num_scales] = scales.view(np.uint8)
    return raw.reshape(rows, -1)


@pytest.mark.parametrize("kind", TYPES)
def test_blocks_are_what_gguf_says(kind: str) -> None:
    raw = stored(kind, 48)
    expected = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind])
    blocks = four_bit(torch.from_numpy(raw), kind)
    torch.testing.assert_close(blocks.weight(), torch.from_numpy(expected), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("rows", [1, 5, 16, 17, 40, 65, 600])
def test_the_packed_layer_multiplies_by_the_stored_weights(kind: str, rows: int) -> None:
    blocks = four_bit(torch.from_numpy(stored(kind, 48)), kind)
    x = torch.randn(rows, 512, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = x.float() @ blocks.weight().T
    y = PackedLinear(lambda: blocks)(x).float()
    assert (y - expected).norm() / expected.norm() < 0.006  # bf16 has 8 bits


def packed(layer: torch.nn.Linear) -> PackedLinear:
    return PackedLinear(layer.weight.detach, layer.bias)


@pytest.mark.parametrize("rows", [3, 65, 600])
def test_a_packed_mlp_does_what_the_plain_one_does(rows: int) -> None:
    torch.manual_seed(0)
    mlp = MLP(64, 96, "silu", gated=True)
    x = torch.randn(2, rows, 64).bfloat16()
    with torch.inference_mode():
        expected = mlp(x.float())
        mlp.up, mlp.down = packed(mlp.up), packed(mlp.down)  # type: ignore[assignment]
        small = fused(mlp)
        assert isinstance(small, PackedMLP) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
        assert (small(x) - expected).norm() / expected.norm() < 0.02


@pytest.mark.parametrize(
    ("activation", "gated", "bias"), [("gelu", True, False), ("silu", False, False), ("silu", True, True)]
)
def test_other_mlps_stay_as_they_are(activation: str, gated: bool, bias: bool) -> None:
    mlp = MLP(64, 96, activation, gated=gated, bias=bias)
    mlp.up = packed(mlp.up)  # type: ignore[assignment]
    assert fused(mlp) is mlp
