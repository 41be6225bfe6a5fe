"""Views of the exhibits of models that draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from reverie.explain.pictures import data_url, reader_picture
from reverie.explain.reading import percent
from reverie.explain.views import Bars, Lines, Pictures, Table, View, Viewer, shown

FEW = 3  # words, the most looked at, that are followed through the steps
MOST_PICTURES = 9  # in a row
DARKEST = 0.2  # of a picture, where a word is not looked at


def noise(data: Mapping[str, Any]) -> Iterable[View]:
    """Noise above, the model's guess below."""
    levels = spread(data["levels"])
    noisy = [(level["noisy"], f"{percent(level['noise_share'])} noise") for level in levels]
    guesses = [(level["guess"], f"{percent(level['guess_error'])} away") for level in levels]
    yield Pictures("", [noisy, guesses], ["what the model is shown", "what it sees in that, at one glance"])
    points = [(level["time"], level["guess_error"]) for level in data["levels"]]
    yield Lines(
        "How far the guess is from the original", "time (0: picture, 1: noise)", "difference", {"guess": points}
    )


def denoising(data: Mapping[str, Any]) -> Iterable[View]:
    """The noisy states above, the guesses below."""
    chosen = spread(data["steps"])
    noisy = [(step["noisy"], f"step {step['step']}") for step in chosen]
    guesses = [(step["guess"], f"{percent(step['left'])} to go") for step in chosen]
    yield Pictures("", [noisy, guesses], ["the noisy state", "the guess of the finished picture"])
    points = [(step["step"], step["left"]) for step in data["steps"]]
    yield Lines("How far the guess is from the last one", "step", "difference", {"guess": points})


def words(data: Mapping[str, Any]) -> Iterable[View]:
    """Where each word is looked at, and what is otherwise without it."""
    names = [each["word"] for each in data["words"]]
    looked = [(overlay(data["picture"], each), name) for name, each in zip(names, data["maps"], strict=True)]
    yield Pictures("Where the patches look at each word (light)", _in_rows([(data["picture"], "the picture"), *looked]))
    told = sorted(range(len(names)), key=lambda at: -_mean(data["maps"][at]))[:FEW]
    films = [
        [(overlay(step["guess"], step["maps"][at]), f"step {step['step']}") for step in spread(data["steps"])]
        for at in told
    ]
    yield Pictures("Where they look in each step", films, [f"“{names[at]}”" for at in told])
    if without := data["without"]:
        pictures = [(row["picture"], f"without “{row['word']}”") for row in without]
        changes = [(row["difference"], f"{percent(row['distance'])} changed") for row in without]
        pairs = zip(_in_rows(pictures), _in_rows(changes), strict=True)
        yield Pictures("The same noise without each word, and what changes", [row for pair in pairs for row in pair])
        yield Table(
            "Do the patches that look at a word change without it?",
            ["word", "changed", "agreement"],
            [[row["word"], percent(row["distance"]), shown(row["agreement"])] for row in without],
        )
    shares = {}
    for at, name in enumerate(names):
        own = name if names.count(name) == 1 else f"{name} (word {at + 1})"
        shares[own] = [(step["step"], _mean(step["maps"][at])) for step in data["steps"]]
    yield Lines("How much of their attention patches give to each word", "step", "share", shares)


def guidance(data: Mapping[str, Any]) -> Iterable[View]:
    """Pictures above, differences below."""
    pictures = [(row["picture"], f"guidance {row['guidance']:g}") for row in data["values"]]
    differences = [(row["difference"], f"{percent(row['distance'])} changed") for row in data["values"]]
    yield Pictures("", [pictures, differences], ["the picture", "what differs from guidance 1"])


def seeds(data: Mapping[str, Any]) -> Iterable[View]:
    """One picture a seed."""
    yield Pictures("", _in_rows([(row["picture"], f"seed {row['seed']}") for row in data["seeds"]]))


def steps(data: Mapping[str, Any]) -> Iterable[View]:
    """One picture a number of steps."""
    rows = data["steps"]
    told = [(row["picture"], f"{row['steps']} step{'s' if row['steps'] > 1 else ''}") for row in rows]
    yield Pictures("", _in_rows(told))
    yield Bars(
        "Distance from the picture of most steps",
        [f"{row['steps']} steps" for row in rows],
        [row["distance"] for row in rows],
        percent=True,
    )


def samplers(data: Mapping[str, Any]) -> Iterable[View]:
    """A row for each sampler, a column for each schedule."""
    groups = {name: list(rows) for name, rows in groupby(data["drawings"], lambda row: str(row["sampler"]))}
    told = [
        [(row["picture"], f"{row['schedule']}, {percent(row['distance'])} away") for row in rows]
        for rows in groups.values()
    ]
    names = [f"{name}, {rows[0]['steps']} steps" for name, rows in groups.items()]
    yield Pictures("", [*told, [(data["reference"], "where small steps lead")]], [*names, "reference"])
    times = {name: list(enumerate(times)) for name, times in data["schedules"].items()}
    yield Lines("The times at which each schedule looks", "step", "time (1: noise, 0: picture)", times)


def walk(data: Mapping[str, Any]) -> Iterable[View]:
    """The pictures on the way."""
    yield Pictures("", _in_rows([(row["picture"], percent(row["share"])) for row in data["walk"]]))
    hops = data["hops"]
    yield Bars(
        "From each picture to the next", [f"{at + 1} to {at + 2}" for at in range(len(hops))], hops, percent=True
    )


def parts(data: Mapping[str, Any]) -> Iterable[View]:
    """The parts as a table, and a picture through the codec."""
    header = ["part", "does", "takes", "gives", "weights"]
    yield Table("", header, [[shown(row[key]) for key in header] for row in data["parts"]])
    told = [(data["original"], "original"), (data["restored"], "through the codec")]
    yield Pictures("", [[*told, (data["difference"], f"{percent(data['loss'])} changed")]])


def overlay(picture: str, shares: Sequence[Sequence[float]]) -> str:
    """A picture that is light where the patches' shares are large, dark where they are small."""
    pixels, light = reader_picture(picture).astype(np.float32), np.array(shares, dtype=np.float32)
    light = (light - light.min()) / max(float(np.ptp(light)), 1e-9)
    light = light.repeat(pixels.shape[0] // light.shape[0], 0).repeat(pixels.shape[1] // light.shape[1], 1)  # (H, W)
    return data_url((pixels * (DARKEST + (1 - DARKEST) * light[..., None])).astype(np.uint8))


def spread(rows: Sequence[Any]) -> list[Any]:
    """At most `MOST_PICTURES` of the rows, the first and the last among them."""
    if len(rows) <= MOST_PICTURES:
        return list(rows)
    return [rows[round(at * (len(rows) - 1) / (MOST_PICTURES - 1))] for at in range(MOST_PICTURES)]


def _in_rows(told: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    return [list(told[at : at + MOST_PICTURES]) for at in range(0, len(told), MOST_PICTURES)]


def _mean(rows: Sequence[Sequence[float]]) -> float:
    return float(np.mean(rows))


VIEWERS: dict[str, Viewer] = {
    "noise": noise,
    "denoising": denoising,
    "words": words,
    "guidance": guidance,
    "seeds": seeds,
    "steps": steps,
    "samplers": samplers,
    "walk": walk,
    "parts": parts,
}
