"""Where and in what numbers a step is computed: float32, and large products in bf16 where that is fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from reverie import engine
from reverie.train.settings import Training
from reverie.types import ReverieError


def device(rank: int = 0) -> torch.device:
    """The device that the engine would choose; with several GPUs, one for each process."""
    kind = engine.placement().device
    return torch.device(kind, rank % torch.cuda.device_count()) if kind == "cuda" else torch.device(kind)


def bf16_is_fast(place: torch.device) -> bool:
    """Whether the device multiplies bf16 faster than float32."""
    if place.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    cpu = torch.backends.cpu.get_cpu_capability()
    return place.type == "cpu" and cpu.startswith("AVX512") and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextmanager
def products(training: Training, place: torch.device) -> Iterator[None]:
    """Within the block large products are computed as the settings say."""
    wanted = training.compute == "bf16" or (training.compute == "auto" and bf16_is_fast(place))
    with torch.autocast(place.type, torch.bfloat16, enabled=wanted):
        yield


def compile_model(model: nn.Module) -> None:
    """Lets torch make kernels for the model; a `ReverieError` where there is no compiler for them.

    A model whose blocks are alike is compiled block by block, which takes a few times less long.
    """
    import shutil  # noqa: PLC0415

    if not any(shutil.which(name) for name in ("g++", "clang++", "cl")):
        raise ReverieError("There is no C++ compiler for --compile: install g++, or leave the option out.")
    torch._dynamo.config.recompile_limit = 64  # one for every shape that a training has
    parts = model.get_submodule("blocks").children() if getattr(model, "blocks_are_alike", False) else [model]
    for part in parts:
        part.compile(dynamic=False)
