"""Compositional accuracy: does a picture show what its prompt says? Judged question by question.

Prompts are scenes of pairs that training never shows. The same judge also looks at real renders of the same scenes:
what it gets wrong there is the judge's own share of the errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from reverie.data.caption import WITH
from reverie.data.icons import Pixels
from reverie.data.scene import Scene
from reverie.data.vocabulary import Concept, article, vocabulary
from reverie.evaluate.judge import QUESTIONS, SURE, Judge, answers
from reverie.hub.datasets import open_scenes

Drawer = Callable[[str, int], Pixels]  # (prompt, seed) -> uint8 (S, S, 3)
ALL = "all at once"
REAL_PX = 128


@dataclass(frozen=True)
class Count:
    """right: how often, of how many."""

    right: int
    asked: int

    @property
    def share(self) -> float:
        """0 to 1; of nothing asked it is 0."""
        return self.right / max(self.asked, 1)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies in 95 of 100 cases (Wilson 1927)."""
        n, z = max(self.asked, 1), 1.96
        middle = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(self.share * (1 - self.share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(middle - half, 0.0), min(middle + half, 1.0)


Table = dict[str, Count]  # by question, and `ALL`


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one picture, by question asked: its answer, how sure it is, whether that is right."""

    said: dict[str, str]
    sure: dict[str, float]
    right: dict[str, bool]

    @property
    def all_right(self) -> bool:
        """Whether everything that was asked is right."""
        return all(self.right.values())


@dataclass(frozen=True)
class Report:
    """Scenes and their drawn and real pictures, and what the judge says of each."""

    scenes: list[Scene]
    drawn: list[Pixels]
    real: list[Pixels]
    drawn_verdicts: list[Verdict]
    real_verdicts: list[Verdict]

    @property
    def tables(self) -> tuple[Table, Table]:
        """Of the drawn pictures, and of the real ones."""
        return table(self.drawn_verdicts), table(self.real_verdicts)


def prompts(num: int = 200, seed: int = 1) -> list[Scene]:
    """Scenes of held-out pairs; their captions name plainly all that is asked about."""
    source = open_scenes(REAL_PX, "held_out")
    found: list[Scene] = []
    index = 0
    while len(found) < num:
        scene = source.scene(seed, index)
        index += 1
        if not scene.size:  # the judge is not asked about sizes
            found.append(replace(scene, caption=plain(scene)))
    return found


def plain(scene: Scene) -> str:
    """A caption of fixed wording: "a red cat riding a blue skateboard at the beach"."""
    words = vocabulary()
    things = {**words.objects, **words.vehicles, **words.subjects}
    parts = [_thing(scene.colour, scene.subject)]
    if scene.other is not None:
        how = things[scene.other].on[0] if scene.relation == "riding" else WITH[scene.relation][0]
        parts += [how, _thing(scene.other_colour, _name(things[scene.other]))]
    return " ".join([*parts, words.backgrounds[scene.background].say[0]])


def _thing(colour: str | None, name: str) -> str:
    return article(name if colour is None else f"{colour} {name}")


def _name(concept: Concept) -> str:
    return concept.say[0] if concept.say else concept.name


def score_drawer(
    draw: Drawer, judge: Judge, num: int = 200, seed: int = 1, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Has `num` prompts drawn, prompt i with seed i, and judged, beside real renders of the same scenes.

    progress(pictures drawn, in all) is told how far.
    """
    scenes, drawn = prompts(num, seed), list[Pixels]()
    for number, scene in enumerate(scenes):
        drawn.append(draw(scene.caption, number))
        if progress is not None:
            progress(number + 1, num)
    source = open_scenes(REAL_PX, "held_out")
    real = [source.render(scene) for scene in scenes]
    return Report(scenes, drawn, real, verdicts(judge, drawn, scenes), verdicts(judge, real, scenes))


def verdicts(judge: Judge, pictures: Sequence[Pixels], scenes: Sequence[Scene]) -> list[Verdict]:
    """What the judge says of each picture as a picture of its scene."""
    return [verdict(given, accepted(scene)) for given, scene in zip(judge.ask(pictures), scenes, strict=True)]


def accepted(scene: Scene) -> dict[str, set[str]]:
    """The right answers to each question that is asked of a picture of a scene."""
    right = {name: {answer} for name, answer in answers(scene).items() if answer is not None}
    if scene.relation == "next to":  # on which side was not said
        right["relation"] = {"left of", "right of"}
    return right


def verdict(given: Mapping[str, tuple[str, float]], accepted: Mapping[str, Collection[str]]) -> Verdict:
    """What a judge says. given: answers and how sure they are; accepted: the right ones of what is asked."""
    said = {name: given[name][0] for name in accepted}
    sure = {name: given[name][1] for name in accepted}
    right = {name: said[name] in accepted[name] and sure[name] >= SURE for name in accepted}
    return Verdict(said, sure, right)


def table(judged: Sequence[Verdict], questions: Sequence[str] = QUESTIONS) -> Table:
    """How often each question is answered as it should be, where it is asked."""
    counts = {}
    for name in questions:
        marks = [verdict.right[name] for verdict in judged if name in verdict.right]
        counts[name] = Count(sum(marks), len(marks))
    return {**counts, ALL: Count(sum(verdict.all_right for verdict in judged), len(judged))}


def lines(columns: dict[str, Table]) -> list[list[str]]:
    """A table for people: a header, then for each question the share and its interval in every column."""
    rows = [["", *columns]]
    for name in next(iter(columns.values())):
        cells = [cell(table[name]) for table in columns.values()]
        rows.append([name.replace("_", " "), *cells])
    return rows


def cell(count: Count) -> str:
    """A share with its interval."""
    low, high = count.interval
    return f"{count.share:6.1%} ({low:.0%} to {high:.0%})" if count.asked else "not asked"
