"""Heads that do something nameable, found by themselves (induction heads: arXiv:2209.11895).

L layers, H heads, T tokens
"""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.inside import attention_weights
from reverie.explain.reading import percent, read

REPEATED = 24  # tokens at random, read twice
PROBE = (
    "They are found with random tokens that are read twice, so every prompt finds the same; what they do in yours "
    "stands beside."
)
SURE = 0.4  # a head is called by a name when it gives so much of its attention to what the name says

KINDS = {
    "previous": "looks at the token just before",
    "first": "looks at the first token: it has nothing to do here",
    "same": "looks at an earlier copy of the same token",
    "induction": "finds an earlier copy of the token and looks at what came after it",
}


@maker(
    "heads",
    title="Heads with a job",
    question="What do single attention heads do?",
    family="lm",
    version=2,
)
def heads(model: Model, prompt: Prompt) -> Shown:
    """How much each head does four simple things, measured on random tokens read twice; and the best of them at work.

    data: tokens; kinds {name: {"does", "scores" (L, H), "best" [{"layer", "head", "score", "here"}], "num_sure"}}: the
    score is the mean share of attention, 0 to 1, on the random tokens, and `here` that on the prompt, None where the
    prompt has nothing to be found; weights {name: (T, T)}: the best head of each kind, on the prompt.
    """
    reading, scores = read(model, prompt), _scores(model)
    weights = attention_weights(model, reading.tokens)
    here = job_scores(weights, reading.tokens[0].cpu())
    kinds, maps, says = {}, {}, [PROBE]
    for name, score in scores.items():
        best = [divmod(place, score.shape[1]) for place in score.flatten().topk(min(3, score.numel())).indices.tolist()]
        num_sure = int((score > SURE).sum())
        kinds[name] = {
            "does": KINDS[name],
            "scores": score,
            "best": [
                {
                    "layer": layer,
                    "head": head,
                    "score": float(score[layer, head]),
                    "here": float(here[name][layer, head]),
                }
                for layer, head in best
            ],
            "num_sure": num_sure,
        }
        layer, head = best[0]
        maps[name] = weights[layer, head]
        says.append(
            f"Layer {layer}, head {head} {KINDS[name]}, with {percent(float(score[layer, head]))} of its attention; "
            f"{num_sure} of {score.numel()} heads do so with more than {percent(SURE)}. "
            f"{_here(float(here[name][layer, head]))}"
        )
    return {"tokens": reading.texts, "kinds": kinds, "weights": maps}, says + reading.notes


def _here(share: float) -> str:
    """What the head does on the prompt; NaN: it has no occasion."""
    return "In your prompt there is nothing for it." if math.isnan(share) else f"In your prompt: {percent(share)}."


_KNOWN: WeakKeyDictionary[nn.Module, dict[str, Tensor]] = WeakKeyDictionary()


def _scores(model: Model) -> dict[str, Tensor]:
    """Kind -> how much each head does it (L, H); a property of the model, so measured once."""
    if model.core not in _KNOWN:
        tokens = _random_twice(model)
        _KNOWN[model.core] = job_scores(attention_weights(model, tokens), tokens[0].cpu())
    return _KNOWN[model.core]


def job_scores(weights: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """Kind -> score (L, H), from the attention (L, H, T, T) to tokens (T,): the mean share of it that goes where the
    kind says, over the tokens that have such a place; NaN where none has.
    """
    return {name: _score(weights, places) for name, places in _places(tokens).items()}


def _score(weights: Tensor, places: Tensor) -> Tensor:
    return (weights * places).sum(-1)[..., places.any(-1)].mean(-1)  # (L, H)


def _places(tokens: Tensor) -> dict[str, Tensor]:
    """Kind -> where each token would look, (T, T) booleans. The first token counts for its own kind alone."""
    row, column = torch.arange(len(tokens))[:, None], torch.arange(len(tokens))
    before = (column > 0) & (column < row)
    copies = (tokens[:, None] == tokens) & before
    return {
        "previous": (column == row - 1) & before,
        "first": (column == 0) & (row > 1),  # token 1's previous token is the first
        "same": copies,
        "induction": copies.roll(1, 1) & before,
    }


def _random_twice(model: Model) -> Tensor:
    """Tokens at random, then the same again (1, 2N): nothing to understand, only to find again."""
    tokenizer, rng = model.medium.tokenizer, torch.Generator().manual_seed(0)
    num = min(REPEATED, model.context_tokens // 2)
    ids = torch.randperm(min(tokenizer.vocab_size, model.core.config.vocab_size), generator=rng).tolist()
    named = set(tokenizer.control.values())
    chosen = [token for token in ids[: 20 * num] if token not in named and tokenizer.token_bytes(token)][:num]
    return torch.tensor([chosen * 2], device=model.core.embed.weight.device)
