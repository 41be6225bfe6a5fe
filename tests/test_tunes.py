"""Tunes as data and as words: the grammar of bars, prompts, families of like tunes, and the medium that composes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tunes as examples
from reverie.data import tunes
from reverie.data.tunes import alike, cleaned, collect, intervals, kind_of, load, shown_title
from reverie.notation import plan, words
from reverie.notation.abc import from_abc, to_abc
from reverie.notation.abc import tunes as split
from reverie.notation.theory import Key, at_pitch_class, heard_key, spelled
from reverie.notation.tune import Note, Tune
from reverie.notation.words import Follower, adds_up, from_text, note_word, num_bars, shifted, to_text, word_note
from reverie.types import ReverieError

DURATIONS = (4, 8, 12, 16, 24, 36, 48, 72, 96)


def upbeat(notes: str = "A|def gfe|dcB A2:|B|ABc def|gfe d2|]") -> Tune:
    return from_abc(f"X:1\nT:Up\nR:jig\nM:6/8\nL:1/8\nK:D\n{notes}")


# --- words ---


def test_a_tune_is_told_in_words_and_heard_again() -> None:
    tune = upbeat()
    text = to_text(tune)
    assert text.startswith(" rhythm=jig metre=6/8 key=D mode=major bars=4 A4:1/8 | D5:1/8 E5:1/8 F#5:1/8")
    assert text.endswith("D5:1/4 |] Up")
    again = from_text(text)
    assert (again.title, again.rhythm, again.metre, again.key) == (tune.title, tune.rhythm, tune.metre, tune.key)
    assert again.bars == tune.bars


@given(st.builds(Note, st.none() | st.integers(21, 108), st.integers(1, 500)))
def test_every_note_has_a_word_of_its_own(note: Note) -> None:
    assert word_note(note_word(note)) == note


@pytest.mark.parametrize("word", ["", "|", "rhythm=jig", "z", ":1/8", "key=D"])
def test_what_is_no_note_is_none(word: str) -> None:
    assert word_note(word) is None


def test_a_word_moves_by_semitones() -> None:
    assert shifted("F#4:1/8-", 2) == "G#4:1/8-"
    assert [shifted(word, 5) for word in ("|:", "z:1/8", "bars=16")] == ["|:", "z:1/8", "bars=16"]


def test_upbeats_are_no_bars() -> None:
    assert num_bars(upbeat()) == 4
    assert num_bars(examples.twinkle()) == 4


@pytest.mark.parametrize(
    "notes",
    [
        "ABc def|gfe d3|]",
        "A|def gfe|dcB A2:|A|def gfe|dcB A2|]",
        "|:ABc def|1 gfe d3:|2 gfe e3||dcB A3|]",
        "ABc def|gfe d3||ABc def|gfe d3:|",
    ],
)
def test_whole_bars_add_up(notes: str) -> None:
    assert adds_up(upbeat(notes))


@pytest.mark.parametrize(
    "notes",
    [
        "ABc de|gfe d3|]",  # one short
        "ABc defg|gfe d3|]",  # one long
        "A|def gfe|dcB A3:|",  # the upbeat is not left out at the end
        "A|def gfe|dcB A2:|AB|def gfe|dcB A2|]",  # another upbeat in the second part
        "def gfe|dcB A2|]",
    ],
)
def test_broken_bars_do_not(notes: str) -> None:
    assert not adds_up(upbeat(notes))


@given(
    st.integers(0, 2**32),
    st.sampled_from(["6/8", "4/4", "3/4", "9/8", "2/4", "3/8", "2/2"]),
    st.integers(1, 40),
    st.sampled_from([1, 4]),
)
@settings(max_examples=80, deadline=None)
def test_whatever_is_allowed_leads_to_a_whole_tune(seed: int, metre: str, length: int, phrase: int) -> None:
    """A walk at random through what may come never gets stuck, and has as many bars as it should, in whole phrases."""
    dice = random.Random(seed)
    follower = Follower(num_bars=length, durations=DURATIONS, phrase=phrase)
    notes = [
        note_word(Note(pitch, ticks, tied)) for pitch in (None, 62, 69) for ticks in DURATIONS for tied in (False, True)
    ]
    notes = [word for word in notes if word not in ("z:1/8-",) and not (word.startswith("z") and word.endswith("-"))]
    told = ["rhythm=jig", f"metre={metre}", "key=D", "mode=major", f"bars={length}"]
    for word in told:
        assert follower.allows(word)
        follower.take(word)
    while not follower.over:
        allowed = [word for word in (*notes, *words.SIGNS) if follower.allows(word)]
        assert allowed, (told, vars(follower))
        home = [word for word in allowed if follower.leads_home(word)]
        told.append(dice.choice(home if home else allowed))
        if told[-1] in (words.REPEAT, words.DOUBLE) and follower.filled:
            assert (follower.part_bars + 1) % phrase == 0 or follower.bars + 1 + (follower.ending == 1) == length
        follower.take(told[-1])
    tune = from_text("".join(f" {word}" for word in told))
    assert adds_up(tune)
    assert num_bars(tune) == length
    assert not tune.pitches or from_abc(to_abc(tune)).bars == tune.bars


def in_last_bar(metre: str, told: str, upbeat: str = "") -> Follower:
    """A tune of one bar in D, so far."""
    follower = Follower(num_bars=1, durations=DURATIONS)
    for word in f"rhythm=air metre={metre} key=D mode=minor bars=1 {upbeat} {told}".split():
        assert follower.allows(word)
        follower.take(word)
    return follower


@pytest.mark.parametrize(
    ("metre", "told", "home", "astray"),
    [
        ("4/4", "A4:1/2 E4:1/4", ("D4:1/4", "D5:1/4"), ("A4:1/4", "z:1/4", "E4:1/8", "D4:1/4-")),
        ("4/4", "A4:1/2 E4:1/8", ("A4:1/8", "D4:1/8"), ("D4:3/8", "D4:1/4")),  # between beats no tune closes
        ("6/8", "A4:3/8", ("D4:3/8",), ("D4:1/4", "F4:3/8")),
        ("2/2", "A4:1/2", ("D4:1/2", "E4:1/4"), ("E4:3/8", "A4:1/2")),
        ("4/4", "D5:1/2", ("D4:1/4", "D5:1/4"), ("A4:1/4", "A4:1/8")),  # the upbeat is left out
    ],
)
def test_a_tune_closes_on_its_tonic_on_a_beat(
    metre: str, told: str, home: tuple[str, ...], astray: tuple[str, ...]
) -> None:
    follower = in_last_bar(metre, told, "A4:1/4 |" if told.startswith("D5") else "")
    assert all(follower.leads_home(word) for word in home)
    assert not any(follower.leads_home(word) for word in astray)


def test_only_the_last_bar_is_led_home() -> None:
    follower = Follower(num_bars=2, durations=DURATIONS)
    for word in ["rhythm=air", "metre=4/4", "key=D", "mode=major", "bars=2", "A4:3/4"]:
        follower.take(word)
    assert follower.leads_home("E4:1/4")
    for word in ("E4:1/4", "|"):
        follower.take(word)
    assert not follower.leads_home("E4:1/1")


def test_a_part_ends_after_whole_phrases() -> None:
    follower = Follower(num_bars=8, phrase=4)
    for word in ["rhythm=air", "metre=4/4", "key=D", "mode=major", "bars=8", "A4:1/1", "|", "A4:1/1", "|", "A4:1/1"]:
        follower.take(word)
    assert not follower.allows("||")
    assert follower.allows("|")
    for word in ("|", "A4:1/1"):
        follower.take(word)
    assert follower.allows("||")
    assert follower.allows(":|")


@pytest.mark.parametrize(("bars", "may"), [(8, True), (9, True), (7, False), (5, False), (4, True)])
def test_no_part_is_left_with_less_than_a_phrase(bars: int, may: bool) -> None:
    follower = Follower(num_bars=bars, phrase=4)
    head = ["rhythm=air", "metre=4/4", "key=D", "mode=major", f"bars={bars}"]
    for word in [*head, "A4:1/1", "|", "A4:1/1", "|", "A4:1/1", "|", "A4:1/1"]:
        follower.take(word)
    assert follower.allows(":|") == may


@pytest.mark.parametrize(("bars", "may"), [(9, True), (10, True), (5, True), (8, False), (12, False), (7, False)])
def test_two_endings_leave_whole_phrases(bars: int, may: bool) -> None:
    follower = Follower(num_bars=bars, phrase=4)
    head = ["rhythm=air", "metre=4/4", "key=D", "mode=major", f"bars={bars}"]
    for word in [*head, "A4:1/1", "|", "A4:1/1", "|", "A4:1/1", "|"]:
        follower.take(word)
    assert follower.allows("[1") == may


def test_of_two_endings_one_counts() -> None:
    follower = Follower(num_bars=9, phrase=4)
    for word in [
        "rhythm=air",
        "metre=4/4",
        "key=D",
        "mode=major",
        "bars=9",
        "A4:1/1",
        "|",
        "A4:1/1",
        "|",
        "A4:1/1",
        "|",
        "[1",
        "A4:1/1",
    ]:
        follower.take(word)
    assert follower.allows(":|")
    for word in (":|", "[2", "A4:1/1"):
        follower.take(word)
    assert follower.part_bars == 3
    assert follower.allows("||")


# --- keys ---


@pytest.mark.parametrize(("tonic", "sharps"), [("C", 0), ("D", 2), ("Bb", -2), ("F#", 6), ("Eb", -3)])
def test_signatures(tonic: str, sharps: int) -> None:
    assert Key(tonic).sharps == sharps
    assert Key(tonic, "dorian").sharps == sharps - 2


@given(st.integers(21, 108), st.integers(0, 11), st.sampled_from(["major", "minor", "dorian"]))
def test_a_spelling_is_its_pitch_and_its_scale_has_no_signs(pitch: int, tonic: int, mode: str) -> None:
    key = at_pitch_class(tonic, mode)
    step, alter, octave = spelled(pitch, key)
    assert {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[step] + alter + 12 * (octave + 1) == pitch
    if pitch % 12 in key.scale:
        from reverie.notation.theory import signature

        assert signature(key.sharps)[step] == alter


def test_the_key_of_a_scale_is_heard() -> None:
    weights = [0.0] * 12
    for pitch in Key("A").scale:
        weights[pitch] = 1.0
    weights[9] = weights[4] = 2.0
    assert heard_key(weights) == Key("A")
    with pytest.raises(ReverieError, match="No key"):
        heard_key([0.0] * 12)


@pytest.mark.parametrize("tonic", ["", "H", "d", "C##", "#"])
def test_there_are_no_other_keys(tonic: str) -> None:
    with pytest.raises(ReverieError, match="no key"):
        Key(tonic)


# --- prompts ---


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (
            "a lively Irish jig in D major",
            {"rhythm": "jig", "metre": "6/8", "tonic": "D", "mode": "major", "speed": 1.15},
        ),
        ("slow air in A minor", {"rhythm": "air", "tonic": "A", "mode": "minor", "speed": 0.8}),
        ("a hornpipe in a minor key", {"rhythm": "hornpipe", "tonic": None, "mode": "minor"}),
        ("32-bar waltz in F# minor, 140 bpm", {"rhythm": "waltz", "tonic": "F#", "num_bars": 32, "tempo_bpm": 140}),
        ("a slip jig in e minor", {"rhythm": "slip jig", "metre": "9/8", "tonic": "E", "mode": "minor"}),
        ("a polka in B flat", {"metre": "2/4", "tonic": "Bb", "mode": "major"}),
        ("a reel in the key of G", {"rhythm": "reel", "tonic": "G", "mode": "major"}),
        ("a waltz in H", {"rhythm": "waltz", "tonic": "B", "mode": "major", "german": True}),
        ("a jig in h minor", {"tonic": "B", "mode": "minor", "german": True}),
        ("Hm, a jig", {"tonic": None, "german": False}),
        ("a reel in B", {"tonic": "B", "german": False}),
        ("a march in 6/8", {"rhythm": "march", "metre": "6/8"}),
        ("a merry dance", {"rhythm": "dance", "mode": "major", "tonic": None}),
        ("sixteen bars of something sad", {"num_bars": 16, "mode": "minor", "rhythm": None}),
        ("reels", {"rhythm": "reel"}),
        ("a", {"rhythm": None, "tonic": None}),
        ("", {"rhythm": None, "mode": None}),
    ],
)
def test_words_say_what_is_wanted(prompt: str, told: dict[str, object]) -> None:
    found = plan.read(prompt)
    assert {name: getattr(found, name) for name in told} == told


@given(st.text(max_size=200))
def test_any_prompt_is_a_plan(prompt: str) -> None:
    plan.read(prompt).tempo_of("jig")


# --- data ---


def test_titles_are_tidied() -> None:
    assert shown_title("QUEEN OF MAY -- JIG") == "Queen of May"
    assert shown_title("The Cuckoo'S Nest") == "The Cuckoo's Nest"
    assert shown_title("The Minstrel Boys") == ""


@pytest.mark.parametrize(
    ("rhythm", "title", "metre", "kind"),
    [
        ("double jig", "", "6/8", "jig"),
        ("", "Smith's Reel", "2/2", "reel"),
        ("", "Slip Jig of Cork", "9/8", "slip jig"),
        ("reel", "", "6/8", "jig"),  # the book is wrong
        ("", "Nameless", "3/4", "waltz"),
        ("", "Nameless", "4/4", "dance"),
    ],
)
def test_kinds_come_from_book_title_or_metre(rhythm: str, title: str, metre: str, kind: str) -> None:
    assert kind_of(from_abc(f"X:1\nT:{title}\nR:{rhythm}\nM:{metre}\nL:1/8\nK:D\nA")) == kind


def test_like_tunes_are_one_family_in_any_key() -> None:
    tune = examples.jig()
    other = tune.transposed(-2, Key("C"))
    strange = from_abc("X:1\nM:4/4\nL:1/8\nK:G\n" + "GBdg bgdB|cege dBGB|AcFA DFAc|BGBd g4|" * 4)
    first, second, third = alike([intervals(tune), intervals(other), intervals(strange)])
    assert first == second != third


def test_what_cannot_serve_is_left_out() -> None:
    assert cleaned(examples.twinkle()) is None  # four bars are no tune
    assert cleaned(upbeat("|:" + "ABc def|" * 7 + "ABc de:|")) is None  # a bar is short
    whole = cleaned(examples.jig())
    assert whole is not None
    assert whole.bars == examples.jig().bars


def test_a_family_is_learnt_or_held_out_as_a_whole(tmp_path: Path) -> None:
    once = [from_abc(text) for text in split(examples.book(40))]
    higher = [tune.transposed(5, Key("G")) for tune in once]
    texts = {
        f"{name}/{at}.abc": to_abc(tune) for name, all_ in (("a", once), ("b", higher)) for at, tune in enumerate(all_)
    }
    kept = collect(texts)
    families: dict[int, set[bool]] = {}
    for one in kept:
        families.setdefault(one.family, set()).add(one.held_out)
    assert len(kept) == 80
    assert all(len(told) == 1 for told in families.values())
    assert set().union(*families.values()) == {True, False}
    file = tmp_path / "tunes.json"
    file.write_text(tunes.to_json(kept))
    assert load(file) == kept


def test_keys_of_a_tune_stay_within_the_fiddle() -> None:
    tune = examples.jig()
    found = tunes.keys(tune)
    assert found[0] == (0, tune.key)
    assert len({key.pitch_class for _, key in found}) == len(found) >= 10
    for shift, _ in found:
        assert min(tune.pitches) + shift >= tunes.LOWEST
        assert max(tune.pitches) + shift <= tunes.HIGHEST
