"""What exhibits of models that write have in common: a prompt as tokens, a run over them, and next-word candidates.

B batch, T tokens, W model width, V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.exhibit import Prompt
from reverie.explain.tunes import in_words
from reverie.types import ReverieError

MOST_TOKENS = 96  # of a prompt that is read for an exhibit; a longer one is cut, and the exhibit says so


@dataclass(frozen=True)
class Reading:
    """A prompt as an exhibit reads it. tokens: (1, T), where the model is. notes: what was left out."""

    tokens: Tensor
    texts: list[str]
    notes: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def name(self, place: int) -> str:
        """A token to be spoken of: its text and its place, counted from 0."""
        return f"{quoted(self.texts[place])} (token {place})"


def quoted(text: str) -> str:
    """A token between quotation marks, without the space before it, line breaks to be seen."""
    bare = text.removeprefix(" ") if text.strip() else text.replace(" ", "␣")
    return f"“{bare}”".replace("\n", "⏎")


def legible(data: bytes) -> str:
    """Bytes as text; those that are no character of their own as <0xE4>."""
    text = data.decode("utf-8", "surrogateescape")
    return "".join(f"<0x{ord(char) - 0xDC00:02X}>" if 0xDC80 <= ord(char) <= 0xDCFF else char for char in text)


def percent(share: float) -> str:
    """0.123 -> "12%"; small shares with more digits."""
    if 0 < share < 1e-5:
        return "less than 0.001%"
    return f"{100 * share:.0f}%" if share >= 0.1 else f"{100 * share:.2g}%"


def read(model: Model, prompt: Prompt, most_tokens: int = MOST_TOKENS) -> Reading:
    """The tokens of a prompt, at most the newest `most_tokens`."""
    ids = model.medium.encode(in_words(model, prompt))
    if not ids:
        raise ReverieError("The prompt is empty: give at least one word.")
    most, notes = min(most_tokens, model.context_tokens), list[str]()
    if len(ids) > most:
        notes.append(f"The prompt has {len(ids):,} tokens; only its last {most} were read here.")
    ids = ids[-most:]
    tokens = torch.tensor([ids], device=model.core.embed.weight.device)  # (1, T)
    return Reading(tokens, [model.medium.tokenizer.token_text(token) for token in ids], notes)


def place_in(num: int, place: int, what: str) -> int:
    """An index as a place from 0; a negative one counts from the end."""
    if not -num <= place < num:
        raise ReverieError(f"{what} is {place}: give a number from 0 to {num - 1}, or from -1 back to -{num}.")
    return place % num


@torch.inference_mode()
def next_logits(model: Model, tokens: Tensor) -> Tensor:
    """The logits of what follows tokens (1, T): (V,) float32."""
    logits: Tensor = model.core.logits(model.core.hidden(tokens, last_only=True)[0, -1:])[0]  # (V,)
    return logits


def lens(model: Model, residual: Tensor) -> Tensor:
    """What the head would make of states inside the model (N, W): logits (N, V), as after the last layer."""
    parts: list[Tensor] = [model.core.logits(model.core.norm(rows)) for rows in residual.split(64)]
    return torch.cat(parts)  # by 64, for which packed weights need not be made wide


def likeliest(model: Model, logits: Tensor, num: int) -> list[dict[str, Any]]:
    """The likeliest next tokens of logits (V,): id, text, logit and probability, the best first."""
    best = logits.topk(min(num, len(logits)))
    return candidates(model, logits, best.indices.tolist())


def candidates(model: Model, logits: Tensor, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The given tokens as candidates: id, text, logit and probability."""
    total, show = logits.logsumexp(-1), model.medium.tokenizer.token_text
    values = logits[torch.tensor(ids)]
    shares = (values - total).exp().tolist()
    return [
        {"id": token, "text": show(token), "logit": logit, "probability": share}
        for token, logit, share in zip(ids, values.tolist(), shares, strict=True)
    ]
