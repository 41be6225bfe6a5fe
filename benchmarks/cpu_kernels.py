"""Why lm/pack.py and layers.Attend do what they do on a CPU: the kernels at hand, timed on SmolLM2-135M's shapes.

python benchmarks/cpu_kernels.py [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from reverie.layers import Attend
from reverie.lm.pack import GROUP, Blocks, pack4, pack8

SHAPES = [(960, 576), (576, 576), (3072, 576), (576, 1536)]  # of one block: qkv, out, gate and up, down
DEPTH = 30


def milliseconds(functions: Sequence[Callable[[], object]], repeats: int = 7) -> float:
    """The median time to call all functions one after another."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        for function in functions:
            function()
        times.append(1000 * (time.perf_counter() - began))
    return sorted(times[1:])[repeats // 2]


def random_blocks(rows: int, columns: int) -> Blocks:
    """4-bit weights."""
    scale = torch.rand(rows, columns // GROUP) / 100
    return Blocks(torch.randint(16, (rows, columns), dtype=torch.uint8), scale, -8 * scale)


def linear_calls(kind: str, x: Tensor, rows: int, columns: int) -> Callable[[], Tensor]:
    """x times one matrix of a block, by the kernel called `kind`."""
    weight = torch.randn(rows, columns)
    if kind == "float32":
        wide = x.float()
        return lambda: F.linear(wide, weight)
    if kind == "bf16":
        narrow = weight.bfloat16()
        return lambda: F.linear(x, narrow)
    if kind == "8 bit":
        codes, scale = pack8(weight)
        return lambda: torch.ops.aten._weight_int8pack_mm(x, codes, scale)
    packed, scales = pack4(random_blocks(rows, columns))
    return lambda: torch.ops.aten._weight_int4pack_mm_for_cpu(x, packed, GROUP, scales)


def linears() -> None:
    """All matrices of all blocks, for so many tokens at once."""
    print(f"matrices of {DEPTH} blocks, ms for so many tokens at once")
    print(f"{'':<10}" + "".join(f"{tokens:>9}" for tokens in (1, 4, 16, 64, 512)))
    for kind in ("float32", "bf16", "8 bit", "4 bit"):
        row = []
        for tokens in (1, 4, 16, 64, 512):
            inputs = {columns: torch.randn(tokens, columns).bfloat16() for _, columns in SHAPES}
            calls = [linear_calls(kind, inputs[c], r, c) for _ in range(DEPTH) for r, c in SHAPES]
            row.append(milliseconds(calls, 5))
        print(f"{kind:<10}" + "".join(f"{ms:>9.1f}" for ms in row))


def attention(num_queries: int, num_keys: int) -> None:
    """Attention of one block with 9 heads and 3 key-value heads: torch's own way and ours."""
    shapes = ((9, num_queries), (3, num_keys), (3, num_keys))
    q, k, v = (torch.randn(1, heads, tokens, 64).bfloat16() for heads, tokens in shapes)
    attend, causal = Attend(0.125), num_queries > 1
    ways: dict[str, Callable[[], Tensor]] = {
        "torch": lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=0.125, enable_gqa=True),
        "ours": lambda: attend(q, k, v, None, causal=causal),
    }
    times = ", ".join(f"{name} {milliseconds([way] * 20) / 20:.3f}" for name, way in ways.items())
    print(f"attention of one block, {num_queries} queries, {num_keys} keys, ms: {times}")


def main() -> None:
    """Parses and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    with torch.inference_mode():
        linears()
        for num_queries, num_keys in ((1, 256), (1, 1024), (512, 512)):
            attention(num_queries, num_keys)


if __name__ == "__main__":
    main()
