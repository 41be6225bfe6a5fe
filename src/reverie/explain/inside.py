"""A run with everything kept that exhibits look at: what each layer was given, what it added, where it looked.

B batch, H heads, T tokens, W model width, L layers
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.capture import capture
from reverie.types import ReverieError

WEIGHTS = "blocks.*.attention.attend.weights"


@dataclass(frozen=True)
class Run:
    """What a decoder did with tokens (1, T). Indices along L count layers from 0."""

    residual: Tensor  # (L + 1, T, W): before the first layer, then after each
    attention: Tensor  # (L, T, W): what attention added
    mlp: Tensor  # (L, T, W): what the MLP added
    weights: Tensor  # (L, H, T, T): row i says where token i looked
    logits: Tensor  # (V,): of what comes next


@torch.inference_mode()
def run(model: Model, tokens: Tensor) -> Run:
    """Reads tokens (1, T) once, and keeps what is seen on the way, on the CPU in float32."""
    depth, parts = model.core.config.depth, ("attention_post_norm", "mlp_post_norm")
    blocks = [f"blocks.{layer}" for layer in range(depth)]
    inside = [f"{block}.{part}" for block in blocks for part in parts]
    with capture(model.core, *blocks, *inside, WEIGHTS) as tape:
        hidden = model.core.hidden(tokens)
    states = [tape.inputs["blocks.0"][-1][0], *(tape[block][-1] for block in blocks)]
    attention, mlp = (torch.cat([tape[f"{block}.{part}"][-1] for block in blocks]) for part in parts)
    weights = torch.cat([tape[f"{block}.attention.attend.weights"][-1] for block in blocks])
    logits = model.core.logits(hidden[0, -1:])[0]
    return Run(*(part.float().cpu() for part in (torch.cat(states), attention, mlp, weights, logits)))


@torch.inference_mode()
def attention_weights(model: Model, tokens: Tensor) -> Tensor:
    """Where every head of every layer looks, for tokens (1, T): (L, H, T, T) float32 on the CPU."""
    with capture(model.core, WEIGHTS) as tape:
        model.core.hidden(tokens)
    return tape.stack()[:, 0].cpu()


@torch.inference_mode()
def attention_parts(model: Model, tokens: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
    """Where every head looks, as above; and the queries, keys and values of each layer, (H or G, T, D) float32."""
    attends = [f"blocks.{layer}.attention.attend" for layer in range(model.core.config.depth)]
    with capture(model.core, *attends, WEIGHTS) as tape:
        model.core.hidden(tokens)
    weights = torch.cat([tape[f"{attend}.weights"][0] for attend in attends]).float().cpu()
    q, k, v = ([tape.inputs[attend][0][i][0].float().cpu() for attend in attends] for i in range(3))
    return weights, list(zip(q, k, v, strict=True))


def checked_layer(model: Model, layer: int) -> int:
    """A layer's number, if there is one."""
    return _checked(layer, model.core.config.depth, "layer")


def checked_head(model: Model, head: int) -> int:
    """A head's number, if there is one."""
    return _checked(head, model.core.config.num_heads, "head")


def _checked(number: int, num: int, what: str) -> int:
    if not 0 <= number < num:
        raise ReverieError(f"There is no {what} {number}: this model has {what}s 0 to {num - 1}.")
    return number
