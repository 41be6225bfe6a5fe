"""The denoiser's network: a transformer that reads a prompt once, and then sees it beside all noisy frames.

`family.denoise` turns what it says into the clean sample. The patches of all frames are one sequence; a single picture
is a clip of one frame. The prompt goes through the same blocks, but sees only itself and no time; so what patches see
of it, its keys and values, stays the same from look to look. Time reaches every block by shifts, scales and gates, most
of whose weights all blocks share (adaLN-single, arXiv:2310.00426, section 2.2).

B batch, C channels, F frames, H x W picture in model space, P patch, N = H/P W/P patches of a frame, T prompt tokens,
S tokens that can be seen, L blocks, E width of the prompt's states, D width, d of a head, M rows of modulation
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.layers import MLP, Attention, Found, Memory, rope_frequencies, rope_table

TIME_FEATURES = 256
ROPE_THETA = 100.0  # pictures are a few dozen patches wide
MODULATIONS = 6  # shift, scale and gate of attention, then of the MLP
EPS = 1e-6

Rope = tuple[Tensor, Tensor]  # cos and sin, of `rope_table`


class Read(NamedTuple):
    """A prompt as the blocks see it. mean (B, D): of its tokens; mask (B, T); keys, values (B, L, H, T, d)."""

    mean: Tensor
    mask: Tensor
    keys: Tensor
    values: Tensor


class Reading:
    """Keeps what a block makes of the prompt: a `layers.Memory`."""

    def __init__(self) -> None:
        self.found: tuple[Tensor, ...] = ()

    def extend(self, _: int, k: Tensor, v: Tensor) -> Found:
        """Keeps keys and values, and lets the prompt see no more than that."""
        self.found = (k, v)
        return k, v


class Recalling:
    """Shows what a block made of the prompt, (B, H, T, d) each, beside the patches: a `layers.Memory`."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values

    def extend(self, _: int, k: Tensor, v: Tensor) -> Found:
        """The prompt's first."""
        return torch.cat((self._keys, k), 2), torch.cat((self._values, v), 2)


