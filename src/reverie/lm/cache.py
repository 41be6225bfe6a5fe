"""The KV cache: what attention needs of earlier tokens, so that each token passes through the model once.

B batch, G key-value heads, T new tokens, S tokens so far, D width of a head
"""

from __future__ import annotations

from torch import Tensor


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
        end = self.length + k.shape[2]
        if layer == len(self._layers):
            self._layers.append((self._buffer(k, end), self._buffer(v, end)))
        keys, values = self._layers[layer]
        if end > keys.shape[2]:
            keys, values = self._grown(keys, end), self._grown(values, end)
            self._layers[layer] = keys, values
        keys[:, :, self.length : end] = k
        values[:, :, self.length : end] = v
        return keys[:, :, :end], values[:, :, :end]

    def _buffer(self, like: Tensor, end: int) -> Tensor:
        B, G, _, D = like.shape
        return like.new_empty(B, G, max(self._capacity, end), D)

    def _grown(self, buffer: Tensor, end: int) -> Tensor:
        B, G, S, D = buffer.shape
        grown = buffer.new_empty(B, G, max(2 * S, end), D)
        grown[:, :, : self.length] = buffer[:, :, : self.length]
        return grown
