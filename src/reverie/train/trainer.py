"""A model that learns: everything that a step changes, and the step."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from reverie.train import compute
from reverie.train.distributed import World, shard, split_like, whole
from reverie.train.dropout import add_dropout
from reverie.train.optim import Mean, Optimiser
from reverie.train.settings import Learner, Training
from reverie.types import Example, Examples, ReverieError


class Trainer:
    """Model, optimiser and running mean after `step` steps, which took `seconds`."""

    def __init__(self, learner: Learner, training: Training, world: World) -> None:
        # Every process has its part of a step.
        self.training = replace(training, accumulate=math.lcm(training.accumulate, world.size))
        self.learner, self.world = learner, world
        self.device = compute.device(world.rank)
        self.model = self._build().to(self.device)
        if training.dropout:
            add_dropout(self.model, training.dropout)
        shard(self.model, world)
        self.optimiser = Optimiser(self.model, training)
        self.mean = Mean(self.model, training.ema) if training.ema else None
        self.step, self.seconds = 0, 0.0
        if training.compile:
            compute.compile_model(self.model)

    def _build(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            model: nn.Module = self.learner.family.build(self.training.model)
            return model

    # --- learning ---

    def learn(self, parts: Iterator[list[Example]], scale: float) -> tuple[float, float]:
        """One step, with the rates times `scale`: its loss, and the norm of its gradient."""
        self.model.train()
        num_parts, loss = self.training.accumulate, 0.0
        for part in range(self.world.rank, num_parts, self.world.size):
            share = self._loss(next(parts), (self.training.seed, self.step, part)) / num_parts
            (share * self.world.size).backward()  # FSDP takes the mean over processes
            loss += float(share.detach())
        (loss,) = self.world.sums([loss])
        clip = self.training.clip if self.training.clip else math.inf
        norm = float(whole(nn.utils.clip_grad_norm_(self.model.parameters(), clip)))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise ReverieError(
                f"The loss is no number after step {self.step}: repeat the command with lower rates "
                "(--set rate=... --set matrix_rate=...), and it goes on from the last checkpoint."
            )
        self.optimiser.step(scale)
        if self.mean is not None:
            self.mean.update(self.step)
        self.step += 1
        return loss, norm

    def _loss(self, examples: list[Example], key: tuple[int | str, ...]) -> Tensor:
        """The loss of some examples; its noise is a function of `key`."""
        x, condition = self.learner.batch(examples)
        seed = seed_of(*key)
        torch.manual_seed(seed)  # for layers that draw by themselves, such as dropout
        rng = torch.Generator(self.device).manual_seed(seed)
        with compute.products(self.training, self.device):
            loss: Tensor = self.learner.family.loss(self.model, x.to(self.device), condition, rng)
            return loss

    @torch.no_grad()
    def evaluate(self, held_out: Examples) -> float:
        """The loss on examples that are never learnt from; the same ones, with the same noise, every time."""
        num, size = self.training.evaluate_examples, self.training.batch // self.training.accumulate
        total = 0.0
        with self._at_its_best():
            for first in range(0, num, size):
                examples = [held_out.item(0, index) for index in range(first, min(first + size, num))]
                total += float(self._loss(examples, ("held out", first))) * len(examples)
        return total / num

    # --- what there is to keep ---

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, whole, by a name that says whose it is. All must ask for them."""
        groups = {"model": learnt(self.model), "optimiser": self.optimiser.tensors()}
        if self.mean is not None:
            groups["mean"] = self.mean.tensors
        return {f"{group}/{name}": whole(value) for group, values in groups.items() for name, value in values.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `tensors` gave, whatever the number of processes was. A mean that is new begins here."""
        groups = dict[str, dict[str, Tensor]](model={}, optimiser={}, mean={})
        for path, value in tensors.items():
            group, _, name = path.partition("/")
            groups[group][name] = value
        _copy(groups["model"], learnt(self.model))
        self.optimiser.load(groups["optimiser"])
        if self.mean is not None:
            self.mean = Mean(self.model, self.training.ema)
            if groups["mean"]:
                _copy(groups["mean"], self.mean.tensors)

    @contextmanager
    def finished(self) -> Iterator[nn.Module | None]:
        """The model for use, whole, on the first process alone: with the mean of its weights if there is one."""
        with self._at_its_best():
            if self.world.size == 1:
                yield self.model
                return
            weights = {name: whole(value) for name, value in unique(self.model).items()}
            model = self._build().to(self.device).eval() if self.world.is_first else None
            if model is not None:
                _copy(weights, unique(model))
            yield model
            self.world.wait()

    @contextmanager
    def _at_its_best(self) -> Iterator[None]:
        """The model as it is used: with the mean of its weights, and no dropout."""
        self.model.eval()
        with nullcontext() if self.mean is None else self.mean.applied():
            yield


def unique(model: nn.Module) -> dict[str, Tensor]:
    """All weights and buffers that a model is saved with; what has two names is there once."""
    found = dict[str, Tensor]()
    seen = set[int]()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def learnt(model: nn.Module) -> dict[str, Tensor]:
    """Those that training changes: all but frozen weights."""
    return {
        name: tensor
        for name, tensor in unique(model).items()
        if tensor.requires_grad or not isinstance(tensor, nn.Parameter)
    }


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], to: Mapping[str, Tensor]) -> None:
    if values.keys() != to.keys():
        raise ReverieError("The checkpoint is of a model with other weights: choose another folder.")
    for name, tensor in to.items():
        tensor.copy_(split_like(values[name], tensor))


def seed_of(*key: int | str) -> int:
    """A seed for a generator that is a function of `key` alone, on every machine."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def facts(trainer: Trainer) -> dict[str, Any]:
    """What a card says of how far a model has come."""
    return {
        "steps": trainer.step,
        "examples": trainer.step * trainer.training.batch,
        "minutes": round(trainer.seconds / 60, 1),
        "weights": sum(weight.numel() for weight in trainer.model.parameters()),
    }
