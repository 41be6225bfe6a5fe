"""Muon for the matrices of the blocks, AdamW (arXiv:1711.05101) for everything else; and a running mean of weights.

Muon replaces the momentum of a matrix by the nearest orthogonal one, so that every direction learns equally fast
(arXiv:2502.16982). Embeddings, heads and vectors are no maps from one hidden state to the next: AdamW has those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from reverie.train.distributed import split_like
from reverie.train.settings import Training


class Optimiser:
    """Two optimisers as one, with their state by the names of the weights."""

    def __init__(self, model: nn.Module, training: Training) -> None:
        self._weights = learning(model)
        matrices, tables, vectors = list[Tensor](), list[Tensor](), list[Tensor]()
        for name, weight in self._weights.items():
            is_matrix = training.matrix_rate > 0 and weight.ndim == 2 and in_block(name)
            kind = matrices if is_matrix else tables if weight.ndim > 1 else vectors
            kind.append(weight)
        decay, rate = training.weight_decay, training.rate
        groups = [{"params": tables, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=rate, betas=(training.betas[0], training.betas[1]), fused=True),
        ]
        if matrices:
            self._parts.append(_muon(matrices, training))
        self._rates = [[group["lr"] for group in part.param_groups] for part in self._parts]

    def step(self, scale: float) -> None:
        """Changes the weights by their gradients, at `scale` times the full rates, and clears the gradients."""
        for part, rates in zip(self._parts, self._rates, strict=True):
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate * scale
            part.step()
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Everything the next step depends on, as "NAME of the weight|name of the quantity"."""
        return {
            f"{name}|{key}": value
            for name, weight in self._weights.items()
            for part in self._parts
            for key, value in part.state.get(weight, {}).items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `tensors` gave."""
        owner = {weight: part for part in self._parts for group in part.param_groups for weight in group["params"]}
        for path, value in tensors.items():
            name, _, key = path.partition("|")
            weight = self._weights[name]
            owner[weight].state[weight][key] = split_like(value, weight)


def _muon(matrices: list[Tensor], training: Training) -> torch.optim.Muon:
    return torch.optim.Muon(
        matrices,
        lr=training.matrix_rate,
        weight_decay=training.weight_decay,
        momentum=training.momentum,
        ns_steps=training.muon_steps,
    )


def learning(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that training changes, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def in_block(path: str) -> bool:
    """Whether a weight or layer is of one of the numbered blocks that a core is made of."""
    return any(part.isdigit() for part in path.split("."))


class Mean:
    """The running mean of a model's weights, which is better than any of them alone (arXiv:2312.02696, section 3)."""

    def __init__(self, model: nn.Module, keep: float) -> None:
        self._model, self._keep = model, keep
        self.tensors = {name: weight.detach().clone() for name, weight in learning(model).items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after step number `step`; the mean of a young run is short."""
        keep = min(self._keep, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.tensors.values()), list(learning(self._model).values()), 1 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the mean's weights within the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, weight in learning(self._model).items():
            kept = weight.detach().clone()
            weight.copy_(self.tensors[name])
            self.tensors[name].copy_(kept)
