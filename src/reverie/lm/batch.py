"""Continuous batching: texts at different places are written by one pass of the model (Orca, Yu et al., OSDI 2022).

Each row has its own cache, request and random numbers, and attends alone: its bits do not depend on who else is there.

B texts, V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reverie.lm.cache import Cache, Rows
from reverie.lm.generate import Writing
from reverie.lm.model import Decoder


def advance(writings: Sequence[Writing]) -> None:
    """Passes the newest token of each text through the model they share, so that their next steps are at hand.

    Each must be one that `is_decoding`. Alone, or where a common pass would give other bits, it leaves them as they
    are: then each step does its own pass.
    """
    if len(writings) < 2 or not is_row_wise(writings[0].model):
        return
    assert all(writing.model is writings[0].model for writing in writings)
    needs = [writing.need for writing in writings]
    tokens = torch.tensor([need.tokens[0] for need in needs])
    logits = decode_rows(writings[0].model, tokens, [need.cache for need in needs])
    for writing, row in zip(writings, logits, strict=True):
        writing.supply(row)


@torch.inference_mode()
def decode_rows(model: Decoder, tokens: Tensor, caches: Sequence[Cache]) -> Tensor:
    """One more token (B, 1) for each of several texts, each with its own cache -> the logits of the next (B, V)."""
    hidden = model.hidden(tokens.to(model.embed.weight.device), Rows(caches))
    return model.logits(hidden[:, 0]).cpu()


def is_row_wise(model: Decoder) -> bool:
    """Whether each row of a product is computed alike however many there are: packed layers do so on CPUs.

    Plain ones do not: of one row torch makes a product with a vector, of several one of matrices, which sums in another
    order. On a GPU nothing is promised, and all go together.
    """
    if model.embed.weight.device.type != "cpu":
        return True
    return not any(isinstance(module, nn.Linear) for module in model.modules())
