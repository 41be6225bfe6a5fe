"""What if: a head or a layer switched off, or a word swapped, and what the model says then.

B batch, T tokens, H heads, D width of a head, W model width, V vocabulary
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.capture import changed
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.inside import checked_head, checked_layer
from reverie.explain.reading import candidates, likeliest, percent, quoted, read
from reverie.types import Message, ReverieError

SHOWN = 10


@maker(
    "what-if",
    title="What if",
    question="What changes when a part of the model is switched off, or a word is another?",
    family="lm",
)
def what_if(
    model: Model,
    prompt: Prompt,
    *,
    layer: int | None = None,
    head: int | None = None,
    swap: str | None = None,
    to: str = "",
) -> Shown:
    """The next-token candidates before and after one change, or several at once.

    layer: switched off, so that what goes in comes out; with `head`, only that head of it adds nothing. swap, to: the
    first is replaced by the second wherever it stands in the prompt.
    data: tokens, tokens_after; before [candidates], after [candidates]: the likeliest 10 of each; changes [{"id",
    "text", "before", "after"}]: probabilities of all in either list; divergence_bits: Kullback-Leibler's.
    """
    if head is not None and layer is None:
        raise ReverieError("Which head is meant depends on the layer: give the layer too.")
    if layer is None and swap is None:
        raise ReverieError("Nothing is changed: give a layer, a layer and a head, or a word to swap and what to.")
    swapped = prompt if swap is None else _swapped(prompt, swap, to)
    reading, other = read(model, prompt), read(model, swapped)
    before = _logits(model, reading.tokens)
    with _switched_off(model, layer, head):
        after = _logits(model, other.tokens)
    both = [likeliest(model, logits, SHOWN) for logits in (before, after)]
    ids = list(dict.fromkeys(row["id"] for rows in both for row in rows))
    pairs = zip(candidates(model, before, ids), candidates(model, after, ids), strict=True)
    changes = [
        {"id": a["id"], "text": a["text"], "before": a["probability"], "after": b["probability"]} for a, b in pairs
    ]
    old, new = before.log_softmax(-1), after.log_softmax(-1)
    divergence = float((old.exp() * (old - new)).sum()) / torch.tensor(2.0).log().item()
    data = {
        "tokens": reading.texts,
        "tokens_after": other.texts,
        "before": both[0],
        "after": both[1],
        "changes": changes,
        "divergence_bits": divergence,
    }
    return data, _says(_what(layer, head, swap, to), data) + reading.notes


def _swapped(prompt: Prompt, swap: str, to: str) -> Prompt:
    texts = [prompt] if isinstance(prompt, str) else [message.content for message in prompt]
    if not swap or not any(swap in text for text in texts):
        raise ReverieError(f"{swap[:80]!r} is not in the prompt: give a word to swap that stands in it.")
    if isinstance(prompt, str):
        return prompt.replace(swap, to)
    return [Message(message.role, message.content.replace(swap, to)) for message in prompt]


def _switched_off(model: Model, layer: int | None, head: int | None) -> AbstractContextManager[None]:
    if layer is None:
        return nullcontext()
    block = model.core.blocks[checked_layer(model, layer)]
    if head is None:
        return changed(block, lambda _, inputs, output: inputs[0])
    width, start = model.core.config.head_width, checked_head(model, head) * model.core.config.head_width

    def silence(_: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        heads = inputs[0].clone()  # (B, T, H D): what the heads bring, side by side
        heads[..., start : start + width] = 0
        return (heads,)

    return changed(block.attention.out, silence, before=True)


@torch.inference_mode()
def _logits(model: Model, tokens: Tensor) -> Tensor:
    """The logits of what comes next (V,); every layer at full length, for what is switched off to fit."""
    logits: Tensor = model.core.logits(model.core.hidden(tokens)[0, -1:])[0].cpu()
    return logits


def _what(layer: int | None, head: int | None, swap: str | None, to: str) -> str:
    parts = [] if swap is None else [f"{quoted(swap)} swapped for {quoted(to)}"]
    if layer is not None:
        parts.append(f"layer {layer} switched off" if head is None else f"head {head} of layer {layer} switched off")
    return " and ".join(parts)


def _says(what: str, data: dict[str, Any]) -> list[str]:
    old, new = data["before"][0], data["after"][0]
    most = max(data["changes"], key=lambda row: abs(row["after"] - row["before"]))
    says = [
        f"Before, the model says {quoted(old['text'])} ({percent(old['probability'])}).",
        f"With {what}, it says {quoted(new['text'])} ({percent(new['probability'])}).",
    ]
    if most["before"] != most["after"]:
        says.append(
            f"{quoted(most['text'])} changes most, from {percent(most['before'])} to {percent(most['after'])}; "
            f"the two answers are {data['divergence_bits']:.2g} bits apart."
        )
    return says
