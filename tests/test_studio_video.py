"""The page that animates, in a real browser: frames that sharpen at once, a player, time and steps to drag, files."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

import serve_setup
from reverie import engine, moving
from serve_setup import DRAWER, generate, served, until
from studio_setup import AUDIT, AXE, NEEDS, Studio, opened

pytestmark = NEEDS

ASKED = "/animate?prompt=a+red+cat&seed=3&lock=1&steps=3&frames=4"


@pytest.fixture(scope="module")
def animator(animators: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("video"), animators) as api:
        yield api


@pytest.fixture
def video(browser: Browser, animator: httpx.Client) -> Iterator[Studio]:
    with opened(browser, animator) as studio:
        yield studio


def animate(studio: Studio, path: str = ASKED) -> Page:
    """Makes a clip and waits for its files."""
    page = studio.open(path)
    page.get_by_role("button", name="Animate", exact=True).click()
    page.get_by_role("link", name=".mp4", exact=True).wait_for()
    return page


def shown(page: Page) -> Any:
    """The frame that is looked at."""
    return page.locator(".screen img")


def test_any_frame_is_seen_after_any_step(video: Studio) -> None:
    page = animate(video)
    item = video.items()[0]["id"]
    expect(shown(page)).to_have_attribute("src", f"/api/gallery/{item}/frames")
    expect(shown(page)).to_have_attribute("alt", "a red cat, frame 1 of 4, after step 3 of 3")
    page.get_by_label("Frame 1 of 4").press("End")
    expect(shown(page)).to_have_attribute("alt", "a red cat, frame 4 of 4, after step 3 of 3")
    page.get_by_label("Step 3 of 3").press("Home")
    expect(shown(page)).to_have_attribute("alt", "a red cat, frame 4 of 4, after step 1 of 3")
    expect(shown(page)).to_have_attribute("src", re.compile("^data:image/webp"))
    guess = shown(page).get_attribute("src")
    page.get_by_label("What the model saw").check()
    expect(shown(page)).not_to_have_attribute("src", guess)
    pad = page.get_by_role("application")
    pad.press("ArrowDown")
    pad.press("ArrowLeft")
    expect(shown(page)).to_have_attribute("alt", "a red cat, frame 3 of 4, after step 2 of 3")
    box = pad.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.up()
    expect(shown(page)).to_have_attribute("alt", "a red cat, frame 2 of 4, after step 1 of 3")
    assert video.wrong == []


def test_a_frame_is_cut_out_of_its_strip(video: Studio) -> None:
    page = animate(video)
    page.get_by_label("Frame 1 of 4").press("ArrowRight")
    expect(shown(page)).to_have_attribute("alt", re.compile("frame 2 of 4"))
    screen, strip = page.locator(".screen .frame").bounding_box(), shown(page).bounding_box()
    assert screen is not None
    assert strip is not None
    frame = strip["width"] / 4
    assert frame == pytest.approx(strip["height"], rel=0.01)
    assert strip["x"] + frame < screen["x"] < strip["x"] + frame + 0.02 * frame  # the second, but for half a pixel
    assert screen["x"] + screen["width"] < strip["x"] + 2 * frame


def test_it_plays_and_keeps_still_for_whoever_wants_that(video: Studio, browser: Browser) -> None:
    page = animate(video)
    expect(page.get_by_label("Frame 1 of 4")).to_be_visible()
    page.wait_for_timeout(400)
    expect(page.get_by_label("Frame 1 of 4")).to_be_visible()  # less motion was asked for
    page.get_by_label("Over and over").uncheck()
    page.get_by_role("button", name="Play").press("Enter")
    expect(page.get_by_label("Frame 4 of 4")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # it stopped at the end
    with opened(browser, video.api, reduced_motion="no-preference") as other:
        page = other.open(f"/animate?item={video.items()[0]['id']}")
        page.get_by_role("button", name="Pause").wait_for()
        expect(page.get_by_label("Frame 3 of 4")).to_be_visible()
        page.get_by_role("button", name="Pause").click()
        still = page.locator("input[max='4']").input_value()
        page.wait_for_timeout(400)
        assert page.locator("input[max='4']").input_value() == still


def test_it_is_saved_and_comes_back_by_its_address(video: Studio) -> None:
    page = animate(video)
    for kind, begin in (("gif", b"GIF8"), ("webp", b"RIFF"), ("png", b"\x89PNG"), ("mp4", b"")):
        with page.expect_download() as download:
            page.get_by_role("link", name=f".{kind}", exact=True).click()
        assert download.value.suggested_filename == f"a red cat.{kind}"
        data = download.value.path().read_bytes()
        assert data.startswith(begin)
    assert moving.read_record(data)["prompt"] == "a red cat"
    page.reload()
    expect(shown(page)).to_have_attribute("alt", "a red cat, frame 1 of 4, after step 3 of 3")
    page.get_by_label("Step 3 of 3").press("Home")
    expect(shown(page)).to_have_attribute("src", re.compile("/steps/0$"))
    how = page.get_by_role("link", name="How was this made?")
    expect(how).to_have_attribute("href", re.compile("exhibit=video-denoising.*steps=3.*frames=4.*seed=3"))
    assert video.wrong == []


def test_all_frames_sharpen_at_once_and_it_can_be_stopped(
    browser: Browser, animators: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    quick = serve_setup.load

    def slow(name: str, **options: Any) -> engine.Model:
        model = quick(name, **options)
        model.core.blocks[0].register_forward_hook(lambda *_: time.sleep(0.05))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve_setup, "load", slow)
        with served(tmp_path_factory.mktemp("slow"), animators) as api, opened(browser, api) as studio:
            page = studio.open(ASKED.replace("steps=3", "steps=60"))
            page.get_by_role("button", name="Animate", exact=True).click()
            sheet = page.get_by_role("img", name=re.compile(r"^All frames of the clip after step \d+ of 60: a red cat"))
            expect(sheet.locator("img")).to_have_count(4)
            first = sheet.locator("img").first.get_attribute("src")
            expect(sheet.locator("img").first).not_to_have_attribute("src", first or "")
            expect(page.get_by_text(re.compile(r"\d s left"))).to_be_visible()
            page.keyboard.press("Escape")
            expect(page.get_by_text("Stopped")).to_be_visible()
            expect(shown(page)).to_have_count(1)  # what there was of it can be looked at
            assert studio.items() == []
            assert studio.wrong == []


def test_a_picture_of_the_gallery_is_set_in_motion(video: Studio) -> None:
    generate(video.api, {"model": DRAWER, "prompt": "a still cat", "settings": {"steps": 2, "seed": 1}})
    page = video.open("/gallery?q=still")
    page.locator("li button").first.click()
    page.get_by_role("link", name="Animate this").click()
    expect(page.get_by_alt_text("The first picture of the clip")).to_be_visible()
    expect(page.locator("#prompt")).to_have_value("a still cat")
    expect(page.get_by_label("A loop")).to_be_disabled()
    page.get_by_role("button", name="One of the gallery: a still cat").first.click()  # as the last one too
    expect(page.get_by_alt_text("The last picture of the clip")).to_be_visible()
    page.get_by_label("Steps", exact=True).press("Home")
    page.get_by_role("button", name="Animate", exact=True).click()
    page.get_by_role("link", name=".mp4", exact=True).wait_for()
    assert video.items()[0]["about"]["given"] == ["begin", "end"]
    page.get_by_role("button", name="Take it away").first.click()
    expect(page.get_by_alt_text("The first picture of the clip")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("from="))
    assert video.wrong == []


def test_a_clip_is_gone_on_from(video: Studio) -> None:
    page = animate(video, f"{ASKED}&loop=1")
    first = video.items()[0]
    assert first["about"]["loop"] is True
    page.get_by_role("button", name="Go on from here").click()
    expect(page.locator("#prompt")).to_be_focused()
    expect(page.get_by_text("Goes on from this clip")).to_be_visible()
    page.get_by_label("Frames", exact=True).fill("7")
    page.locator("#prompt").fill("a red cat jumps")
    page.get_by_role("button", name="Go on", exact=True).click()
    expect(page.get_by_text("7 frames")).to_be_visible()  # four of the first, three new ones
    asked = video.api.get(f"/api/gallery/{video.items()[0]['id']}/again").json()
    assert (asked["settings"]["extend"], asked["prompt"]) == (first["id"], "a red cat jumps")
    page.get_by_role("button", name="Begin anew").click()
    expect(page.get_by_role("button", name="Animate", exact=True)).to_be_visible()
    assert video.wrong == []


def test_the_settings_are_sent_and_it_waits_in_the_queue(video: Studio) -> None:
    page = video.open("/animate?prompt=a+blue+cat&frames=4&steps=2&fps=12&guidance=2&seed=8&lock=1")
    page.get_by_text("More settings").click()
    page.get_by_label("Sampler").select_option("euler")
    page.get_by_label("Not in the picture").fill("dark")
    page.get_by_label("A loop").check()
    page.get_by_role("button", name="Add to the queue").click()
    expect(page.get_by_text("In the queue: 1.")).to_be_visible()
    job = until(lambda: (now := video.jobs()[0])["state"] == "done" and now)
    wanted = {"frames": 4, "fps": 12, "steps": 2, "guidance": 2, "seed": 8, "sampler": "euler", "negative": "dark"}
    assert {name: job["request"]["settings"][name] for name in wanted} == wanted
    assert job["request"]["settings"]["loop"] is True


def test_the_gallery_shows_and_plays_clips(video: Studio) -> None:
    animate(video)
    page = video.open("/gallery")
    page.locator("li button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".screen img")).to_have_attribute("alt", re.compile("frame 1 of 4, after step 3 of 3"))
    dialog.get_by_role("button", name="Play").click()
    expect(dialog.get_by_label("Frame 3 of 4")).to_be_visible()
    expect(dialog.get_by_role("link", name=".gif", exact=True)).to_be_visible()
    expect(dialog.get_by_role("link", name="How was this made?")).to_be_visible()
    dialog.get_by_role("link", name="Go on from here").click()
    expect(page.get_by_text("Goes on from this clip")).to_be_visible()
    assert video.wrong == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_it_fits_and_is_accessible(browser: Browser, animator: httpx.Client, width: int, scheme: str) -> None:
    with opened(browser, animator, viewport={"width": width, "height": 800}, color_scheme=scheme) as studio:
        studio.page.add_init_script(path=AXE)
        page = studio.open("/animate")
        page.get_by_text("First and last picture").click()
        page.get_by_text("More settings").click()
        _check(page)
        animate(studio)
        page.get_by_role("button", name="Go on from here").click()
        _check(page)
        studio.open("/gallery").locator("li button").first.click()
        page.get_by_role("dialog").locator(".screen img").wait_for()
        _check(page)
        assert studio.wrong == []


def _check(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(AUDIT) == []
