"""Batches: which examples a step learns from, made ahead of need by worker processes.

Step s learns from the examples s B ... s B + B - 1, in equal parts; the parts are dealt out to the processes. So what a
step sees depends on nothing but its number, whoever computes it and whenever.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator

from torch.utils.data import DataLoader, Dataset

from reverie.train.settings import Training
from reverie.types import Example, Examples


def parts(
    examples: Examples, training: Training, first_step: int, rank: int, num_ranks: int
) -> Iterator[list[Example]]:
    """The parts of the batches of step `first_step` and all after it that are for process `rank`, in order."""
    indices = _indices(training.batch, training.accumulate, first_step, rank, num_ranks)
    loader = DataLoader(
        _Numbered(examples, training.seed),
        batch_sampler=indices,
        collate_fn=list,
        num_workers=training.num_workers,
        worker_init_fn=_leave_interrupts_to_the_loop,
        # A forked worker would inherit locks that other threads of this process hold.
        multiprocessing_context="spawn" if training.num_workers else None,
        prefetch_factor=4 if training.num_workers else None,
    )
    return iter(loader)


def _indices(batch: int, num_parts: int, first_step: int, rank: int, num_ranks: int) -> Iterator[list[int]]:
    size = batch // num_parts
    for step in itertools.count(first_step):
        for part in range(rank, num_parts, num_ranks):
            start = step * batch + part * size
            yield list(range(start, start + size))


class _Numbered(Dataset[Example]):
    """Examples by index, as torch's loader asks for them."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self._examples, self._seed = examples, seed

    def __getitem__(self, index: int) -> Example:
        return self._examples.item(self._seed, index)


def _leave_interrupts_to_the_loop(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
