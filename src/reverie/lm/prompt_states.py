"""Prompts as states: what a pretrained language model makes of each word, for another model to condition on.

B prompts, T tokens (fixed), L tokens of one prompt, E channels of a state
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from reverie.types import ReverieError

MAX_TOKENS = 32  # a sentence; a fixed number, so that what comes after has a fixed shape


class PromptEncoder:
    """Reads prompts.

    states: token ids (B, L) -> states (B, L, E), such as an `Encoder`. tokenise: a prompt as ids. width: E.
    name: of the model that reads.
    """

    def __init__(
        self, states: Callable[[Tensor], Tensor], tokenise: Callable[[str], list[int]], width: int, *, name: str = ""
    ) -> None:
        self.width, self.name = width, name
        self._states, self._tokenise = states, tokenise

    def num_tokens(self, prompt: str) -> int:
        """How many of the `MAX_TOKENS` states a prompt takes."""
        return len(self._tokenise(prompt))

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Prompts -> states (B, T, E) bfloat16, each of mean 0 and variance 1, and where they are (B, T) bool.

        The rest is zeros. A prompt's states do not depend on the others in the batch: those of one length are read
        together, without padding. A prompt of more than `MAX_TOKENS` tokens is a `ReverieError`.
        """
        states = torch.zeros(len(prompts), MAX_TOKENS, self.width, dtype=torch.bfloat16)
        mask = torch.zeros(len(prompts), MAX_TOKENS, dtype=torch.bool)
        for length, rows in self._by_length(prompts).items():
            places, ids = zip(*rows, strict=True)
            read = self._states(torch.tensor(ids))  # (B', L, E)
            states[list(places), :length] = F.layer_norm(read.float(), (self.width,)).bfloat16().cpu()
            mask[list(places), :length] = True
        return states, mask

    def _by_length(self, prompts: Sequence[str]) -> dict[int, list[tuple[int, list[int]]]]:
        """Number of tokens -> (place among the prompts, ids) of the prompts that have so many."""
        found = defaultdict(list)
        for place, prompt in enumerate(prompts):
            ids = self._tokenise(prompt)
            if len(ids) > MAX_TOKENS:
                raise ReverieError(f"The prompt has {len(ids)} tokens and {MAX_TOKENS} fit: say it more briefly.")
            found[len(ids)].append((place, ids))
        return found
