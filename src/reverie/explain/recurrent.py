"""All at once: attention reads a prompt in one parallel pass, a recurrent network one word after another; measured.

T tokens, W model width, P parameters
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import nn

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.hub.checkpoint import skeleton
from reverie.layers import Block
from reverie.types import ReverieError

LENGTHS = (8, 16, 32, 64, 128, 256, 512)
MOST_PARAMETERS = 20_000_000  # of a layer that is run here


@maker(
    "all-at-once",
    title="All at once",
    question="Why can a transformer read a whole prompt at once, where a recurrent network goes word by word?",
    family="lm",
)
@torch.inference_mode()
def all_at_once(model: Model, prompt: Prompt, *, budget_seconds: float = 1.5) -> Shown:
    """The time that one layer of this model's shape takes for prompts of growing length, and an LSTM of equal size.

    budget_seconds: measuring stops there. Both have random weights, in float32: the time is the same for any.
    data: runs [{"tokens", "attention_seconds", "recurrent_seconds", "attention_steps": 1, "recurrent_steps": tokens}],
    attention_parameters, recurrent_parameters, width, threads.
    """
    if not 0.1 <= budget_seconds <= 10:
        raise ReverieError(f"budget_seconds is {budget_seconds:g}: give a number from 0.1 to 10.")
    block, lstm = _pair(model)
    runs, began = [], time.perf_counter()
    for length in LENGTHS:
        x = torch.zeros(1, length, model.core.config.width)  # (1, T, W)
        both = _quickest(lambda x=x: block(x, causal=True)), _quickest(lambda x=x: lstm(x))  # type: ignore[misc]
        runs.append(
            {
                "tokens": length,
                "attention_seconds": both[0],
                "recurrent_seconds": both[1],
                "attention_steps": 1,
                "recurrent_steps": length,
            }
        )
        if time.perf_counter() - began > budget_seconds / 3:  # the next one takes about as long as all before
            break
    longest = runs[-1]
    says = [
        f"For {longest['tokens']} tokens the layer with attention takes {1000 * longest['attention_seconds']:.3g} ms, "
        f"the LSTM of equal size {1000 * longest['recurrent_seconds']:.3g} ms.",
        f"Attention needs one step, whatever the length, in which all words are worked on together; the LSTM needs "
        f"{longest['tokens']}, since each waits for the state that the word before it left.",
        f"Measured on {torch.get_num_threads()} threads: the more can work side by side, the more attention gains.",
    ]
    data = {"runs": runs, "width": model.core.config.width, "threads": torch.get_num_threads()}
    return data | {"attention_parameters": _size(block), "recurrent_parameters": _size(lstm)}, says


def _pair(model: Model) -> tuple[Block, nn.LSTM]:
    """A layer in the model's shape, and an LSTM with as many parameters: 4 h (W + h + 2) for h cells."""
    block: Block = skeleton(model.core.config).blocks[0]  # type: ignore[assignment]
    size, width = _size(block), model.core.config.width
    if size > MOST_PARAMETERS:
        raise ReverieError("One layer of this model is too large to be measured beside an LSTM: use a smaller model.")
    cells = round((-(width + 2) + math.sqrt((width + 2) ** 2 + size)) / 2)
    block = block.to_empty(device="cpu").eval()
    for weight in block.parameters():
        weight.normal_(std=0.02)
    return block, nn.LSTM(width, cells, batch_first=True).eval()


def _size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _quickest(work: Callable[[], object], times: int = 2) -> float:
    """The least of some runs, in seconds."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
