"""How lengths are written: note values with dots, triplets, ties where one value is not enough, and beams.

Lengths and places are ticks (`tune.QUARTER` to a quarter note).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reverie.notation.tune import QUARTER, Bar, Metre, Note

# Lengths in half ticks, so that a triplet of 128ths is whole too.
_TYPES = {"breve": 768, "whole": 384, "half": 192, "quarter": 96, "eighth": 48, "16th": 24, "32nd": 12, "64th": 6}
_TYPES["128th"] = 3
_SHAPES = {
    length: (name, dots)
    for dots, (times, over) in ((2, (7, 4)), (1, (3, 2)), (0, (1, 1)))
    for name, plain in _TYPES.items()
    for length in (plain * times // over,)
    if plain * times % over == 0
}
FLAGS = {"eighth": 1, "16th": 2, "32nd": 3, "64th": 4, "128th": 5}  # or beams


@dataclass(frozen=True)
class Written:
    """One note head or rest with its value.

    note: its place among the bar's notes. piece: 0, or more where ties make up a length that no one value has.
    at: ticks from where a full bar would begin. tied: with the next one. beams: for each beam, the first one first,
    "begin", "continue", "end", "forward hook" or "backward hook". tuplet: "start", "stop" or "".
    """

    note: int
    piece: int
    pitch: int | None
    at: int
    ticks: int
    type: str
    dots: int
    triplet: bool
    tied: bool
    tuplet: str = ""
    beams: tuple[str, ...] = ()


def written(bar: Bar, metre: Metre, is_upbeat: bool) -> list[Written]:
    """The heads and rests of a bar. is_upbeat: what a short bar lacks is missing at its beginning."""
    at = max(0, metre.ticks - bar.ticks) if is_upbeat else 0
    found: list[Written] = []
    for group, is_triplet in _groups(bar.notes):
        members: list[Written] = []
        for index, note in group:
            members.extend(_pieces(index, note, at, metre, is_triplet))
            at += note.ticks
        found.extend(_bracketed(members) if is_triplet else members)
    return _beamed(found, metre)


def _groups(notes: Sequence[Note]) -> Iterator[tuple[list[tuple[int, Note]], bool]]:
    """Runs of notes, and whether each is a triplet: no plain value is free of the factor 3, and no triplet's has it."""
    group: list[tuple[int, Note]] = []
    for index, note in enumerate(notes):
        group.append((index, note))
        if sum(member.ticks for _, member in group) % 3 == 0:
            yield group, len(group) > 1
            group = []
    if group:
        yield group, True


def _pieces(index: int, note: Note, at: int, metre: Metre, is_triplet: bool) -> Iterator[Written]:
    for piece, (ticks, left) in enumerate(_split(note.ticks, at, metre.beat_ticks, is_triplet)):
        name, dots = _SHAPES[_half_ticks(ticks, is_triplet)]
        tied = note.pitch is not None and (left > 0 or note.tied)
        yield Written(index, piece, note.pitch, at, ticks, name, dots, is_triplet, tied)
        at += ticks


def _half_ticks(ticks: int, is_triplet: bool) -> int:
    """The written length: a triplet's notes are written half as long again as they sound."""
    return 3 * ticks if is_triplet else 2 * ticks


_VALUES = {  # the lengths that one value has, in ticks
    is_triplet: tuple(each for each in range(1, 768 + 1) if _half_ticks(each, is_triplet) in _SHAPES)
    for is_triplet in (False, True)
}


def _split(ticks: int, at: int, beat: int, is_triplet: bool) -> Iterator[tuple[int, int]]:
    """(ticks, ticks left) of each value that makes up a length; the longest first that ends on a beat, if one does."""
    while ticks:
        fitting = [each for each in _VALUES[is_triplet] if each <= ticks]
        on_beat = [each for each in fitting if (at + each) % beat == 0]
        best = ticks if ticks in fitting else max(on_beat if on_beat else fitting)
        at, ticks = at + best, ticks - best
        yield best, ticks


def _bracketed(members: list[Written]) -> list[Written]:
    if len(members) < 2:
        return members
    return [replace(members[0], tuplet="start"), *members[1:-1], replace(members[-1], tuplet="stop")]


def _beamed(heads: list[Written], metre: Metre) -> list[Written]:
    """The same with beams: short notes of one beat, or of half a bar of eighths, are joined."""
    found = list(heads)
    run: list[int] = []
    for index, head in enumerate([*heads, None]):
        joins = head is not None and head.pitch is not None and head.type in FLAGS
        if run and not (
            joins and head is not None and _place(heads, head, metre) == _place(heads, heads[run[0]], metre)
        ):
            for member, beams in zip(run, _beams([FLAGS[heads[each].type] for each in run]), strict=True):
                found[member] = replace(found[member], beams=beams)
            run = []
        if joins:
            run.append(index)
    return found


def _place(heads: Sequence[Written], head: Written, metre: Metre) -> tuple[int, int]:
    """What a note shares with those it may be joined to: (length of the group, its number)."""
    half = 2 * QUARTER
    if metre.unit in (2, 4) and metre.ticks % half == 0:
        group = [each for each in heads if each.at // half == head.at // half]
        if all(each.type == "eighth" and each.dots == 0 and not each.triplet for each in group):
            return half, head.at // half
    return metre.beat_ticks, head.at // metre.beat_ticks


def _beams(flags: list[int]) -> list[tuple[str, ...]]:
    """For each note of a run, what each of its beams does; flags: how many each note has."""
    if len(flags) < 2:
        return [()] * len(flags)
    return [tuple(_beam(flags, at, level) for level in range(1, flags[at] + 1)) for at in range(len(flags))]


def _beam(flags: list[int], at: int, level: int) -> str:
    before = at > 0 and flags[at - 1] >= level
    after = at + 1 < len(flags) and flags[at + 1] >= level
    if before and after:
        return "continue"
    if before or after:
        return "end" if before else "begin"
    return "backward hook" if at > 0 else "forward hook"
