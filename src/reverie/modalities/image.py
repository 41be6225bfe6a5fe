"""Images: captioned pictures -> latents to learn from; prompts -> states, latents -> pictures.

B batch, S side of a picture in pixels, C x F x H x W latents (F = 1: an image is a one-frame video), T tokens, E width
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reverie import media
from reverie.data.scenes import Scenes
from reverie.diffusion.codec import Codec
from reverie.diffusion.family import Diffusion
from reverie.diffusion.generate import Drawing
from reverie.diffusion.model import DenoiserConfig
from reverie.lm.prompt_states import PromptEncoder
from reverie.media import Picture
from reverie.types import Artifact, DiffusionRequest, Example, ImageRequest, ReverieError, Step

FindData = Callable[[str, int], Path]  # (name of a data set, side of its pictures) -> its file


class Image:
    """Pictures, as a denoiser draws them in the latents of a codec."""

    name = "image"
    family = Diffusion()
    request: type[DiffusionRequest] = ImageRequest
    needs = ("codec", "encoder", "find_data")  # what `engine.fresh` gives to `fresh`
    styles: tuple[str, ...] = ()  # of scenes, to learn; () is all that there are
    presets: ClassVar[dict[str, DenoiserConfig]] = {
        "tiny": DenoiserConfig(width=128, depth=4, num_heads=2, mlp_width=512),
        "small": DenoiserConfig(width=320, depth=10, num_heads=5, mlp_width=1280),
        "medium": DenoiserConfig(width=512, depth=12, num_heads=8, mlp_width=2048),
    }
    recipes: ClassVar[dict[str, Mapping[str, Any]]] = {
        "tiny": {"batch": 8, "max_steps": 2000, "ema": 0.999, "num_workers": 1},
        "small": {"batch": 16, "max_steps": 20_000, "ema": 0.9995, "num_workers": 1},
        "medium": {"batch": 32, "max_steps": 50_000, "ema": 0.9998, "num_workers": 2},
    }

    def __init__(self, codec: Codec, encoder: PromptEncoder, size_px: int, find_data: FindData) -> None:
        self.codec, self.encoder, self.size_px = codec, encoder, size_px
        self._find_data = find_data

    @classmethod
    def fresh(
        cls, source: str, config: DenoiserConfig, codec: Codec, encoder: PromptEncoder, find_data: FindData
    ) -> tuple[Self, DenoiserConfig]:
        """Pictures of the side that the config has room for, in the latents of a codec that is there already."""
        medium = cls(codec, encoder, config.side * codec.factor, find_data)
        return medium, replace(config, channels=codec.config.channels, prompt_width=encoder.width)

    # --- to learn from ---

    def examples(self, source: str, *, held_out: bool) -> Captioned:
        """Pictures of the data set `source`, or those with pairs of things that learning never sees."""
        path = self._find_data(source, self.size_px)
        return Captioned(Scenes(path, self.size_px, "held_out" if held_out else "train", self.styles))

    def batch(self, examples: Sequence[Example]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Pictures as latents (B, C, F, H, W), and their captions as states (B, T, E) with a mask (B, T)."""
        pictures = torch.stack([example.x for example in examples])  # (B, S, S, 3)
        return self._encode(pictures[:, None]), self._states([example.caption for example in examples])

    def trials(self) -> Sequence[ImageRequest]:
        """The prompt that this project began with, and a simpler one."""
        return [ImageRequest("a red panda riding a skateboard"), ImageRequest("a blue cat on the beach")]

    # --- to draw ---

    def condition(self, request: ImageRequest) -> Drawing:
        """What the denoiser is given; pictures that came with the request are brought to its size."""
        init = mask = None
        if request.init is not None:
            init = self._encode(torch.from_numpy(media.fit(request.init, self._size_px(request)).copy())[None, None])
        if request.mask is not None:
            shape = self.shape(request)
            whole = torch.from_numpy(self._mask(request).copy())[None, None].float() / 255  # (1, 1, S, S)
            mask = F.adaptive_max_pool2d(whole, shape[-2:])[:, :, None]  # (1, 1, 1, H, W): what is touched is redrawn
        states, seen = self._states([request.prompt, request.negative])
        return Drawing((states[:1], seen[:1]), (states[1:], seen[1:]), init, mask)

    def shape(self, request: ImageRequest) -> tuple[int, ...]:
        """(1, C, F, H, W) of the latents."""
        side = self._size_px(request) // self.codec.factor
        return (1, self.codec.config.channels, 1, side, side)

    def stream(self, steps: Iterator[Step], request: ImageRequest) -> Iterator[Step]:
        """The steps as they are: whoever shows them decodes them."""
        return steps

    def picture(self, latents: Tensor, request: ImageRequest | None = None) -> Picture:
        """Latents (1, C, F, H, W) -> a picture (S, S, 3); what the request's mask keeps is kept to the pixel."""
        drawn: Picture = self._pixels(latents)[0]
        if request is None or request.mask is None or request.init is None:
            return drawn
        share = self._mask(request)[..., None] / 255
        kept = media.fit(request.init, self._size_px(request))
        whole: Picture = np.round(share * drawn + (1 - share) * kept).astype(np.uint8)
        return whole

    def _pixels(self, latents: Tensor) -> np.ndarray:
        """Latents (1, C, F, H, W) -> uint8 (F, S, S, 3)."""
        with torch.inference_mode():
            pixels = self.codec.decode(latents.to(_dtype(self.codec)))[0]  # (3, F, S, S)
            shades = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).byte()
            frames: np.ndarray = shades.permute(1, 2, 3, 0).cpu().numpy()
        return frames

    def decode(self, x: Tensor) -> Artifact:
        """Latents -> a PNG; half-finished ones too."""
        return Artifact(media.to_png(self.picture(x)), "image/png")

    def _size_px(self, request: DiffusionRequest) -> int:
        size_px = self.size_px if request.size_px is None else request.size_px
        if size_px % self._grain_px:
            raise ReverieError(f"size_px is {size_px}: give a multiple of {self._grain_px}, best {self.size_px}.")
        return size_px

    @property
    def _grain_px(self) -> int:
        return 2 * self.codec.factor  # patches are at most 2 latents wide

    def _mask(self, request: ImageRequest) -> np.ndarray:
        """The mask at the picture's size, (S, S) uint8."""
        assert request.mask is not None
        return media.fit(np.repeat(request.mask[..., None], 3, axis=2), self._size_px(request))[..., 0]

    def _encode(self, pictures: Tensor) -> Tensor:
        """uint8 (B, F, S, S, 3) -> latents (B, C, F, H, W) float32."""
        weight = next(self.codec.parameters())
        pixels = pictures.to(weight.device, weight.dtype).permute(0, 4, 1, 2, 3) / 127.5 - 1  # (B, 3, F, S, S)
        with torch.no_grad():
            return self.codec.encode(pixels).float()

    def _states(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(B, T, E) and (B, T); where nothing is said there is nothing: zeros, and no token to be seen.

        T is the least multiple of 8 that the longest caption needs.
        """
        states, mask = self.encoder.encode(captions)
        said = torch.tensor([bool(caption.strip()) for caption in captions])
        longest = 8 * math.ceil(int(mask.sum(1).max()) / 8)
        return (states * said[:, None, None])[:, :longest], (mask & said[:, None])[:, :longest]


class Captioned:
    """Scenes as examples."""

    def __init__(self, scenes: Scenes) -> None:
        self._scenes = scenes

    def item(self, seed: int, index: int) -> Example:
        """A picture (S, S, 3) uint8 and its caption."""
        pixels, caption, _ = self._scenes.item(seed, index)
        return Example(torch.from_numpy(pixels), caption)


def _dtype(module: torch.nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


Medium = Image