@dataclass(frozen=True)
class DenoiserConfig:
    """What the transformer is built from; sides are in model space (pixels, or latents of a codec)."""

    channels: int = 16
    num_frames: int = 1
    side: int = 16
    patch: int = 2
    width: int = 320
    depth: int = 10
    num_heads: int = 5
    mlp_width: int = 1280
    prompt_width: int = 384

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(C, F, H, W) of one sample."""
        return (self.channels, self.num_frames, self.side, self.side)


class DenoiserBlock(nn.Module):
    """Attention and MLP, each gated, and what it is given shifted and scaled, by the time of each frame."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        heads = config.num_heads
        self.attention = Attention(config.width, heads, heads, config.width // heads, qk_norm_eps=EPS)
        self.mlp = MLP(config.width, config.mlp_width, "relu2", gated=False)
        self.modulation = nn.Parameter(torch.zeros(MODULATIONS, config.width))  # this block's own part

    def forward(
        self, x: Tensor, time: Tensor, rope: Rope | None, mask: Tensor, memory: Memory, *, attends: bool = True
    ) -> Tensor:
        """x (B, F, N, D), time (B, F, M, D) -> (B, F, N, D), with all F N tokens in one sequence.

        mask: True where a token may be seen, (B, 1, ..., S). memory: where the prompt's keys and values come from, or
        are left. attends: whether tokens see each other at all.
        """
        parts = (time + self.modulation).to(x.dtype)[:, :, :, None].unbind(2)  # M of (B, F, 1, D)
        if attends:
            seen = self.attention(modulated(x, *parts[:2]).flatten(1, 2), rope, mask, memory=memory)
            x = torch.addcmul(x, parts[2], seen.view_as(x))
        return torch.addcmul(x, parts[5], self.mlp(modulated(x, *parts[3:5])))


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x at unit RMS along its width, times (1 + scale), plus shift: arXiv:2212.09748, figure 3."""
    return torch.addcmul(shift, F.rms_norm(x, x.shape[-1:], eps=EPS), 1 + scale)


class Denoiser(nn.Module):
    """(x_t, t, prompt) -> what `family.denoise` needs to guess x0."""

    blocks_are_alike = True  # one program for all of them: see `train.compute.compile_model`

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        width, patch_width = config.width, config.channels * config.patch**2
        self.embed = nn.Linear(patch_width, width)
        self.prompt_embed = nn.Linear(config.prompt_width, width)
        self.time_embed = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.time_modulation = nn.Linear(width, MODULATIONS * width)
        self.blocks = nn.ModuleList(DenoiserBlock(config) for _ in range(config.depth))
        self.head_modulation = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, patch_width)

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor, mask: Tensor) -> Tensor:
        """x (B, C, F, H, W), prompt (B, T, E), mask (B, T) True where a token is; t from 0 (clean) to 1 (noise).

        t is (B,), or (B, F) where frames differ. Gives something of the shape of x.
        """
        return self.look(x, t, self.read(prompt, mask))

    def read(self, prompt: Tensor, mask: Tensor) -> Read:
        """What every look is told of the prompt, at the time of what is clean."""
        words = self.prompt_embed(prompt.to(self.embed.weight.dtype))[:, None]  # (B, 1, T, D)
        kept = mask[:, None, :, None].to(words.dtype)
        mean = (words * kept).sum((1, 2)) / kept.sum((1, 2)).clamp_min(1)  # (B, D)
        modulation = self._modulation(self._time(torch.zeros_like(mean[:, :1]), mean))
        # Where there is no word, a place sees itself, so that it stays a number; nobody sees it.
        seen = mask[:, None, None] | torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        readings = [Reading() for _ in self.blocks]
        for block, reading in zip(self.blocks, readings, strict=True):
            words = block(words, modulation, None, seen, reading)
        keys, values = (torch.stack(each, 1) for each in zip(*(reading.found for reading in readings), strict=True))
        return Read(mean, mask, keys, values)

    def look(self, x: Tensor, t: Tensor, told: Read, *, blind: int | None = None, alone: bool = False) -> Tensor:
        """As `forward`, told what `read` gave.

        blind: the number of a block that does without its attention. alone: each frame sees itself and the prompt, no
        other frame; it still knows its number.
        """
        frames, shape, rope = x.shape[2], x.shape, self._rope(x)
        t = t if t.ndim == 2 else t[:, None].expand(-1, frames)
        if alone:  # so every frame is a sample of its own
            x, t, told, rope = _apart(x, t, told, rope)
        h = self.embed(to_patches(x.to(self.embed.weight.dtype), self.config.patch)).unflatten(1, (x.shape[2], -1))
        time = self._time(t, told.mean)  # (B, F, D)
        modulation = self._modulation(time)
        seen = F.pad(told.mask, (0, x.shape[2] * h.shape[2]), value=True)[:, None, None]
        recalled = map(Recalling, told.keys.unbind(1), told.values.unbind(1))
        for number, (block, found) in enumerate(zip(self.blocks, recalled, strict=True)):
            h = block(h, modulation, rope, seen, found, attends=number != blind)
        shift, scale = self.head_modulation(time)[:, :, None].chunk(2, -1)
        h = self.head(modulated(h, shift, scale))  # (B, F, N, C P P)
        return from_patches(h.reshape(shape[0], -1, h.shape[-1]), shape, self.config.patch)

    def _time(self, t: Tensor, mean: Tensor) -> Tensor:
        """What every block is told: times (B, F), and the mean of the prompt's tokens (B, D). (B, F, D)"""
        features = time_features(t, TIME_FEATURES).to(mean.dtype)
        told: Tensor = F.silu(self.time_embed(features) + mean[:, None])
        return told

    def _modulation(self, time: Tensor) -> Tensor:
        """The part that all blocks share: (B, F, D) -> (B, F, M, D)."""
        rows: Tensor = self.time_modulation(time).unflatten(-1, (-1, self.config.width))
        return rows

    def _rope(self, x: Tensor) -> Rope:
        """Frame, row and column of a patch turn a third each of a head's width; words stand at the origin."""
        sides = (x.shape[2], x.shape[3] // self.config.patch, x.shape[4] // self.config.patch)
        grid = torch.cartesian_prod(*(torch.arange(side, device=x.device) for side in sides))  # (F N, 3)
        cos, sin = rope_table(grid, axis_frequencies(self._head_width).to(x.device))
        dtype = self.embed.weight.dtype
        return cos.to(dtype), sin.to(dtype)

    @property
    def _head_width(self) -> int:
        return self.config.width // self.config.num_heads


def _apart(x: Tensor, t: Tensor, told: Read, rope: Rope) -> tuple[Tensor, Tensor, Read, Rope]:
    """Samples, times, what is told of them and places: B samples of F frames as B F samples of one."""
    B, _, frames, _, _ = x.shape
    cos, sin = (part.unflatten(0, (frames, 1, -1)).repeat(B, 1, 1, 1) for part in rope)  # (B F, 1, N, d)
    of_each = Read(*(part.repeat_interleave(frames, 0) for part in told))
    return x.transpose(1, 2).flatten(0, 1)[:, :, None], t.reshape(-1, 1), of_each, (cos, sin)


def axis_frequencies(head_width: int) -> Tensor:
    """(3, head_width / 2): pairs of channels are dealt to frame, row and column in turn, 0 for the other two axes."""
    pairs = head_width // 2
    owner = torch.arange(pairs) % 3
    steps = math.ceil(pairs / 3)
    speed = rope_frequencies(2 * steps, ROPE_THETA)[torch.arange(pairs) // 3]
    return torch.where(owner == torch.arange(3)[:, None], speed, 0.0)


def time_features(t: Tensor, width: int) -> Tensor:
    """cos and sin of t at `width` / 2 frequencies from 1 to 1000: (...) -> (..., width) float32 (arXiv:1706.03762)."""
    frequencies = 1000 ** torch.linspace(0, 1, width // 2, device=t.device)
    angles = t.float()[..., None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), -1)


def to_patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, F, H, W) -> (B, F N, C P P): patches in rows, frame after frame."""
    B, C, frames, H, W = x.shape
    x = x.view(B, C, frames, H // patch, patch, W // patch, patch)
    return x.permute(0, 2, 3, 5, 1, 4, 6).reshape(B, -1, C * patch * patch)


def from_patches(x: Tensor, shape: torch.Size, patch: int) -> Tensor:
    """The inverse of `to_patches`."""
    B, C, frames, H, W = shape
    x = x.view(B, frames, H // patch, W // patch, C, patch, patch)
    return x.permute(0, 4, 1, 2, 5, 3, 6).reshape(shape)
