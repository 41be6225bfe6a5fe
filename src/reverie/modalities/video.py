"""Video: pictures with time. Clips and single pictures -> latents to learn from; prompts and given frames -> clips.

B batch, F frames, S side of a picture in pixels, C x F x H x W latents, R rows of a condition
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from reverie import media, moving
from reverie.data.clips import Clips
from reverie.data.scene import Split
from reverie.data.scenes import Scenes
from reverie.diffusion.generate import Drawing
from reverie.diffusion.model import DenoiserConfig
from reverie.diffusion.video import VideoDiffusion, given
from reverie.media import Picture
from reverie.modalities.image import Image
from reverie.types import Artifact, Example, ReverieError, VideoRequest

NUM_FRAMES = 16  # of a clip to learn from
FPS = 8
ONE_IN = 4  # of the examples is a set of single pictures


class Video(Image):
    """Clips, as a denoiser makes them in the latents of a codec for pictures."""

    name = "video"
    family = VideoDiffusion()
    request = VideoRequest
    presets: ClassVar[dict[str, DenoiserConfig]] = {
        "tiny": DenoiserConfig(num_frames=NUM_FRAMES, width=128, depth=4, num_heads=2, mlp_width=512),
        "small": DenoiserConfig(num_frames=NUM_FRAMES, width=320, depth=6, num_heads=5, mlp_width=1280),
        "medium": DenoiserConfig(num_frames=NUM_FRAMES, width=512, depth=12, num_heads=8, mlp_width=2048),
    }
    recipes: ClassVar[dict[str, Mapping[str, Any]]] = {
        "tiny": {"batch": 4, "max_steps": 2000, "ema": 0.999, "num_workers": 1},
        "small": {"batch": 4, "max_steps": 20_000, "ema": 0.9995, "num_workers": 1},
        "medium": {"batch": 8, "max_steps": 50_000, "ema": 0.9998, "num_workers": 2},
    }

    # --- to learn from ---

    def examples(self, source: str, *, held_out: bool) -> Filmed:  # type: ignore[override]
        """Clips of the scenes `source` in motion and sets of single pictures, or those that learning never sees."""
        path = self._find_data(source, self.size_px)
        split: Split = "held_out" if held_out else "train"
        return Filmed(Clips(path, self.size_px, split, self.styles), Scenes(path, self.size_px, split, self.styles))

    def batch(self, examples: Sequence[Example]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Latents (B, C, F, H, W), clips first, and the states of the R captions: see `VideoDiffusion.loss`."""
        ordered = sorted(examples, key=lambda example: "\n" in example.caption)
        frames = torch.stack([example.x for example in ordered])  # (B, F, S, S, 3)
        captions = [line for example in ordered for line in example.caption.split("\n")]
        return self._encode(frames), self._states(captions)

    def trials(self) -> Sequence[VideoRequest]:  # type: ignore[override]
        """The prompt that this project began with, in motion, and a simpler one."""
        return [VideoRequest("a red panda riding a skateboard to the right"), VideoRequest("a blue cat bounces")]

    # --- to animate ---

    def condition(self, request: VideoRequest) -> Drawing:  # type: ignore[override]
        """What the denoiser is given; frames that came with the request are brought to its size."""
        states, seen = self._states([request.prompt, request.negative])
        prompt, negative = (states[:1], seen[:1]), (states[1:], seen[1:])
        if request.begin is None and request.end is None:
            return Drawing(prompt, negative)
        begin, end = self._ends(request)
        init = torch.zeros(self.shape(request))
        for pictures, frames in ((begin, init[:, :, : len(begin)]), (end, init[:, :, request.frames - len(end) :])):
            if len(pictures):
                frames.copy_(self._encode(torch.from_numpy(pictures)[None]))
        known = given(request.frames, len(begin), len(end))
        return Drawing(prompt, negative, init, (~known).float().view(1, 1, -1, 1, 1))

    def shape(self, request: VideoRequest) -> tuple[int, ...]:  # type: ignore[override]
        """(1, C, F, H, W) of the latents."""
        if request.frames > NUM_FRAMES:
            raise ReverieError(
                f"{request.frames} frames are asked for and the model makes up to {NUM_FRAMES} at a time: ask for "
                "fewer, and go on from the clip."
            )
        side = self._size_px(request) // self.codec.factor
        return (1, self.codec.config.channels, request.frames, side, side)

    def clip(self, latents: Tensor, request: VideoRequest | None = None) -> np.ndarray:
        """Latents (1, C, F, H, W) -> a clip (F, S, S, 3); frames that the request gives are kept to the pixel."""
        clip = self._pixels(latents)
        if request is not None:
            begin, end = self._ends(request)
            clip = np.concatenate((begin, clip[len(begin) : len(clip) - len(end)], end))
        return clip

    def picture(self, latents: Tensor, request: VideoRequest | None = None) -> Picture:  # type: ignore[override]
        """The frame in the middle of a clip: (S, S, 3)."""
        middle = latents.shape[2] // 2
        picture: Picture = self._pixels(latents[:, :, middle : middle + 1])[0]
        return picture

    def decode(self, x: Tensor) -> Artifact:
        """Latents -> an MP4; half-finished ones too."""
        return Artifact(moving.to_mp4(self.clip(x), FPS), "video/mp4")

    def _ends(self, request: VideoRequest) -> tuple[np.ndarray, np.ndarray]:
        """The frames that a request gives for beginning and end, each (N, S, S, 3); N may be 0."""
        side = self._size_px(request)
        none = np.zeros((0, side, side, 3), np.uint8)
        begin, end = (
            none if pictures is None else np.stack([media.fit(picture, side) for picture in pictures])
            for pictures in (request.begin, request.end)
        )
        return begin, end


class Filmed:
    """Scenes in motion as examples, and among them sets of as many pictures that have nothing to do with each other."""

    def __init__(self, clips: Clips, scenes: Scenes) -> None:
        self._clips, self._scenes = clips, scenes

    def item(self, seed: int, index: int) -> Example:
        """Frames (F, S, S, 3) uint8 and their caption; of a set, one caption on each line."""
        if index % ONE_IN < ONE_IN - 1:
            frames, caption, _ = self._clips.item(seed, index)
            return Example(torch.from_numpy(frames), caption)
        first = index // ONE_IN * NUM_FRAMES
        made = [self._scenes.item(seed, first + number) for number in range(NUM_FRAMES)]
        pictures = torch.from_numpy(np.stack([picture for picture, _, _ in made]))
        return Example(pictures, "\n".join(caption for _, caption, _ in made))


Medium = Video
