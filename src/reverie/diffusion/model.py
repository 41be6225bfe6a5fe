"""The denoiser's network: a transformer that sees prompt and noisy picture in one sequence.

`family.denoise` turns what it says into the clean picture. Time reaches every block by shifts, scales and gates, most
of whose weights all blocks share (adaLN-single, arXiv:2310.00426, section 2.2). Attention is within a frame; where a
sample has several, each token then also sees itself in the other frames (arXiv:2204.03458, section 3).

B batch, C channels, F frames, H x W picture in model space, P patch, N = H/P W/P patches of a frame, T prompt tokens,
S = T + N tokens of a frame, E width of the prompt's states, D width, M rows of modulation
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.layers import MLP, Attention, rope_frequencies, rope_table

TIME_FEATURES = 256
ROPE_THETA = 100.0  # pictures are a few dozen patches wide
EPS = 1e-6

Rope = tuple[Tensor, Tensor]  # cos and sin, of `rope_table`


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
    """Attention, within frames and through them, and MLP: each gated, and what it is given shifted and scaled, by time.

    A model of single pictures has no attention through frames.
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.attention = _attention(config)
        self.mlp = MLP(config.width, config.mlp_width, "relu2", gated=False)
        if config.num_frames > 1:
            self.through = _attention(config)
        self.modulation = nn.Parameter(torch.zeros(modulations(config), config.width))  # this block's own part

    def forward(self, x: Tensor, time: Tensor, ropes: tuple[Rope, Rope], mask: Tensor | None) -> Tensor:
        """x (B F, S, D), time (B F, M, D) -> (B F, S, D); mask: True where a token may be seen, (B F, 1, 1, S)."""
        parts = (time + self.modulation).to(x.dtype)[:, :, None].unbind(1)  # M of (B F, 1, D)
        x = torch.addcmul(x, parts[2], self.attention(modulated(x, *parts[:2]), ropes[0], mask))
        if len(ropes[1][0]) > 1:  # frames
            x = torch.addcmul(x, parts[8], self._through_frames(modulated(x, *parts[6:8]), ropes[1]))
        return torch.addcmul(x, parts[5], self.mlp(modulated(x, *parts[3:5])))

    def _through_frames(self, x: Tensor, rope: Rope) -> Tensor:
        """Each token sees itself in every frame: (B F, S, D) -> (B F, S, D)."""
        frames, tokens = len(rope[0]), x.shape[1]
        tracks = x.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1)  # (B S, F, D)
        seen: Tensor = self.through(tracks, rope).unflatten(0, (-1, tokens)).transpose(1, 2)
        return seen.flatten(0, 1)


