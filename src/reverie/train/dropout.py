"""Dropout: parts of what a block adds are left out at random, against learning by heart (arXiv:1207.0580)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from reverie.layers import MLP, Attention


def add_dropout(model: nn.Module, share: float) -> None:
    """While `model` trains, `share` of the channels that its attentions and MLPs give are zero, the rest larger."""
    for module in model.modules():
        if isinstance(module, Attention | MLP):
            module.register_forward_hook(partial(_drop, share))


def _drop(share: float, module: nn.Module, given: Any, out: Tensor) -> Tensor:
    return F.dropout(out, share, module.training)
