"""The codec: a small convolutional autoencoder between pictures and the latents that the denoiser draws in.

As in Stable Diffusion (arXiv:2112.10752, section 3.1), with two simplifications: latents are standardised by a batch
norm without weights, and the decoder learns to bear noise on them (as in arXiv:2510.11690), which keeps what is alike
close together, so that it needs neither a KL term nor an adversary.

B batch, F frames, H x W picture, C latent channels; frames are coded one by one
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class CodecConfig:
    """What the codec is built from.

    channels: of the latents. encoder_widths: at 1/4 and 1/8 of the sides; decoder_widths and decoder_blocks: at 1/8,
    1/4 and 1/2. noise: the largest deviation of the noise that the decoder learns to bear.
    """

    channels: int = 16
    encoder_widths: tuple[int, ...] = (64, 128)
    decoder_widths: tuple[int, ...] = (160, 96, 48)
    decoder_blocks: tuple[int, ...] = (3, 3, 2)
    noise: float = 0.2


class ConvBlock(nn.Module):
    """x + conv(silu(conv(silu(norm x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        out: Tensor = x + self.second(F.silu(self.first(F.silu(self.norm(x)))))
        return out


class Codec(nn.Module):
    """Pictures (B, 3, F, H, W) in [-1, 1] <-> latents (B, C, F, H/8, W/8) of mean 0 and deviation 1."""

    factor = 8

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        wide, wider = config.encoder_widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, wide, 3, padding=1),
            ConvBlock(wide),
            nn.Conv2d(wide, wider, 2, stride=2),
            ConvBlock(wider),
            nn.Conv2d(wider, config.channels, 1),
            nn.BatchNorm2d(config.channels, affine=False, momentum=0.02),
        )
        self.decoder = nn.Sequential(*_decoder(config))

    def encode(self, pictures: Tensor) -> Tensor:
        """(B, 3, F, H, W) -> (B, C, F, H/8, W/8)."""
        return _framewise(self.encoder, pictures)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, F, H, W) -> (B, 3, F, 8 H, 8 W)."""
        return _framewise(self.decoder, latents)


def _decoder(config: CodecConfig) -> list[nn.Module]:
    widths = config.decoder_widths
    layers: list[nn.Module] = [nn.Conv2d(config.channels, widths[0], 3, padding=1)]
    for width, blocks, after in zip(widths, config.decoder_blocks, (*widths[1:], 3), strict=True):
        layers += [ConvBlock(width) for _ in range(blocks)]
        layers += [nn.Conv2d(width, 4 * after, 3, padding=1), nn.PixelShuffle(2)]
    return layers


def _framewise(network: nn.Module, x: Tensor) -> Tensor:
    """Runs a picture network on every frame of (B, C, F, H, W)."""
    frames = x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    out: Tensor = network(frames).unflatten(0, (x.shape[0], x.shape[2]))
    return out.transpose(1, 2)


def reconstruction_loss(codec: Codec, pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Mean absolute error of pixels and of their differences to the neighbours, which keep edges crisp.

    pictures (B, 3, F, H, W) in [-1, 1]. Each picture's latents bear noise of a deviation drawn up to `config.noise`.
    """
    latents = codec.encode(pictures)
    deviation = torch.rand(len(latents), 1, 1, 1, 1, generator=rng) * codec.config.noise
    noise = torch.randn(latents.shape, generator=rng) * deviation
    error = (codec.decode(latents + noise.to(latents)) - pictures).float()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + edges