def _attention(config: DenoiserConfig) -> Attention:
    heads = config.num_heads
    return Attention(config.width, heads, heads, config.width // heads, qk_norm_eps=EPS)


def modulations(config: DenoiserConfig) -> int:
    """Shift, scale and gate of each part of a block: attention, MLP, and attention through frames if there are any."""
    return 6 if config.num_frames == 1 else 9


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x at unit RMS along its width, times (1 + scale), plus shift: arXiv:2212.09748, figure 3."""
    return torch.addcmul(shift, F.rms_norm(x, x.shape[-1:], eps=EPS), 1 + scale)


class Denoiser(nn.Module):
    """(x_t, t, prompt) -> what `family.denoise` needs to guess x0."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        width, patch_width = config.width, config.channels * config.patch**2
        self.embed = nn.Linear(patch_width, width)
        self.prompt_embed = nn.Linear(config.prompt_width, width)
        self.time_embed = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.time_modulation = nn.Linear(width, modulations(config) * width)
        self.blocks = nn.ModuleList(DenoiserBlock(config) for _ in range(config.depth))
        self.head_modulation = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, patch_width)

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor, mask: Tensor) -> Tensor:
        """x (B, C, F, H, W), prompt (B, T, E), mask (B, T) True where a token is; t from 0 (clean) to 1 (noise).

        t is (B,), or (B, F) where frames differ. Gives something of the shape of x.
        """
        frames, num_words = x.shape[2], prompt.shape[1]
        patches = self.embed(to_patches(x, self.config.patch)).unflatten(1, (frames, -1)).flatten(0, 1)  # (B F, N, D)
        words = self.prompt_embed(prompt.to(patches.dtype))  # (B, T, D)
        time = F.silu(self._time(t, words, mask, frames))  # (B F, D)
        modulation = self.time_modulation(time).unflatten(1, (modulations(self.config), -1))  # (B F, M, D)
        ropes = self._rope(num_words, x), self._frame_rope(x)
        seen = F.pad(mask.repeat_interleave(frames, 0), (0, patches.shape[1]), value=True)[:, None, None]
        h = torch.cat((words.repeat_interleave(frames, 0), patches), 1)  # (B F, S, D)
        for block in self.blocks:
            h = block(h, modulation, ropes, seen)
        shift, scale = self.head_modulation(time)[:, None].chunk(2, -1)
        h = self.head(modulated(h[:, num_words:], shift, scale))  # (B F, N, C P P)
        return from_patches(h.unflatten(0, (-1, frames)).flatten(1, 2), x.shape, self.config.patch)

    def _time(self, t: Tensor, words: Tensor, mask: Tensor, frames: int) -> Tensor:
        """What every block is told of each frame: its time, and the mean of the prompt's tokens. (B F, D)"""
        kept = mask[..., None].to(words.dtype)
        mean = (words * kept).sum(1) / kept.sum(1).clamp_min(1)  # (B, D)
        times = t if t.ndim == 2 else t[:, None].expand(-1, frames)  # (B, F)
        features = time_features(times.flatten(), TIME_FEATURES).to(mean.dtype)
        told: Tensor = self.time_embed(features) + mean.repeat_interleave(frames, 0)
        return told

    def _rope(self, num_words: int, x: Tensor) -> Rope:
        """Row and column of every patch turn a third each of a head's width; words stand at the origin.

        The first third is for a frame's number, which within a frame is always 0.
        """
        sides = (1, x.shape[3] // self.config.patch, x.shape[4] // self.config.patch)
        grid = torch.cartesian_prod(*(torch.arange(side, device=x.device) for side in sides))  # (N, 3)
        positions = F.pad(grid, (0, 0, num_words, 0))  # (S, 3)
        return self._turns(positions, axis_frequencies(self._head_width), x)

    def _frame_rope(self, x: Tensor) -> Rope:
        """The number of a frame turns a head's whole width."""
        numbers = torch.arange(x.shape[2], device=x.device)  # (F,)
        return self._turns(numbers, rope_frequencies(self._head_width, ROPE_THETA), x)

    def _turns(self, positions: Tensor, frequencies: Tensor, x: Tensor) -> Rope:
        cos, sin = rope_table(positions, frequencies.to(x.device))
        return cos.to(x.dtype), sin.to(x.dtype)

    @property
    def _head_width(self) -> int:
        return self.config.width // self.config.num_heads


def axis_frequencies(head_width: int) -> Tensor:
    """(3, head_width / 2): pairs of channels are dealt to frame, row and column in turn, 0 for the other two axes."""
    pairs = head_width // 2
    owner = torch.arange(pairs) % 3
    steps = math.ceil(pairs / 3)
    speed = rope_frequencies(2 * steps, ROPE_THETA)[torch.arange(pairs) // 3]
    return torch.where(owner == torch.arange(3)[:, None], speed, 0.0)


def time_features(t: Tensor, width: int) -> Tensor:
    """cos and sin of t at `width` / 2 frequencies from 1 to 1000: (B,) -> (B, width) float32 (arXiv:1706.03762)."""
    frequencies = 1000 ** torch.linspace(0, 1, width // 2, device=t.device)
    angles = t.float()[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), 1)


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
