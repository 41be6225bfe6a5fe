"""Views of the exhibits of models that animate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from reverie.explain.pictures import data_url, reader_picture
from reverie.explain.reading import percent
from reverie.explain.views import Bars, Lines, Matrix, Pictures, Table, View, Viewer

DARKEST = 0.2  # of a patch that is not looked at
MANY = 12  # heads
FEW = 3  # frames that are followed from step to step


def video_attention(data: Mapping[str, Any]) -> Iterable[View]:
    """The frames, light where the patch looked; what each frame got of it; frames that look at frames; the heads.

    Light is the root of a share: next to the largest alone, all others would be dark.
    """
    frame, patch = data["frame"], data["row"] * data["columns"] + data["column"]
    light = np.array(data["looks"][patch])  # (F, N)
    got = light.sum(1).tolist()
    names = [f"frame {at}" for at in range(len(got))]
    light = light.reshape(-1, data["rows"], data["columns"])
    place = f"row {data['row']}, column {data['column']} of frame {frame}"
    strip = [
        (lit(url, np.sqrt(shares / max(light.max(), 1e-9)), (data["row"], data["column"]) if at == frame else None),
         f"{names[at]}, {percent(got[at])}")
        for at, (url, shares) in enumerate(zip(data["frames"], light, strict=True))
    ]  # fmt: skip
    yield Pictures(f"Light: where {place} looked ({_where(data)})", [strip])
    yield Bars(
        f"What each frame got of the look of {place}, and the words",
        [*names, "the words"],
        [*got, data["words"][patch]],
        percent=True,
    )
    yield Matrix(
        f"Each row is a frame whose patches look, each column one looked at ({_where(data)})",
        names,
        names,
        data["clip"],
    )
    ahead = [(row["frames"], row["share"]) for row in data["reach"]]
    yield Lines("How far they look", "frames ahead (below 0: back)", "share", {"mean of all patches": ahead})
    parts = ("own", "near", "far", "words")
    told = [
        [f"layer {row['layer']}, head {row['head']}", *(percent(row[part]) for part in parts)] for row in data["heads"]
    ]
    shades = [[None, *(row[part] for part in parts)] for row in data["heads"]]
    header = ["", "to its own frame", "to those beside it", "farther", "to the words"]
    yield Table("How each head shares its looks", header, told[:MANY], shades[:MANY])


def video_denoising(data: Mapping[str, Any]) -> Iterable[View]:
    """A few frames, noisy and guessed, from step to step; the whole clip of each guess; what is settled when."""
    shown = [step for step in data["steps"] if step["guess"]]
    frames = len(shown[0]["guess"])
    followed = sorted({round(place * (frames - 1) / (FEW - 1)) for place in range(FEW)})
    told = [(part, at) for part in ("noisy", "guess") for at in followed]
    rows = [[(step[part][at], f"step {step['step']}") for step in shown] for part, at in told]
    names = [f"frame {at}, {part}" for part, at in told]
    yield Pictures("All frames become clear at once", rows, names)
    clips = [[(url, f"frame {at}") for at, url in enumerate(step["guess"])] for step in shown]
    yield Pictures("The clip that the model sees in each step", clips, [f"step {step['step']}" for step in shown])
    settled = {
        name: [(step["step"], step[part]) for step in data["steps"]]
        for name, part in (("what all frames have in common", "still"), ("what moves", "moving"))
    }
    yield Lines("How like the end the guess is", "step", "correlation", settled)
    alike = {
        name: [(step["step"], step[part]) for step in data["steps"]]
        for name, part in (("in the guess", "neighbours"), ("in the noisy state", "noisy_neighbours"))
    }
    yield Lines("How alike neighbouring frames are", "step", "correlation", alike)


def video_together(data: Mapping[str, Any]) -> Iterable[View]:
    """Both clips, frame by frame, and how far each frame is from the next."""
    names = {"together": "frames see each other", "apart": "each sees only itself"}
    clips = [[(url, f"frame {at}") for at, url in enumerate(data[name]["frames"])] for name in names]
    yield Pictures("", clips, list(names.values()))
    means = [data[name]["mean"] for name in names]
    seams = [data[name]["seam"] for name in names] if data["loop"] else []
    labels = list(names.values())
    labels += [f"{label}, from the last frame to the first" for label in labels[: len(seams)]]
    yield Bars("The mean difference from a frame to the next", labels, [*means, *seams], percent=True)
    far = {label: list(enumerate(data[name]["jumps"], 1)) for name, label in names.items()}
    yield Lines("How far each frame is from the one before", "frame", "difference", far)


def video_given(data: Mapping[str, Any]) -> Iterable[View]:
    """The clips, frame by frame, and how far each is from the first."""
    whole = [(url, f"frame {at}") for at, url in enumerate(data["frames"])]
    rows, names = [whole], ["the clip"]
    for made in data["clips"]:
        away = [f"{percent(far)} away" if at not in made["given"] else "given" for at, far in enumerate(made["away"])]
        rows.append(list(zip(made["frames"], away, strict=True)))
        names.append(f"other noise, {_given(made['given'])}")
    yield Pictures("", rows, names)
    far = {_given(made["given"]): list(enumerate(made["away"])) for made in data["clips"]}
    yield Lines("How far each frame is from the clip's", "frame", "difference", far)


def lit(picture: str, light: np.ndarray, marked: tuple[int, int] | None = None) -> str:
    """A picture that is dark where light (rows, columns) is 0, and as it is where that is 1; one patch with a frame."""
    pixels = reader_picture(picture).astype(np.float32)
    side = len(pixels) // len(light)
    shades = (DARKEST + (1 - DARKEST) * light).repeat(side, 0).repeat(side, 1)[..., None]  # (S, S, 1)
    shown = (pixels * shades).astype(np.uint8)
    if marked is not None:
        row, column = (place * side for place in marked)
        inner = shown[row + 1 : row + side - 1, column + 1 : column + side - 1].copy()
        shown[row : row + side, column : column + side] = 255
        shown[row + 1 : row + side - 1, column + 1 : column + side - 1] = inner
    return data_url(shown)


def _where(data: Mapping[str, Any]) -> str:
    if data["layer"] is None:
        return "mean of all heads"
    return f"layer {data['layer']}, " + ("mean of its heads" if data["head"] is None else f"head {data['head']}")


def _given(places: Sequence[int]) -> str:
    return ("nothing given", "first frame given", "first and last given")[len(places)]


VIEWERS: dict[str, Viewer] = {
    "video-attention": video_attention,
    "video-denoising": video_denoising,
    "video-together": video_together,
    "video-given": video_given,
}
