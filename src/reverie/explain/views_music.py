"""Views of the exhibits of models that compose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reverie.explain.reading import percent
from reverie.explain.views import Bars, Lines, Matrix, Table, View, Viewer, Words, shades

LEAST_NOTE = 0.02  # a smaller share is not written below its word
CONTEXT = 40  # words before the one that comes next
MANY = 12  # rows
SURPRISING_BITS = 8  # the shade of a note that surprises so much is full


def music_attention(data: Mapping[str, Any]) -> Iterable[View]:
    """The tune up to the note, shaded by where it looked; bars that look at bars; what the heads are good for."""
    note, words = data["note"], data["words"][: data["note"]]
    looks = data["weights"][note - 1]
    heard = [look if _sounds(word) else 0.0 for look, word in zip(looks, words, strict=True)]
    notes = [percent(look) if look >= LEAST_NOTE else "" for look in heard]
    where = _where(data)
    yield Words(
        f"Where the choice of {_name(data['words'][note])} looked ({where})", _texts(words), shades(heard), notes
    )
    bars = [
        [share if column <= row else None for column, share in enumerate(line)] for row, line in enumerate(data["bars"])
    ]
    names = _bar_names(data["words"])
    yield Matrix(f"Each row is a bar whose notes look, each column one looked at ({where})", names, names, bars)
    rows = [
        [f"layer {row['layer']}, head {row['head']}", percent(row["same"]), percent(row["before"])]
        for row in data["heads"]
    ]
    told = [[None, row["same"], row["before"]] for row in data["heads"]]
    header = ["", "to the same beat of earlier bars", "to the note before"]
    yield Table("How much of its attention each head gives", header, rows[:MANY], told[:MANY])


def music_next(data: Mapping[str, Any]) -> Iterable[View]:
    """What stands before, the candidates before the rule and after it, and why the others may not come."""
    before = data["words"][: data["place"]][-CONTEXT:]
    fades = [0.5 if word["bar"] == before[-1]["bar"] and word["bar"] is not None else 0.0 for word in before]
    yield Words("What stands before; this bar is coloured", _texts(before), fades)
    rows = data["candidates"][:MANY]
    names = [f"{row['text']}{'' if row['allowed'] else ' ✗'}" for row in rows]
    yield Bars("As the model gives them; ✗ may not come", names, [row["probability"] for row in rows], percent=True)
    kept = sorted((row for row in data["candidates"] if row["chosen"] > 0), key=lambda row: -row["chosen"])[:MANY]
    chosen = [row["chosen"] for row in kept]
    yield Bars("After the rule of bars and the settings", [row["text"] for row in kept], chosen, percent=True)
    cells = [[row["why"], f"{row['num']:,}", percent(row["probability"])] for row in data["reasons"]]
    told = [[None, None, row["probability"]] for row in data["reasons"]]
    if cells:
        yield Table("What may not come, and why", ["why", "words", "probability in all"], cells, told)
    yield Lines("How much the rule would have forbidden at each place of the tune", "place", "share",
                {"forbidden": list(enumerate(data["places"], 1))})  # fmt: skip


def music_surprise(data: Mapping[str, Any]) -> Iterable[View]:
    """Bits a note, bar by bar; each tune shaded by surprise, and what was expected instead."""
    yield Lines("Bits a note, bar by bar", "bar", "bits", {
        _title(tune): [(at, bar["bits"] / bar["notes"]) for at, bar in enumerate(tune["bars"], 1)]
        for tune in data["tunes"]
    })  # fmt: skip
    for tune in data["tunes"]:
        bits = [min(word["bits"] / SURPRISING_BITS, 1) for word in tune["words"]]
        notes = [f"{word['bits']:.1f}" if _sounds(word) else "" for word in tune["words"]]
        yield Words(f"{_title(tune)}: bits of each note below it", _texts(tune["words"]), bits, notes)
    own = sorted((word for word in data["tunes"][0]["words"] if _sounds(word)), key=lambda word: -word["bits"])[:5]
    rows = [
        [_name(word), percent(word["probability"]), ", ".join(_guess(each) for each in word["expected"])]
        for word in own
    ]
    yield Table("The greatest surprises", ["written", "probability", "expected"], rows)


def _where(data: Mapping[str, Any]) -> str:
    if data["layer"] is None:
        return "mean of all heads"
    return f"layer {data['layer']}, " + ("mean of its heads" if data["head"] is None else f"head {data['head']}")


def _title(tune: Mapping[str, Any]) -> str:
    by = {"model": "by the model", "reader": "your tune", "people": "by people"}[tune["by"]]
    return f"{tune['title'] or 'no name'} ({by})"


def _sounds(word: Mapping[str, Any]) -> bool:
    return word["kind"] in ("note", "rest")


def _name(word: Mapping[str, Any]) -> str:
    return f"{word['text'].strip()} in bar {word['number']}"


def _texts(words: Sequence[Mapping[str, Any]]) -> list[str]:
    """Words without the space before each; an eighth, the usual length, is left out."""
    return [word["text"].strip().removesuffix(":1/8") for word in words]


def _bar_names(words: Sequence[Mapping[str, Any]]) -> list[str]:
    """The number of each bar that has notes; that of an upbeat is the following bar's."""
    numbers = {word["bar"]: word["number"] for word in words if _sounds(word)}
    return [f"bar {number}" for number in numbers.values()]


def _guess(candidate: Mapping[str, Any]) -> str:
    return f"{candidate['text'].strip()} {percent(candidate['probability'])}"


VIEWERS: dict[str, Viewer] = {
    "music-attention": music_attention,
    "music-next": music_next,
    "music-surprise": music_surprise,
}
