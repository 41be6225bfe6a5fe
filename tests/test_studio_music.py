"""The page that composes, in a real browser: a score that grows, sound with a cursor, bars that are changed, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Browser, expect

import tiny_tunes
from serve_setup import served, until
from studio_setup import AUDIT, AXE, NEEDS, Studio, opened
from tiny_tunes import COMPOSER

pytestmark = NEEDS

ASKED = "/compose?prompt=a+jig+of+8+bars&seed=3&lock=1"


@pytest.fixture(scope="module")
def composer(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server of the tiny models and one that composes."""
    folder = tmp_path_factory.mktemp("composer")
    tiny_tunes.write_model(folder)
    with served(tmp_path_factory.mktemp("music"), {**models, COMPOSER: str(folder)}) as api:
        yield api


@pytest.fixture
def music(browser: Browser, composer: httpx.Client) -> Iterator[Studio]:
    with opened(browser, composer) as studio:
        yield studio


def compose(studio: Studio) -> None:
    """Composes a tune and waits for its sound."""
    page = studio.open(ASKED)
    page.get_by_role("button", name="Compose", exact=True).click()
    page.locator("audio").wait_for()


def test_a_tune_is_seen_heard_and_saved(music: Studio) -> None:
    compose(music)
    page = music.page
    expect(page.locator(".score svg g.measure").first).to_be_visible()
    expect(page.get_by_text(re.compile("^Jig in .*, 6/8"))).to_be_visible()
    expect(page.get_by_text("so the model chose: key")).to_be_visible()
    expect(page.get_by_text("the likeliest choice would have broken a bar")).to_be_visible()
    page.locator("audio").evaluate("audio => { audio.currentTime = 1.5; }")
    expect(page.locator(".score .note.now")).to_have_count(1)
    score = music.api.get(f"/api/gallery/{music.items()[0]['id']}/score").json()
    lit = page.locator(".score .note.now").get_attribute("id")
    note = next(note for note in score["notes"] if note["id"].partition("-")[0] == str(lit).partition("-")[0])
    assert any(start <= 1.6 and start + note["seconds"] >= 1.4 for start in note["starts_seconds"])
    with page.expect_download() as download:
        page.get_by_role("link", name=".mid", exact=True).click()
    assert download.value.path().read_bytes().startswith(b"MThd")
    for kind in ("wav", "mp3", "ogg", "abc", "musicxml", "svg", "png", "pdf"):
        expect(page.get_by_role("link", name=f".{kind}", exact=True)).to_be_visible()
    page.reload()  # the tune is in the address
    page.locator("audio").wait_for()
    expect(page.get_by_text(re.compile("^Jig in .*, 6/8"))).to_be_visible()
    assert music.wrong == []


def test_a_bar_is_changed_with_the_keyboard(music: Studio) -> None:
    compose(music)
    page = music.page
    before = music.items()[0]["id"]
    bars = page.locator(".score button")
    bars.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(bars.nth(2)).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Change it and go on").click()
    after = until(lambda: (now := music.items()[0])["id"] != before and now)
    expect(page.get_by_text("The bars before the one you chose were kept.")).to_be_visible()
    assert "begin=X%3A1" in page.url
    begin = music.api.get(f"/api/gallery/{before}/begin", params={"bars": 2}).json()["abc"]
    asked = music.api.get(f"/api/gallery/{after['id']}/again").json()["settings"]
    assert asked["begin"] == begin
    assert asked["seed"] != 3


def test_an_address_keeps_the_bars_that_a_tune_begins_with(music: Studio) -> None:
    begin = "X:1\nM:6/8\nL:1/8\nK:D\nABA ABA|ABA ABA|"
    page = music.open(f"{ASKED}&{urlencode({'begin': begin, 'bars': 8})}")
    page.get_by_role("button", name="Compose", exact=True).click()
    page.locator("audio").wait_for()
    first = music.items()[0]["id"]
    assert music.api.get(f"/api/gallery/{first}/again").json()["settings"]["begin"] == begin
    page.get_by_role("button", name="Keep no bars").click()
    expect(page).not_to_have_url(re.compile("begin="))
    page.get_by_role("button", name="Compose", exact=True).click()
    second = until(lambda: (now := music.items()[0])["id"] != first and now)
    assert not music.api.get(f"/api/gallery/{second['id']}/again").json()["settings"].get("begin")


