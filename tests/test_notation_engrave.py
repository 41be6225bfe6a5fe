"""Scores as pictures: every note is there, text needs no font of the machine, and a cursor knows the way."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from reverie.notation import engrave
from reverie.notation.harmony import chords
from reverie.notation.musicxml import to_musicxml
from reverie.notation.theory import Key
from reverie.notation.tune import Bar, Metre, Note, Tune
from reverie.types import ReverieError
from tunes import jig, scale, tunes, wild_tunes

SVG = "{http://www.w3.org/2000/svg}"


def note_ids(page: str) -> list[str]:
    root = ElementTree.fromstring(page)
    return [group.get("id", "") for group in root.iter(f"{SVG}g") if group.get("class", "").split()[:1] == ["note"]]


def words(page: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(page).iter(f"{SVG}text")]


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


@settings(max_examples=15, deadline=None)
@given(tunes(3))
def test_each_note_of_the_tune_is_in_the_score(tune: Tune) -> None:
    (page,) = engrave.svg(to_musicxml(tune, chords(tune)))
    assert sorted(note_ids(page)) == sorted(head.id for head in engrave.cursor(tune))


@settings(max_examples=25, deadline=None)
@given(wild_tunes())
def test_no_tune_breaks_the_engraver(tune: Tune) -> None:
    assert engrave.svg(to_musicxml(tune, chords(tune)))


def test_title_maker_tempo_and_chords_are_written() -> None:
    (page,) = engrave.svg(to_musicxml(jig(), chords(jig())))
    found = words(page)
    assert {"The Lively Test", "Made by a generative model, Reverie", "Jig", "120", "D", "A", "1", "2"} <= set(found)
    assert not re.search(r"[\ue000-\uf8ff]", page)  # music glyphs are outlines and no letters of a font
    assert "<style" not in page


def test_the_same_score_gives_the_same_files() -> None:
    score = to_musicxml(jig(), chords(jig()))
    assert engrave.svg(score) == engrave.svg(score)
    assert engrave.pdf(score) == engrave.pdf(score)


def test_the_picture_shows_music_and_text_and_little_else() -> None:
    dark = picture(engrave.png(to_musicxml(jig(), chords(jig())), 1000)) < 128
    height, width = dark.shape
    assert width == 1000
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    assert rows[0] < 60 and height - rows[-1] < 80  # noqa: PT018
    assert columns[0] < 60 and width - columns[-1] < 60  # noqa: PT018
    title = dark[: height // 12, 350:650]
    assert 0.01 < title.mean() < 0.5


def titled(title: str) -> str:
    return to_musicxml(Tune(title, "", Metre(4, 4), Key("C"), (Bar((Note(60, 192),)),)))


def test_a_title_makes_a_difference_without_any_system_font() -> None:
    plain, named = (picture(engrave.png(titled(title), 800)) for title in ("", "Tráthnóna Źółć Ελ Юг"))
    assert (plain[:50, 250:550] != named[:50, 250:550]).mean() > 0.01


def test_letters_that_the_font_lacks_do_no_harm() -> None:
    score = titled("日本 🎻 عرب")
    assert engrave.png(score, 400)[:4] == b"\x89PNG"
    assert engrave.pdf(score)[:5] == b"%PDF-"


def test_a_narrow_page_holds_all_of_it_in_more_lines() -> None:
    score = to_musicxml(jig(), chords(jig()))
    (wide,), (narrow,) = engrave.svg(score), engrave.svg(score, width=1000)
    assert sorted(note_ids(narrow)) == sorted(note_ids(wide))
    assert narrow.count('class="system"') > wide.count('class="system"')
    assert ElementTree.fromstring(narrow).get("viewBox", "").split()[2] == "1000"


@pytest.mark.parametrize("width", [engrave.LEAST_WIDTH, engrave.WIDTH])
def test_words_over_the_music_stay_on_the_page_in_any_font(width: int) -> None:
    (page,) = engrave.svg(titled("The Long and Winding Title of a Tune That Never Ends"), width=width)
    title, maker = next(group for group in ElementTree.fromstring(page).iter() if group.get("class") == "header")
    assert (title.get("text-anchor"), title.get("x")) == ("middle", str(width * 5))
    assert (maker.get("text-anchor"), int(maker.get("x", "0")) < width * 10) == ("end", True)
    assert float(title.get("font-size", "0")) * len(title.text or "") * 0.42 < width * 10


def test_a_pdf_has_a4_pages_and_says_who_made_it() -> None:
    data = engrave.pdf(to_musicxml(scale()))
    assert data[:5] == b"%PDF-"
    assert re.search(rb"/MediaBox \[0 0 595\.\d+ 841\.\d+\]", data)
    assert data.count(b"/Type /Page\n") == 1
    long = Tune("", "", Metre(4, 4), Key("C"), tuple(Bar((Note(60, 192),)) for _ in range(120)))
    assert engrave.pdf(to_musicxml(long)).count(b"/Type /Page\n") > 1


def test_a_picture_that_would_be_too_high_is_refused() -> None:
    long = Tune("", "", Metre(4, 4), Key("C"), tuple(Bar((Note(60, 192),)) for _ in range(600)))
    with pytest.raises(ReverieError, match="write a PDF"):
        engrave.png(to_musicxml(long))


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(ReverieError, match="cannot be engraved"):
        engrave.svg("<score-partwise/>")


def test_a_cursor_finds_each_note_at_each_time_it_sounds() -> None:
    tune = jig()
    heads = engrave.cursor(tune)
    assert heads[0].starts_seconds == (0.0, 8.0)  # 120 dotted quarters: eight bars in eight seconds
    first_ending, second_ending = heads[-16 + 3], heads[-1]
    assert len(first_ending.starts_seconds) == 1
    assert len(second_ending.starts_seconds) == 1
    assert second_ending.starts_seconds[0] + second_ending.seconds == pytest.approx(tune.seconds())
    times = sorted((at, at + head.seconds) for head in heads for at in head.starts_seconds)
    assert all(end == pytest.approx(start) for (_, end), (start, _) in pairwise(times))
