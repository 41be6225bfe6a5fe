"""One process or many: who is who, how weights are split up (FSDP2, arXiv:2304.11277), and what all must agree on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """The processes that train one model. rank: which of them this is; the first one writes the files."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and tells of progress."""
        return self.rank == 0

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each of `values` added up over all processes."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined() -> Iterator[World]:
    """The world that torchrun made, or a world of one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def shard(model: nn.Module, world: World) -> None:
    """Splits the weights up among the processes: block by block, so that only one block at a time is ever whole."""
    if world.size == 1:
        return
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415 - takes a second to import

    for blocks in [module for module in model.modules() if isinstance(module, nn.ModuleList)]:
        for block in blocks:
            fully_shard(block)
    fully_shard(model, reshard_after_forward=True)  # so that its weights can be read after an evaluation


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece, on every process. All must ask for it."""
    full = getattr(tensor, "full_tensor", None)
    return tensor.detach() if full is None else full().detach()


def split_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor split up as `like` is, if it is, and on the same device."""
    from torch.distributed.tensor import DTensor, distribute_tensor  # noqa: PLC0415 - takes a second to import

    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value.to(like.device)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
