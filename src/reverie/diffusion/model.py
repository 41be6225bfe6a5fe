"""The denoiser's network: a transformer that sees prompt and noisy picture in one sequence.

`family.denoise` turns what it says into the clean picture. Time reaches every block by shifts, scales and gates, most
of whose weights all blocks share (adaLN-single, arXiv:2310.00426, section 2.2).

B batch, C channels, F frames, H x W picture in model space, P patch, N = F H/P W/P patches, T prompt tokens,
S = T + N tokens, E width of the prompt's states, D width
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
    """Attention and MLP, each normalised, shifted and scaled before and gated after by what time says."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        heads, width = config.num_heads, config.width
        self.attention = Attention(width, heads, heads, width // heads, qk_norm_eps=EPS)
        self.mlp = MLP(width, config.mlp_width, "relu2", gated=False)
        self.modulation = nn.Parameter(torch.zeros(6, width))  # this block's own part

    def forward(self, x: Tensor, time: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """x (B, S, D), time (B, 6, D) -> (B, S, D); mask: True where a token may be seen, (B, 1, 1, S)."""
        parts = (time + self.modulation).to(x.dtype)[:, :, None]  # (B, 6, 1, D)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = parts.unbind(1)
        x = torch.addcmul(x, gate_a, self.attention(modulated(x, shift_a, scale_a), rope, mask))
        return torch.addcmul(x, gate_m, self.mlp(modulated(x, shift_m, scale_m)))


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
        self.time_modulation = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(DenoiserBlock(config) for _ in range(config.depth))
        self.head_modulation = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, patch_width)

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor, mask: Tensor) -> Tensor:
        """x (B, C, F, H, W), t (B,) from 0 (clean) to 1 (noise), prompt (B, T, E), mask (B, T) True where a token is.

        Gives something of the shape of x.
        """
        patches = self.embed(to_patches(x, self.config.patch))  # (B, N, D)
        words = self.prompt_embed(prompt.to(patches.dtype))  # (B, T, D)
        time = F.silu(self._time(t, words, mask))  # (B, D)
        modulation = self.time_modulation(time).unflatten(1, (6, -1))  # (B, 6, D)
        rope = self._rope(words.shape[1], x)
        seen = F.pad(mask, (0, patches.shape[1]), value=True)[:, None, None]  # (B, 1, 1, S)
        h = torch.cat((words, patches), 1)  # (B, S, D)
        for block in self.blocks:
            h = block(h, modulation, rope, seen)
        shift, scale = self.head_modulation(time)[:, None].chunk(2, -1)
        h = self.head(modulated(h[:, words.shape[1] :], shift, scale))  # (B, N, C P P)
        return from_patches(h, x.shape, self.config.patch)

    def _time(self, t: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """What every block is told: the time, and the mean of the prompt's tokens. (B, D)"""
        kept = mask[..., None].to(words.dtype)
        mean = (words * kept).sum(1) / kept.sum(1).clamp_min(1)
        features = time_features(t, TIME_FEATURES).to(mean.dtype)
        told: Tensor = self.time_embed(features) + mean
        return told

    def _rope(self, num_words: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Frame, row and column of every patch turn a third each of a head's width; words stand at the origin."""
        head_width = self.config.width // self.config.num_heads
        sides = (x.shape[2], x.shape[3] // self.config.patch, x.shape[4] // self.config.patch)
        grid = torch.cartesian_prod(*(torch.arange(side, device=x.device) for side in sides))  # (N, 3)
        positions = F.pad(grid, (0, 0, num_words, 0))  # (S, 3)
        cos, sin = rope_table(positions, axis_frequencies(head_width).to(x.device))
        return cos.to(x.dtype), sin.to(x.dtype)


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
    """(B, C, F, H, W) -> (B, N, C P P): patches in rows, frame after frame."""
    B, C, frames, H, W = x.shape
    x = x.view(B, C, frames, H // patch, patch, W // patch, patch)
    return x.permute(0, 2, 3, 5, 1, 4, 6).reshape(B, -1, C * patch * patch)


def from_patches(x: Tensor, shape: torch.Size, patch: int) -> Tensor:
    """The inverse of `to_patches`."""
    B, C, frames, H, W = shape
    x = x.view(B, frames, H // patch, W // patch, C, patch, patch)
    return x.permute(0, 4, 1, 2, 5, 3, 6).reshape(shape)
