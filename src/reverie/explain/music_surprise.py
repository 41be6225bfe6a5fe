"""Surprise in a tune: how many bits each note cost the model, bar by bar, and what a tune that people made costs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import Reading, percent
from reverie.explain.surprise import surprises
from reverie.explain.tunes import Heard, composes, heard, like
from reverie.notation import abc, words
from reverie.notation.tune import Tune
from reverie.types import ReverieError

NOT_HERE = "Tunes that people made are not on this machine: `reverie data build tunes` fetches them to compare with."


@maker(
    "music-surprise",
    title="Surprise in a tune",
    question="Which notes did the model expect, and which surprised it?",
    family="lm",
    when=composes,
    medium="music",
)
def music_surprise(model: Model, prompt: Prompt, *, real: bool = True, seed: int = 0) -> Shown:
    """The surprise of each note in bits, and bar by bar: of a tune, and of a real one that was kept out of learning.

    real: whether to compare; the real tune is of the same kind, metre and mode, another for each seed. seed: of the
    tune too, where the prompt says only what kind of tune is wanted.
    data: tunes, one or two: [{"title", "by": "model", "reader" or "people", "words" (see `music-attention`, the notes
    and signs of its bars, with "bits", "probability", "rank", "expected" [3 candidates]), "bars" [{"bar", "number",
    "bits", "notes"}], "mean_bits": for each note, of all words of the bars; "abc"}].
    """
    tune = heard(model, prompt, seed)
    told = [_told(model, tune, "model" if tune.composed else "reader")]
    notes = []
    if real:
        try:
            other = like(model, tune.tune, seed)
        except ReverieError:
            other, notes = None, [NOT_HERE]
        if other is not None:
            told.append(_told(model, heard(model, words.to_text(other)), "people", other))
    return {"tunes": told}, [*_says(told), *notes]


def _told(model: Model, tune: Heard, by: str, source: Tune | None = None) -> dict[str, Any]:
    rows = surprises(model, Reading(tune.tokens, tune.texts, []))
    music = [
        asdict(word) | {name: row[name] for name in ("bits", "probability", "rank", "expected")}
        for word, row in zip(tune.words[1:], rows, strict=True)
        if word.bar is not None
    ]
    if not tune.notes:
        raise ReverieError("There is no note that could surprise: give a tune with a few.")
    shown = tune.tune if source is None else source
    return {
        "title": shown.title,
        "by": by,
        "words": music,
        "bars": _bars(music),
        "mean_bits": sum(row["bits"] for row in music) / len(tune.notes),
        "abc": abc.to_abc(shown),
    }


def _bars(music: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each bar costs in all; the sign at the very end of a part counts for the bar it closes."""
    bars = dict[int, dict[str, Any]]()
    for row in music:
        bar = bars.setdefault(row["bar"], {"bar": row["bar"], "number": row["number"], "bits": 0.0, "notes": 0})
        bar["bits"] += row["bits"]
        bar["notes"] += row["kind"] in ("note", "rest")
    return [bar for bar in bars.values() if bar["notes"]]


def _says(told: list[dict[str, Any]]) -> list[str]:
    own = told[0]
    notes = [row for row in own["words"] if row["kind"] in ("note", "rest")]
    most = max(notes, key=lambda row: row["bits"])
    dear, cheap = (pick(own["bars"], key=lambda bar: bar["bits"] / bar["notes"]) for pick in (max, min))
    says = [
        f"A note of this tune surprises by {own['mean_bits']:.1f} bits on the average, as a choice among "
        f"{2 ** own['mean_bits']:.1f} equally likely ones.",
        f"The greatest surprise was {_name(most)}: the model gave it {percent(most['probability'])}, "
        f"{most['bits']:.1f} bits, and expected {_bare(most['expected'][0]['text'])} "
        f"({percent(most['expected'][0]['probability'])}).",
        f"Bar {dear['number']} costs most, {dear['bits'] / dear['notes']:.1f} bits a note; bar {cheap['number']} "
        f"least, {cheap['bits'] / cheap['notes']:.1f}: what has been heard before is expected.",
    ]
    if len(told) > 1:
        other = told[1]
        gap = other["mean_bits"] - own["mean_bits"]
        how = "more" if gap > 0 else "less"
        title = other["title"] if other["title"] else "a tune without a name"
        says.append(
            f"A tune that people made, “{title}”, which the model has never seen, surprises by "
            f"{other['mean_bits']:.1f} bits a note: {abs(gap):.1f} {how}."
        )
    return says


def _name(row: dict[str, Any]) -> str:
    return f"{_bare(row['text'])} (bar {row['number']}, beat {row['beat']:.3g})"


def _bare(text: str) -> str:
    return f"“{text.strip()}”" if words.word_note(text.strip()) is None else text.strip().partition(":")[0]
