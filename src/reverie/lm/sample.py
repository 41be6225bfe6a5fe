"""From logits to a token: small pure functions, applied in a fixed order.

V vocabulary; logits are float32 (V,), one sample at a time; what must not be chosen becomes -inf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reverie.types import LMRequest, ReverieError


def repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Makes tokens already seen less likely: positive logits are divided, negative multiplied (arXiv:1909.05858)."""
    scores = logits[seen]
    return logits.index_put((seen,), torch.where(scores > 0, scores / penalty, scores * penalty))


def frequency_penalty(logits: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Takes `penalty` off a token's logit for each time it was written."""
    return logits.index_put((written,), torch.full((len(written),), -penalty), accumulate=True)


def presence_penalty(logits: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Takes `penalty` off the logit of every token that was written at all."""
    return frequency_penalty(logits, written.unique(), penalty)


def logit_bias(logits: Tensor, bias: Mapping[int, float]) -> Tensor:
    """Adds each token's own number to its logit."""
    tokens = torch.tensor(list(bias))
    if not ((tokens >= 0) & (tokens < len(logits))).all():
        raise ReverieError(f"A token of the logit bias is not in the vocabulary: give ids from 0 to {len(logits) - 1}.")
    return logits.index_put((tokens,), torch.tensor(list(bias.values())), accumulate=True)


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keeps the k likeliest."""
    if k >= len(logits):
        return logits
    return logits.masked_fill(logits < logits.topk(k).values[-1], -torch.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keeps the smallest set of likeliest tokens whose probabilities reach p (nucleus sampling, arXiv:1904.09751)."""
    probabilities = logits.softmax(-1)
    candidates = probabilities.topk(min(1024, len(logits))).values  # almost always enough, and far cheaper than a sort
    if candidates.sum() < p:
        candidates = probabilities.sort(descending=True).values
    likelier = candidates.cumsum(0) - candidates  # what those before it add up to
    num_kept = max(1, int((likelier < p).sum()))
    return logits.masked_fill(probabilities < candidates[num_kept - 1], -torch.inf)


def min_p(logits: Tensor, p: float) -> Tensor:
    """Keeps tokens at least p times as likely as the likeliest (arXiv:2407.01082)."""
    return logits.masked_fill(logits < logits.max() + torch.tensor(p).log(), -torch.inf)


def adjust(logits: Tensor, prompt: Sequence[int], written: Sequence[int], request: LMRequest) -> Tensor:
    """Penalties and bias: changes that also matter to a greedy choice."""
    if request.repetition_penalty != 1:
        logits = repetition_penalty(logits, torch.tensor([*prompt, *written]).unique(), request.repetition_penalty)
    if request.frequency_penalty and written:
        logits = frequency_penalty(logits, torch.tensor(written), request.frequency_penalty)
    if request.presence_penalty and written:
        logits = presence_penalty(logits, torch.tensor(written), request.presence_penalty)
    return logit_bias(logits, request.logit_bias) if request.logit_bias else logits


def narrow(logits: Tensor, request: LMRequest) -> Tensor:
    """Temperature, then the filters: the logits of the distribution that is drawn from."""
    logits = logits / request.temperature
    if request.top_k:
        logits = top_k(logits, request.top_k)
    if request.top_p < 1:
        logits = top_p(logits, request.top_p)
    return min_p(logits, request.min_p) if request.min_p else logits


def draw(logits: Tensor, rng: torch.Generator) -> int:
    """One token, by inverting the cumulative distribution at one uniform number."""
    cumulative = logits.double().softmax(-1).cumsum(0)
    uniform = torch.rand(1, generator=rng, dtype=torch.float64) * cumulative[-1]
    return min(int(torch.searchsorted(cumulative, uniform, right=True)), len(logits) - 1)


def choose(logits: Tensor, request: LMRequest, rng: torch.Generator) -> int:
    """The next token: the likeliest when temperature is 0, else drawn."""
    return int(logits.argmax()) if request.temperature == 0 else draw(narrow(logits, request), rng)


def logprobs(logits: Tensor, token: int, num: int) -> tuple[float, list[tuple[int, float]]]:
    """The log-probability of a token, and the `num` likeliest with theirs, as the model says (temperature 1)."""
    values = logits.log_softmax(-1)
    best = values.topk(min(num, len(values)))
    return float(values[token]), list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
