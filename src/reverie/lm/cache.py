"""The KV cache: what attention needs of earlier tokens, so that each token passes through the model once.

B batch, G key-value heads, T new tokens, S tokens so far, D width of a head
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reverie.layers import causal_mask

View = tuple[Tensor | None, bool]  # a mask (B or 1, 1, T, S) or none, and whether plain causal attention says it all


class Cache:
    """Keys and values of every layer, in buffers that grow by doubling.

    length: tokens stored, the same for all rows. starts: (B,) where each row begins when prompts of different lengths
    were padded on the left; None when all rows begin at 0.
    """

    def __init__(self, starts: Tensor | None = None, *, capacity: int = 256) -> None:
        self.length = 0
        self.starts = None if starts is None or not starts.any() else starts
        self._capacity = capacity
        self._layers: list[tuple[Tensor, Tensor]] = []

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Stores k and v (B, G, T, D) after the tokens there are; gives all of the layer's (B, G, S, D)."""
        num, end = k.shape[2], self.length + k.shape[2]
        if layer == len(self._layers):
            self._layers.append((self._buffer(k, end), self._buffer(v, end)))
        keys, values = self._layers[layer]
        if end > keys.shape[2]:
            keys, values = self._grown(keys, end), self._grown(values, end)
            self._layers[layer] = keys, values
        keys.narrow(2, self.length, num).copy_(k)  # faster than slices, and done for each token, layer and text
        values.narrow(2, self.length, num).copy_(v)
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def positions(self, num: int, device: torch.device) -> Tensor:
        """Where the next `num` tokens stand: (1, T), or (B, T) when rows begin at different places."""
        positions = torch.arange(self.length, self.length + num, device=device)[None]
        return positions if self.starts is None else (positions - self.starts[:, None]).clamp_min(0)

    def view(self, num: int, device: torch.device, window: int = 0) -> View:
        """What the next `num` tokens see of those so far and of each other. window: how far back; 0 is all."""
        num_keys = self.length + num
        if self.starts is None and not (window and num_keys > window):
            if num == 1:
                return None, False  # the newest token sees everything
            if num == num_keys:
                return None, True
        mask = causal_mask(num, num_keys, device, window)[None, None]  # (1, 1, T, S)
        if self.starts is not None:
            keys = torch.arange(num_keys, device=device)
            queries = keys[num_keys - num :, None]
            # Padding sees itself, so that its softmax has something to sum to; nothing else sees padding.
            mask = mask & ((keys >= self.starts[:, None, None, None]) | (keys == queries))
        return mask, False

    def advance(self, num: int) -> None:
        """All layers have stored `num` tokens more."""
        self.length += num

    def _buffer(self, like: Tensor, end: int) -> Tensor:
        B, G, _, D = like.shape
        return like.new_empty(B, G, max(self._capacity, end), D)

    def _grown(self, buffer: Tensor, end: int) -> Tensor:
        B, G, S, D = buffer.shape
        grown = buffer.new_empty(B, G, max(2 * S, end), D)
        grown[:, :, : self.length] = buffer[:, :, : self.length]
        return grown


class Rows:
    """The caches of several texts as one: a row each, whose next token stands where its own text ends."""

    def __init__(self, caches: Sequence[Cache]) -> None:
        self._caches = caches

    def extend(self, layer: int, k: Tensor, v: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Stores each row of k and v (B, G, 1, D) in its own cache; gives all of the layer's, (1, G, S, D) a row."""
        rows = zip(self._caches, k.split(1), v.split(1), strict=True)
        return [cache.extend(layer, *row) for cache, *row in rows]

    def positions(self, num: int, device: torch.device) -> Tensor:
        """Where the next token of each row stands: (B, 1)."""
        return torch.cat([cache.positions(num, device) for cache in self._caches])

    def view(self, num: int, device: torch.device, window: int = 0) -> tuple[list[Tensor | None], bool]:
        """What the next token of each row sees: a mask (1, 1, 1, S) or none for each."""
        return [cache.view(num, device, window)[0] for cache in self._caches], False

    def advance(self, num: int) -> None:
        """All layers have stored `num` tokens more of each row."""
        for cache in self._caches:
            cache.advance(num)
