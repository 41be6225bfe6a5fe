"""Position: what is left of a sentence when the model is not told where its words stand.

T tokens, W model width, V vocabulary
"""

from __future__ import annotations

import random
import re
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.capture import changed
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import likeliest, percent, quoted, read
from reverie.explain.tunes import in_words
from reverie.types import ReverieError


@maker(
    "position",
    title="Position",
    question="How does the model know the order of words, and what would it see without?",
    family="lm",
)
def position(model: Model, prompt: Prompt, *, seed: int = 0) -> Shown:
    """The prompt and the same words in another order (the last stays last), read with positions and without.

    Without: no rotation of queries and keys (RoPE), no position vectors. seed: of the shuffle.
    data: prompt, shuffled; runs {"with": ..., "without": ...}, each {"before", "after" [5 candidates], "change": how
    far apart the two predictions are, 0 the same, 1 nothing in common (total variation), "similarity": cosine of the
    two states of the last token}.
    """
    text = in_words(model, prompt if isinstance(prompt, str) else prompt[-1].content)
    shuffled = _shuffled(text, seed)
    reading, other = read(model, text), read(model, shuffled)
    runs = {}
    for name in ("with", "without"):
        with ExitStack() as stack:
            if name == "without":
                _forget_positions(model, stack)
            runs[name] = _compared(model, reading.tokens, other.tokens)
    known, unknown = runs["with"], runs["without"]
    says = [
        f"In order, the model goes on with {quoted(known['before'][0]['text'])}; "
        f"shuffled to “{shuffled}”, with {quoted(known['after'][0]['text'])}.",
        f"The shuffle changes {percent(known['change'])} of its prediction; "
        f"when the model is not told positions, {percent(unknown['change'])}.",
        f"Without them it goes on with {quoted(unknown['before'][0]['text'])}, and shuffled with "
        f"{quoted(unknown['after'][0]['text'])}. A little order is left even so: a token sees only those before it.",
    ]
    return {"prompt": text, "shuffled": shuffled, "runs": runs}, says + reading.notes


def _shuffled(text: str, seed: int) -> str:
    words = text.split()
    if len(words) < 4 or len(set(words[:-1])) < 2:
        raise ReverieError("There is nothing to shuffle: give a sentence of at least four words.")
    rng, first = random.Random(seed), words[:-1]  # noqa: S311 - a shuffle, no secret
    while first == words[:-1]:
        rng.shuffle(first)
    return re.match(r"\s*", text)[0] + " ".join([*first, words[-1]])  # type: ignore[index]


def _forget_positions(model: Model, stack: ExitStack) -> None:
    """Until the stack ends, the model is not told where tokens stand."""
    for block in model.core.blocks:
        stack.enter_context(changed(block, lambda _, inputs: (inputs[0], None, *inputs[2:]), before=True))
    if model.core.positions is not None:
        stack.enter_context(changed(model.core.positions, lambda _, inputs, output: torch.zeros_like(output)))


@torch.inference_mode()
def _compared(model: Model, tokens: Tensor, others: Tensor) -> dict[str, Any]:
    states = [model.core.hidden(each)[0, -1:] for each in (tokens, others)]
    logits = [model.core.logits(state)[0].cpu() for state in states]
    shares = [each.softmax(-1) for each in logits]
    return {
        "before": likeliest(model, logits[0], 5),
        "after": likeliest(model, logits[1], 5),
        "change": float((shares[0] - shares[1]).abs().sum() / 2),
        "similarity": float(torch.cosine_similarity(states[0].float(), states[1].float())),
    }
