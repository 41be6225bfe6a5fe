"""Saliency: how much each word of the prompt speaks for the next one (gradient x input, arXiv:1605.01713).

T tokens, W model width, V vocabulary
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from reverie.engine import Model
from reverie.explain.capture import changed
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import candidates, likeliest, place_in, quoted, read
from reverie.lm.pack import FEW_ROWS, PackedLinear


@maker(
    "saliency",
    title="Saliency",
    question="Which words of the prompt speak for the next word, and which against it?",
    family="lm",
)
def saliency(model: Model, prompt: Prompt, *, candidate: int = 0) -> Shown:
    """Gradient times input: the effect of each token's embedding on one candidate's logit, to the first order.

    candidate: which one, 0 is the likeliest. data: tokens, target (the candidate), scores (T,): above 0 speaks for it,
    below against it; shares (T,): their absolute values over the sum of these.
    """
    reading = read(
        model, prompt, FEW_ROWS
    )  # up to there packed layers work by operations that can be gone back through
    embedded, logits = _followed(model, reading.tokens)
    target = likeliest(model, logits.detach(), 20)[place_in(20, candidate, "candidate")]
    (gradient,) = torch.autograd.grad(logits[target["id"]], embedded)  # (1, T, W)
    scores = (gradient.float() * embedded.detach().float()).sum(-1)[0].cpu()  # (T,)
    shares = scores.abs() / scores.abs().sum().clamp_min(1e-12)
    best, worst = int(scores.argmax()), int(scores.argmin())
    says = [f"For {quoted(target['text'])} as the next word, {reading.name(best)} speaks most."]
    if scores[worst] < 0:
        says.append(f"{reading.name(worst)} speaks most against it.")
    says.append("This is a straight-line estimate: it says what a small change of each word would do, not a large one.")
    data = {"tokens": reading.texts, "target": candidates(model, logits.detach(), [target["id"]])[0]}
    return data | {"scores": scores, "shares": shares}, says + reading.notes


@torch.enable_grad()
def _followed(model: Model, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The embedded tokens (1, T, W) and the next token's logits (V,), which can be differentiated by them."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().clone().requires_grad_())
        return kept[-1]

    with ExitStack() as stack:
        stack.enter_context(changed(model.core.embed, keep))
        for module in model.core.modules():
            if isinstance(module, PackedLinear):
                stack.enter_context(changed(module, _with_gradient))
        logits = model.core.logits(model.core.hidden(tokens, last_only=True)[0, -1:])[0]
    return kept[0], logits


def _with_gradient(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    made: Tensor = _Packed.apply(inputs[0], output.detach(), layer)  # type: ignore[no-untyped-call]
    return made


class _Packed(torch.autograd.Function):
    """A packed layer's output as it is, and its gradient by the weights that the packed ones stand for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, output: Tensor, layer: PackedLinear) -> Tensor:
        ctx.layer = layer
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        weight = ctx.layer.weight()
        return gradient.to(weight.dtype) @ weight, None, None
