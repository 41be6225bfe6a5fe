"""Seeing inside from outside: forward hooks by module path, which change nothing and leave nothing.

B batch, H heads, T tokens, S tokens that can be seen
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from reverie.layers import Attend
from reverie.types import ReverieError


class Tape(dict[str, list[Tensor]]):
    """Module path -> what that module gave, one tensor for each call; `inputs` holds what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: dict[str, list[tuple[Any, ...]]] = {}

    def stack(self) -> Tensor:
        """The newest output of every module, in the order of the model, float32 (modules, ...)."""
        return torch.stack([outputs[-1].float() for outputs in self.values()])


@contextmanager
def capture(model: nn.Module, *patterns: str) -> Iterator[Tape]:
    """Records what modules give while the `with` lasts: `capture(core, "blocks.*.attention.attend.weights")`.

    patterns: module paths, where * stands for any text. Attention weights (B, H, T, S) do not exist in the fused
    kernel that makes the output: they are worked out beside it, so the output keeps every bit.
    """
    found = {path: module for path, module in model.named_modules() if _matches(path, patterns)}
    if not found:
        raise ReverieError(f"The model has no part {' or '.join(patterns)}: see the paths of model.named_modules().")
    tape = Tape()
    with ExitStack() as hooks:
        for path, module in found.items():
            tape[path], tape.inputs[path] = [], []
            hooks.callback(module.register_forward_hook(_recorder(tape, path)).remove)
        for module in model.modules():
            if (
                isinstance(module, Attend)
                and not module.softcap
                and any(module.weights is one for one in found.values())
            ):
                hooks.callback(module.register_forward_hook(_work_out_weights, with_kwargs=True).remove)
        yield tape


@contextmanager
def changed(module: nn.Module, change: Callable[..., Any], *, before: bool = False) -> Iterator[None]:
    """Changes what a module gives while the `with` lasts; with `before`, what it is given.

    change: (module, inputs, output) -> output, or with `before` (module, inputs) -> inputs.
    """
    handle = module.register_forward_pre_hook(change) if before else module.register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _recorder(tape: Tape, path: str) -> Callable[..., None]:
    def record(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        tape[path].append(output.detach())
        tape.inputs[path].append(inputs)

    return record


def _work_out_weights(attend: Attend, args: tuple[Any, ...], kwargs: dict[str, Any], _: Tensor) -> None:
    """Runs attention a second time, step by step; its output is dropped, its weights pass the recorder."""
    if attend.explicit:  # this is that second time, or someone else has chosen the explicit path
        return
    attend.explicit = True
    try:
        attend(*args, **kwargs)
    finally:
        attend.explicit = False
