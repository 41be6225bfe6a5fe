"""The next note: what a model would write at a place of a tune, what the rule of bars forbids there, and why.

T words of a tune, V vocabulary
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from reverie.engine import Model
from reverie.explain.exhibit import Prompt, Shown, maker
from reverie.explain.reading import candidates, percent, quoted
from reverie.explain.sampling import drawn_shares
from reverie.explain.tunes import Heard, composes, heard
from reverie.modalities.music import Bars, MusicRequest
from reverie.notation import words
from reverie.notation.words import Follower
from reverie.types import ReverieError

SHOWN = 16  # candidates before the rule, and after it
PLENTY = 10_000  # tokens that are left: no tune is hurried to its end
LEAST_TOLD = 0.005  # of the probability


@maker(
    "music-next",
    title="The next note",
    question="Which note would the model write next, and which may come if the bars are to add up?",
    family="lm",
    when=composes,
    medium="music",
)
def music_next(
    model: Model,
    prompt: Prompt,
    *,
    place: int | None = None,
    temperature: float = MusicRequest.temperature,
    min_p: float = MusicRequest.min_p,
    guidance: float = MusicRequest.guidance,
    seed: int = 0,
) -> Shown:
    """The chances of every word at one place of a tune, before the rule of bars and after it.

    place: of the word that is to be chosen, among all words, of which the first begins the tune; one more than there
    are is what comes next; left out, where the rule forbids most. temperature, min_p, guidance: as for composing. seed:
    of the tune, where the prompt says only what kind of tune is wanted.
    data: tokens: what stands before; words (of the whole tune, see `music-attention`); place; written: the word that
    stands there, None at the end; left: what of the bar is still to be filled, as a share of a whole note ("3/8"), None
    outside of bars; candidates [{"id", "text", "logit", "probability", "allowed", "why", "chosen"}]: the likeliest
    before the rule and after it; probability: before it, at temperature 1; why: it is forbidden, else ""; chosen: after
    guidance, rule and settings; reasons [{"why", "probability", "num"}]: all that is forbidden, by reason; forbidden:
    how much of the probability that is; places [share]: the same for every place of the tune from 1 on.
    """
    tune = heard(model, prompt, seed)
    request = model.medium.request("", temperature=temperature, min_p=min_p, guidance=guidance)
    logits, beyond = _logits(model, tune, guidance)
    forbidden = _forbidden(model, tune, logits)
    place = _chosen(tune, forbidden, place)
    rule = _rule(model, tune, place)
    written = tune.texts[place] if place < len(tune.words) else None
    data = {
        "tokens": tune.texts[:place],
        "words": [asdict(word) for word in tune.words],
        "place": place,
        "written": written,
        "left": _left(rule.follower),
        **_told(model, logits[place - 1], beyond[place - 1], rule, request),
        "forbidden": forbidden[place - 1],
        "places": forbidden,
    }
    return data, _says(tune, data)


@torch.inference_mode()
def _logits(model: Model, tune: Heard, guidance: float) -> tuple[Tensor, Tensor]:
    """The logits after every word, and those that guidance by the key makes of them: (T, V) float32 each."""
    head = tune.wanted
    if not tune.composed:
        key = tune.tune.key
        head = {"key": key.tonic, "mode": key.mode}
    guide = model.medium.vocabulary.guide(head, guidance)
    rows = torch.tensor(guide.rows(tune.tokens[0].tolist()), device=tune.tokens.device)
    hidden = model.core.hidden(rows)  # (R, T, D)
    logits = torch.cat([model.core.logits(rows) for rows in hidden.split(64, 1)], 1).cpu()  # (R, T, V)
    return logits[0], guide(logits)


def _rule(model: Model, tune: Heard, place: int) -> Bars:
    """The rule of bars as it stands before the word at a place; a tune that was given has a form of its own."""
    rule = Bars(model.medium.vocabulary, tune.wanted, tune.num_bars, form=tune.composed)
    for token in tune.tokens[0, 1:place].tolist():
        rule.take(token, PLENTY)
    return rule


def _forbidden(model: Model, tune: Heard, logits: Tensor) -> list[float]:
    """How much of the probability the rule forbids at each place from 1 on; the tune must keep to it."""
    rule, shares = _rule(model, tune, 1), list[float]()
    for place, token in enumerate([*tune.tokens[0, 1:].tolist(), model.medium.vocabulary.finish]):
        allowed = rule.allow(logits[place])
        shares.append(float(logits[place].softmax(-1)[allowed.isneginf()].sum()))
        word = model.medium.vocabulary.texts.get(token)
        if word is not None and not rule.follower.allows(word):
            raise ReverieError(f"The bars of the tune do not add up (at {word!r}): give one whose bars are full.")
        rule.take(token, PLENTY)
    return shares


def _chosen(tune: Heard, forbidden: Sequence[float], place: int | None) -> int:
    """The place that was asked for, or that of a word of music where most is forbidden."""
    if place is not None:
        if not 1 <= place <= len(forbidden):
            raise ReverieError(f"place is {place}: give a number from 1 to {len(forbidden)}.")
        return place
    music = [at for at, word in enumerate(tune.words) if word.sounds or word.kind == "sign"]
    return max(music if music else [len(forbidden)], key=lambda at: forbidden[at - 1])


def _told(model: Model, logits: Tensor, beyond: Tensor, rule: Bars, request: Any) -> dict[str, Any]:
    """Candidates and reasons at a place, see `music_next`."""
    after = rule.allow(beyond)
    drawn, shares = drawn_shares(after, request), logits.softmax(-1)
    whys = {token: why(rule, token) for token in after.isneginf().nonzero()[:, 0].tolist()}
    first, then = (each.topk(min(SHOWN, len(logits))).indices.tolist() for each in (logits, drawn))
    ids = sorted({*first, *(token for token in then if drawn[token] > 0)}, key=lambda token: -float(logits[token]))
    reasons = defaultdict[str, list[int]](list)
    for token, reason in whys.items():
        reasons[reason].append(token)
    return {
        "candidates": [
            row | {"allowed": row["id"] not in whys, "why": whys.get(row["id"], ""), "chosen": float(drawn[row["id"]])}
            for row in candidates(model, logits, ids)
        ],
        "reasons": sorted(
            (
                {"why": reason, "probability": float(shares[tokens].sum()), "num": len(tokens)}
                for reason, tokens in reasons.items()
            ),
            key=lambda row: -row["probability"],
        ),
    }


# --- why not ---


def why(rule: Bars, token: int) -> str:
    """Why the rule forbids a token now, in a few words."""
    follower, word = rule.follower, rule.vocabulary.texts.get(token)
    if follower.in_head:
        name = words.HEAD[len(follower.told)]
        is_next = word is not None and word.startswith(f"{name}=")
        asked = f"{name}={follower.wanted.get(name)} was asked for"
        return asked if is_next else f"the head comes first, and {name} is next in it"
    if word is None or follower.over:
        return "the tune is over: a title follows" if follower.over else "title and end come after the last bar"
    if "=" in word:
        return "the head is over"
    note = words.word_note(word)
    return _why_no_sign(follower, word) if note is None else _why_no_note(follower, note.ticks)


def _why_no_note(follower: Follower, ticks: int) -> str:
    room = follower.full - follower.filled
    reasons = (
        (follower.ending == 1 and follower.last == words.REPEAT, "the second ending comes next"),
        (follower.num_bars is not None and follower.bars >= follower.num_bars, "all bars are there"),
        (follower.has_room(ticks) and follower.held is None, "the last bar closes on the tonic, and on a beat"),
        (follower.has_room(ticks), "the note before is tied: the same pitch goes on"),
        (not room, "no room: the bar is full"),
        (ticks > room, f"no room: {_share(room)} of the bar is left"),
        (True, "what is then left of the bar could not be filled"),
    )
    return next(reason for holds, reason in reasons if holds)


def _why_no_sign(follower: Follower, word: str) -> str:
    to_come = None if follower.num_bars is None else follower.num_bars - follower.bars - 1  # after this one
    missing, upbeat = follower.full - follower.filled, follower.upbeat or 0
    is_empty = not follower.filled and not (word == words.END and follower.last == words.REPEAT)
    reasons = (
        (word in words.ENDINGS, "no place for another ending"),
        (word == words.OPENS and follower.opened, "a repeat is open already"),
        (word == words.OPENS, "a repeat opens where a part begins"),
        (is_empty, "the bar is empty"),
        (missing > (0 if word == words.LINE else upbeat), f"the bar is not full: {_share(missing)} is missing"),
        (word != words.LINE and missing < upbeat, f"where a part ends, {_share(upbeat)} is left for the upbeat"),
        (word in (words.END, words.LINE) and follower.ending == 1 and not to_come, "the second ending is to come"),
        (word == words.END and to_come, f"more bars are to come: {to_come}"),
        (word in (words.REPEAT, words.DOUBLE) and not follower.may_end_part, "a part has whole phrases of four bars"),
        (word == words.DOUBLE and follower.opened, "a repeat is open, and must close"),
        (to_come == 0, "this is the last bar"),
        (True, "the bar does not end like this here"),
    )
    return next(reason for holds, reason in reasons if holds)


def _share(ticks: int) -> str:
    """Ticks as a share of a whole note: 3/8."""
    return str(Fraction(ticks, words.WHOLE))


def _left(follower: Follower) -> str | None:
    return None if follower.in_head or follower.over else _share(follower.full - follower.filled)


def _says(tune: Heard, data: dict[str, Any]) -> list[str]:
    rows, place = data["candidates"], data["place"]
    where = f"Before {tune.words[place].name}" if place < len(tune.words) else "After the last word"
    says = [f"{where} the model would say {quoted(rows[0]['text'])} with {percent(rows[0]['probability'])}."]
    if data["forbidden"] >= LEAST_TOLD:
        worst = data["reasons"][0]
        says.append(
            f"The rule of bars forbids {percent(data['forbidden'])} of what it would say; most of that, "
            f"{percent(worst['probability'])}, because: {worst['why']}."
        )
    else:
        says.append("The rule of bars forbids next to nothing here: the model has learnt to count.")
    kept = [row for row in rows if row["chosen"] > 0]
    best = max(kept, key=lambda row: row["chosen"])
    says.append(
        f"With guidance, rule and settings {quoted(best['text'])} is drawn {percent(best['chosen'])} of the time."
    )
    music = [share for word, share in zip(tune.words[1:], data["places"], strict=False) if word.bar is not None]
    num = sum(share >= 0.5 for share in music)
    says.append(f"At {num} of {len(music)} places in its bars more than half would have been forbidden.")
    return says
