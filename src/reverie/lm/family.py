"""The decoder as a family: how it is built, learns and generates."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from reverie.lm.generate import Prompt, generate
from reverie.lm.model import Decoder, DecoderConfig, cross_entropy
from reverie.types import LMRequest, Step


class Autoregressive:
    """Predict the next token, given all the tokens before it."""

    def build(self, config: DecoderConfig) -> Decoder:
        """A decoder with fresh weights: normal, deviation 0.02, and zero where a block adds to what goes past it.

        So at first every block passes on what it gets, however many there are (Fixup, arXiv:1901.09321, section 3).
        """
        model = Decoder(config)
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                adds = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.0 if adds else 0.02)
        return model

    def loss(self, model: Decoder, batch: Tensor, condition: None, rng: torch.Generator) -> Tensor:
        """Mean nats a token of tokens (B, T), each predicted from those before it."""
        return cross_entropy(model(batch[:, :-1]), batch[:, 1:])

    def generate(self, model: Decoder, condition: Prompt, request: LMRequest, shape: tuple[int, ...]) -> Iterator[Step]:
        """Continues the prompt by up to shape[0] tokens, see `lm.generate.generate`."""
        return generate(model, condition, request, shape)
