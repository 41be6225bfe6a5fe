"""Shapes of clips: what can be asked of one, its files; and what `POST /v1/videos` takes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from reverie.serve.openai_shapes import Seed
from reverie.serve.shapes import MOST_PICTURE_CHARS, Shape, Short, bounded
from reverie.types import SAMPLERS

ClipKind = Literal["mp4", "gif", "webp", "png"]
Variant = Literal["video", "thumbnail", "spritesheet"]
Size = Annotated[str, Field(pattern=r"^(auto|[0-9]{1,5}x[0-9]{1,5})$")]
Prompt = Annotated[str, Field(min_length=1, max_length=32_000)]


class VideoOptions(Shape):
    """What can be asked of a clip: how many frames are made at a time, and how many of them are shown a second.

    most_frames: of a clip that was gone on from again and again. context: frames of a clip that the model sees when it
    goes on from it; they are among the `frames`. files: the kinds that a clip can be saved as.
    """

    frames: int
    fps: int
    most_frames: int
    context: int
    files: list[str]


class Reference(Shape):
    """A picture as a data: URL; nothing is fetched from elsewhere, and no files are kept."""

    image_url: Annotated[str, Field(max_length=MOST_PICTURE_CHARS, pattern=r"^data:image/(png|jpeg|webp);base64,")]


class VideoRequestBody(Shape):
    """POST /v1/videos, as JSON or as a form whose pictures may be files.

    input_reference, end_reference: the first picture of the clip and the last. seconds: how long it is.
    """

    model: Short | None = None
    prompt: Prompt
    seconds: Annotated[float | None, Field(gt=0, le=3600, allow_inf_nan=False)] = None
    size: Size | None = None
    input_reference: Reference | None = None
    end_reference: Reference | None = None
    seed: Seed = None
    fps: Annotated[int | None, bounded("fps")] = None
    loop: bool | None = None
    negative_prompt: Annotated[str | None, Field(max_length=32_000)] = None
    guidance_scale: Annotated[float | None, bounded("guidance")] = None
    num_inference_steps: Annotated[int | None, bounded("steps")] = None
    sampler: Literal[SAMPLERS] | None = None  # type: ignore[valid-type]  # a tuple of names

    model_config = ConfigDict(strict=False)  # OpenAI's seconds are a text, and a form holds nothing else


class RemixRequest(Shape):
    """POST /v1/videos/{id}/remix: the same clip, from the same noise, of other words."""

    prompt: Prompt
