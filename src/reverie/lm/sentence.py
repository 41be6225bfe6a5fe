"""Texts as vectors: an encoder's states, averaged; near vectors mean alike (Sentence-BERT, arXiv:1908.10084).

B texts, T tokens, W width
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from reverie.types import ReverieError


class SentenceEncoder:
    """Reads whole texts. states: token ids (B, T) -> (B, T, W). tokenise: a text as ids. max_tokens: of the longest."""

    def __init__(
        self, states: Callable[[Tensor], Tensor], tokenise: Callable[[str], list[int]], max_tokens: int
    ) -> None:
        self._states, self._tokenise, self.max_tokens = states, tokenise, max_tokens

    def tokens(self, text: str) -> list[int]:
        """A text as ids; one that is too long is a `ReverieError`."""
        ids = self._tokenise(text)
        if len(ids) > self.max_tokens:
            raise ReverieError(f"A text has {len(ids):,} tokens: send it in parts of at most {self.max_tokens:,}.")
        return ids

    @torch.inference_mode()
    def embed(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Texts as ids -> vectors of length 1 (B, W), float32. None depends on the others that it is read with."""
        by_length = defaultdict(list)
        for place, ids in enumerate(texts):
            by_length[len(ids)].append(place)
        found: dict[int, Tensor] = {}
        for places in by_length.values():
            means = self._states(torch.tensor([texts[place] for place in places])).float().mean(1)  # (B', W)
            found |= zip(places, F.normalize(means, dim=-1), strict=True)
        return torch.stack([found[place] for place in range(len(texts))])