def test_a_score_is_laid_out_for_the_room_it_has(music: Studio) -> None:
    compose(music)
    page = music.page
    lines = page.locator(".score g.system")
    wide = lines.count()
    page.set_viewport_size({"width": 390, "height": 800})
    expect(lines).not_to_have_count(wide)
    assert lines.count() > wide
    assert page.locator("div.score").evaluate("score => score.scrollWidth <= score.clientWidth")
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(lines).to_have_count(wide)
    assert music.wrong == []


def test_on_a_phone_no_line_of_a_long_score_is_cut(browser: Browser, composer: httpx.Client) -> None:
    with opened(browser, composer, viewport={"width": 390, "height": 600}) as studio:
        page = studio.open("/compose?prompt=a+jig+of+32+bars&seed=3&lock=1")
        page.get_by_role("button", name="Compose", exact=True).click()
        page.locator("audio").wait_for()
        card = page.locator("div.score")
        last = card.locator("g.system").last
        last.scroll_into_view_if_needed()
        assert card.evaluate("score => score.clientHeight") > 0.7 * 600
        assert card.evaluate("score => score.scrollHeight <= score.clientHeight")
        told, shown = last.bounding_box(), card.bounding_box()
        assert told is not None
        assert shown is not None
        assert told["y"] + told["height"] <= shown["y"] + shown["height"]
        assert studio.wrong == []


def test_what_was_understood_otherwise_is_told(music: Studio) -> None:
    page = music.open("/compose?prompt=a+jig+in+H&seed=3&lock=1")
    page.get_by_role("button", name="Compose", exact=True).click()
    expect(page.get_by_text("H is read as B, which is its name in English.")).to_be_visible()
    assert music.items()[0]["about"]["notes"] == ["H is read as B, which is its name in English."]


def test_another_seed_gives_another_tune(music: Studio) -> None:
    compose(music)
    first = music.items()[0]
    music.page.get_by_role("button", name="Again with another seed").click()
    second = until(lambda: (now := music.items()[0])["id"] != first["id"] and now)
    assert second["prompt"] == first["prompt"]
    assert second["seed"] != first["seed"]


def test_the_notes_of_the_roll_are_told_and_show_what_they_looked_at(music: Studio) -> None:
    compose(music)
    page = music.page
    roll = page.get_by_role("application")
    roll.focus()
    for _ in range(9):
        roll.press("ArrowRight")
    expect(page.locator("#roll-told")).to_have_text(re.compile(r"^[A-G]♯?\d, Bar \d+, \d\.\d\d s$"))
    if any(each["name"] == "music-attention" for each in music.api.get("/api/exhibits").json()["exhibits"]):
        expect(page.locator(".roll rect.seen").first).to_be_attached()
        expect(page.locator(".score .note.seen").first).to_be_attached()
    assert music.wrong == []


def test_the_settings_are_sent(music: Studio) -> None:
    page = music.open(ASKED)
    page.get_by_text("Settings", exact=True).click() if not page.get_by_label("Key").is_visible() else None
    page.get_by_label("Instrument").select_option("harp")
    page.get_by_label("With bass and chords").check()
    page.get_by_label("Bars").fill("8")
    page.get_by_label("Bars").press("Tab")
    page.get_by_role("button", name="Compose", exact=True).click()
    expect(page.get_by_text("for harp, with bass and chords")).to_be_visible()
    asked = music.api.get(f"/api/gallery/{music.items()[0]['id']}/again").json()["settings"]
    assert (asked["instrument"], asked["backing"], asked["bars"], asked["seed"]) == ("harp", True, 8, 3)


def test_the_gallery_shows_and_plays_tunes(music: Studio) -> None:
    compose(music)
    page = music.open("/gallery")
    expect(page.locator("li img").first).to_be_visible()
    page.locator("li button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("img")).to_be_visible()
    expect(dialog.locator("audio")).to_be_visible()
    how = dialog.get_by_role("link", name="How was this made?").get_attribute("href")
    assert how is not None
    assert how.startswith("/inside?exhibit=music-next&prompt=rhythm")
    dialog.get_by_role("link", name="Open it").click()
    expect(page.locator(".score svg g.measure").first).to_be_visible()
    expect(page.locator("#prompt")).to_have_value("a jig of 8 bars")
    assert music.wrong == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_a_finished_tune_fits_and_is_accessible(
    browser: Browser, composer: httpx.Client, width: int, scheme: str
) -> None:
    with opened(browser, composer, viewport={"width": width, "height": 800}, color_scheme=scheme) as studio:
        studio.page.add_init_script(path=AXE)
        compose(studio)
        page = studio.page
        page.locator(".score button").first.click()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate(AUDIT) == []
        assert studio.wrong == []
