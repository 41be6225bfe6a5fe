"""Looking into a model that animates, in a real browser: patches that look at all frames, clips that play, the quiz."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from reverie.learn import live_video
from serve_setup import ANIMATOR, served, until
from studio_setup import AUDIT, AXE, NEEDS, Studio, opened

pytestmark = NEEDS
ASKED = "prompt=a+red+cat&steps=2&frames=4"
OPTIONS = {"steps": 2, "frames": 4}


@pytest.fixture(scope="module")
def animator(animators: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server of the tiny models and one that animates."""
    with served(tmp_path_factory.mktemp("video"), animators) as api:
        yield api


@pytest.fixture
def video(browser: Browser, animator: httpx.Client) -> Iterator[Studio]:
    with opened(browser, animator) as studio:
        yield studio


def _told(studio: Studio, name: str, **options: Any) -> dict[str, Any]:
    """What the server tells of an exhibit."""
    reply = studio.api.post(f"/api/exhibits/{name}", json={"prompt": "a red cat", "options": {**OPTIONS, **options}})
    return dict(reply.json()["exhibit"]["data"])


def _sound(page: Page) -> None:
    """What is shown can be used by all."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate(AUDIT) == []


def _lit(page: Page, told: dict[str, Any], patch: int) -> None:
    """The patch of all frames that got most of the look is not darkened; the caption tells what its frame got."""
    looks = told["looks"][patch]
    shares = [share for frame in looks for share in frame]
    darkened = page.locator(".film rect:not(.here)")
    expect(darkened).to_have_count(len(shares))
    best = shares.index(max(shares))
    until(lambda: float(darkened.nth(best).get_attribute("fill-opacity") or "nan") == 0)
    for at in (0, 3):
        expect(page.locator(".film .cell").nth(at)).to_contain_text(f"{at}: {round(100 * sum(looks[at]))} %")


def test_a_patch_lights_up_what_it_looked_at_with_pointer_and_keyboard(video: Studio) -> None:
    told = _told(video, "video-attention")
    page = video.open(f"/inside?exhibit=video-attention&{ASKED}")
    frames = page.get_by_role("group", name="The frames of the clip").get_by_role("button")
    expect(frames).to_have_count(4)
    _lit(page, told, told["row"] * told["columns"] + told["column"])
    here = frames.nth(told["frame"])
    box = here.bounding_box()
    assert box is not None
    here.click(position={"x": 0.6 * box["width"], "y": 0.1 * box["height"]})  # row 0, column 2 of 4
    _lit(page, told, 2)
    here.press("ArrowDown")
    here.press("ArrowRight")
    _lit(page, told, told["columns"] + 3)
    assert "frame=" not in page.url  # nothing was asked for: the looks of all patches of this frame are here
    expect(page.get_by_role("status").filter(has_text="gave")).to_contain_text("Row 1, column 3 of frame 2")
    _sound(page)
    assert video.wrong == []


def test_a_patch_of_another_frame_is_asked_for(video: Studio) -> None:
    told = {at: _told(video, "video-attention", frame=at) for at in (1, 3)}
    page = video.open(f"/inside?exhibit=video-attention&{ASKED}")
    frames = page.get_by_role("group", name="The frames of the clip").get_by_role("button")
    box = frames.nth(1).bounding_box()
    assert box is not None
    frames.nth(1).click(position={"x": 0.6 * box["width"], "y": 0.1 * box["height"]})  # row 0, column 2 of 4
    expect(frames.nth(1)).to_have_attribute("aria-pressed", "true")
    _lit(page, told[1], 2)
    expect(page).to_have_url(re.compile("frame=1&row=0&column=2"))
    frames.nth(3).press("Enter")  # the same place in another frame
    expect(page.get_by_role("status").filter(has_text="of frame 3 gave")).to_contain_text("Row 0, column 2")
    _lit(page, told[3], 2)
    expect(frames.nth(3)).to_be_focused()
    frames.nth(3).press("ArrowDown")
    _lit(page, told[3], told[3]["columns"] + 2)
    _sound(page)
    assert video.wrong == []


def test_a_clip_plays_and_stops_and_is_scrubbed(video: Studio) -> None:
    told = _told(video, "video-together")
    page = video.open(f"/inside?exhibit=video-together&{ASKED}")
    pictures = page.locator(".stage img")
    expect(pictures).to_have_count(2)  # with and without
    slider = page.get_by_label("Picture 4 of 4")
    slider.press("Home")
    expect(pictures.first).to_have_attribute("src", told["together"]["frames"][0])
    expect(pictures.last).to_have_attribute("src", told["apart"]["frames"][0])
    page.get_by_role("button", name="Play").click()
    expect(pictures.first).to_have_attribute("src", told["together"]["frames"][2])
    page.get_by_role("button", name="Stop").click()
    before = pictures.first.get_attribute("src")
    page.wait_for_timeout(400)
    assert pictures.first.get_attribute("src") == before
    _sound(page)
    assert video.wrong == []


def test_models_that_animate_have_a_list_of_their_own(video: Studio) -> None:
    page = video.open(f"/inside?model={ANIMATOR}&{ASKED}")
    expect(page.get_by_role("heading", name="Attention between frames")).to_be_visible()
    shown = page.get_by_role("navigation", name="What to look at")
    for name in ("Attention between frames", "From noise to a clip", "Given frames", "Frames together and apart"):
        expect(shown.get_by_role("link", name=name)).to_have_count(1)
    expect(shown.get_by_role("link", name="Parameters")).to_have_count(2)  # of models that write, and that draw
    page = video.open("/inside?exhibit=video-given&model=&steps=2&frames=3")
    expect(page.locator("#prompt")).to_have_value("a red panda riding a skateboard to the right")


def test_frames_are_put_in_order_with_the_keyboard(video: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clip of random weights goes nowhere, so it is asked about all the same."""
    monkeypatch.setattr(live_video, "LEAST_DRIFT", -1.0)
    monkeypatch.setattr(live_video, "LEAST_DISTANCE", 0.0)
    monkeypatch.setattr(live_video, "STEPS", 2)
    begun = video.api.post("/api/quiz", json={"topic": "video", "num": 3, "live": True, "seed": 1}).json()
    while not begun["question"]["id"].startswith("live-"):
        given = {"question": begun["question"]["id"], "answer": None}
        begun = video.api.post(f"/api/quiz/{begun['id']}/answer", json=given).json()["next"]
    page = video.open(f"/quiz?quiz={begun['id']}")
    steps = page.locator(".step")
    expect(steps).to_have_count(live_video.SHOWN)
    for at in range(live_video.SHOWN):
        steps.nth(at).press("Enter")
    expect(steps.last).to_contain_text(f"number {live_video.SHOWN}")
    _sound(page)
    page.get_by_role("button", name="Answer", exact=True).press("Enter")
    expect(page.locator(".verdict")).to_be_visible()
    assert video.wrong == []
