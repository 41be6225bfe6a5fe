"""Questions from runs of a model that composes. Each function says by which rule it drops what is unclear."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np

from reverie.engine import Model
from reverie.explain import exhibit
from reverie.explain.reading import percent
from reverie.explain.tunes import Word, heard, held_out
from reverie.learn.questions import Choice, Option, Question, Show, Source
from reverie.media import read_picture, to_png
from reverie.notation import abc, engrave, words
from reverie.notation.musicxml import to_musicxml
from reverie.notation.order import upbeats
from reverie.notation.tune import Tune
from reverie.types import ReverieError

PROMPTS = (
    "a jig in D", "a jig in G", "a reel in D", "a reel in A", "a waltz in G", "a hornpipe in D", "a march in D",
    "a slip jig in G", "a jig in E minor",
)  # fmt: skip
FOLK_RNN = Source(title="Sturm et al., Music transcription modelling and composition using deep learning",
                  url="https://arxiv.org/abs/1604.08723")  # fmt: skip
TURING = Source(title="Huang et al., Music Transformer", url="https://arxiv.org/abs/1809.04281")
MARGIN = 1.5  # how many times as likely the right note must be as the next
WRONG = 3  # options beside the right one
BEFORE = 2  # bars that are shown before the note that is asked for
BARS = 4  # of a tune that is to be judged
LEAST_NOTES = 12  # in these
WIDTH_PX, MARGIN_PX, WHITE = 840, 8, 255  # of a score
TEMPO_BPM = 100  # of all beginnings, so that it tells nothing


def next_note(model: Model, chance: random.Random, name: str) -> Question | None:
    """Which note the model finds likeliest next. It must be 1.5 times as likely as any other word that may come."""
    prompt, seed = chance.choice(PROMPTS), chance.randrange(1000)
    tune = heard(model, prompt, seed)
    told, written = tune.words, "".join(tune.texts[1:])
    places = [at for at, word in enumerate(told) if word.kind == "note" and (word.bar or 0) > BEFORE]
    if not places:
        return None
    place = chance.choice(places)
    rows = exhibit("music-next", model, written, place=place).data["candidates"]
    allowed = [row for row in rows if row["allowed"]]
    notes = [row for row in allowed if words.word_note(row["text"].strip()) is not None]
    if len(notes) <= WRONG or notes[0] is not rows[0] or rows[0]["probability"] < MARGIN * rows[1]["probability"]:
        return None
    chosen = [notes[0], *chance.sample(notes[1:], WRONG)]
    options = [_note(row, row is notes[0]) for row in chosen]
    return Choice(
        id=name, kind="choice", topic="music", lesson="music", difficulty=2, options=options, source=TURING,
        text=f"{model.name} composes {prompt}, and has come to bar {told[place].number}: “{_before(told, place)} ...” "
        "Which note does it find likeliest to come next?",
        hints=["Has the phrase been there before? Then look how it went on.", _where(told, place)],
        explanation=f"The model gives every word a probability. It then wrote {told[place].text.strip()}.",
        exhibit=Show(name="music-next", prompt=prompt, options={"seed": seed, "place": place}),
    )  # fmt: skip


def _before(told: list[Word], place: int) -> str:
    """The last bars before a place, in words."""
    first = (told[place].bar or 0) - BEFORE
    return " ".join(word.text.strip() for word in told[:place] if word.bar is not None and word.bar >= first)


def _where(told: list[Word], place: int) -> str:
    return f"It comes on beat {told[place].beat:.3g}, after {told[place - 1].text.strip()}."


def _note(row: dict[str, Any], right: bool) -> Option:
    return Option(text=row["text"].strip(), right=right, why=f"Its probability is {percent(row['probability'])}.")


def by_people(model: Model, chance: random.Random, name: str) -> Question | None:
    """Which of four beginnings a person wrote. None where real tunes are not on this machine, or two are alike."""
    try:
        real = chance.choice(held_out())
    except ReverieError:
        return None
    seed = chance.randrange(1000)
    try:
        made = [_composed(model, real, seed + number) for number in range(WRONG)]
    except ReverieError:  # a model that knows no such tunes
        return None
    shown = [beginning(tune) for tune in (real, *made)]
    short = [tune for tune in shown if len(tune.notes) < LEAST_NOTES or words.num_bars(tune) < BARS]
    if short or len({tune.bars for tune in shown}) < len(shown):
        return None
    title = f" It is “{real.title}”." if real.title else ""
    whys = [f"People wrote it, more than a hundred years ago.{title}", *[f"{model.name} wrote it."] * WRONG]
    options = [
        Option(text=_line(tune), right=tune is shown[0], why=why, picture=_score(tune))
        for tune, why in zip(shown, whys, strict=True)
    ]
    return Choice(
        id=name, kind="choice", topic="music", lesson="music", difficulty=3, options=options, source=FOLK_RNN,
        text=f"Four beginnings of tunes ({_asked(real)}). Three were composed by {model.name}, which never saw the "
        "fourth. Which did a person write?",
        hints=["Sing them. Which one goes somewhere?", f"It is not “{options[-1].text}”."],
        explanation="If you were wrong, you are in good company: in a few bars there is little to tell by.",
        exhibit=Show(name="music-surprise", prompt=abc.to_abc(shown[0]), options={"real": False}),
    )  # fmt: skip


def _composed(model: Model, like: Tune, seed: int) -> Tune:
    """The beginning of a tune of the same kind, in the same metre and key."""
    wanted = {"key": f"{like.key.tonic} {like.key.mode}", "metre": str(like.metre), "rhythm": like.rhythm}
    generation = model.generate("", seed=seed, **wanted)
    num, guess = 0, ()
    for step in generation:
        num, guess = num + (step.info.get("text", "").strip() in words.LINES), step.guess
        if num > BARS:  # one of them may be an upbeat
            break
    generation.close()
    tune: Tune = model.medium.tune(guess, generation.request)
    return replace(tune, key=like.key)


def beginning(tune: Tune) -> Tune:
    """The first bars, an upbeat besides, without title and repeats."""
    return replace(tune, title="", tempo_bpm=TEMPO_BPM, bars=tuple(_first(tune)))


def _first(tune: Tune) -> Iterator[Any]:
    num = 0
    for bar, is_up in zip(tune.bars, upbeats(tune), strict=True):
        num += not is_up
        yield replace(bar, opens=False, ending=0, closes="final" if num == BARS else "")
        if num == BARS:
            return


def _line(tune: Tune) -> str:
    """Its notes in ABC, on one line."""
    return " ".join(line for line in abc.to_abc(tune).splitlines() if line[1:2] != ":")


def _asked(tune: Tune) -> str:
    return f"{tune.rhythm if tune.rhythm else 'tune'}, {tune.metre}, {tune.key}"


def _score(tune: Tune) -> str:
    """The notes alone as a data URL: no word on the page may tell who made them."""
    page = ElementTree.fromstring(to_musicxml(tune))  # noqa: S314 - written here
    for told in [*page.findall("credit"), *page.findall("identification")]:
        page.remove(told)
    picture = read_picture(engrave.png(ElementTree.tostring(page, encoding="unicode"), WIDTH_PX))
    rows = np.flatnonzero(picture.min((1, 2)) < WHITE)
    cropped = to_png(picture[max(rows[0] - MARGIN_PX, 0) : rows[-1] + MARGIN_PX])
    return f"data:image/png;base64,{base64.b64encode(cropped).decode()}"
