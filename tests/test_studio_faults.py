"""The studio when things go wrong, on very small and very large screens, and with a picture dropped on it."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

import tiny_models
from serve_setup import WRITER, running, until
from studio_setup import NEEDS, PAGES, Studio, opened

pytestmark = NEEDS

ENDLESS = {"max_tokens": 1_000_000, "slide": True, "temperature": 0.0}
FITS = "document.documentElement.scrollWidth - innerWidth"
# Of what is to be read, in em; an exhibit may set out the words of a text over the whole width.
LONGEST_LINE = """Math.max(0, ...[...document.querySelectorAll("main p:not(.view p)")].flatMap((each) => {
    const range = document.createRange();
    range.selectNodeContents(each);
    const em = parseFloat(getComputedStyle(each).fontSize);
    return [...range.getClientRects()].map((line) => line.width / em);
}))"""
DROP = """([data, name]) => {
    const file = new File([Uint8Array.from(atob(data), (each) => each.charCodeAt(0))], name, { type: "image/png" });
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(file);
    document.querySelector("main").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that writes and never says that it has come to the end."""
    folder, writer = tmp_path_factory.mktemp("endless") / WRITER, tiny_models.decoder(tiny_models.LLAMA)
    writer.head.weight[tiny_models.bpe().token_to_id(tiny_models.END)] = 0.0  # never the likeliest
    tiny_models.save(folder, writer)
    return str(folder)


# --- kill -9 under an open page ---


def port_of(api: httpx.Client) -> int:
    port = urlsplit(str(api.base_url)).port
    assert port is not None
    return port


def without_an_end(route: Route) -> None:
    """The page sets bounds to what is written; here it is to last until the server is killed."""
    wanted: Any = route.request.post_data_json
    wanted["settings"] |= ENDLESS
    route.continue_(post_data=json.dumps(wanted))


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_an_answer_that_was_cut_by_kill_9_is_kept_and_can_be_had_again(
    browser: Browser, endless: str, tmp_path: Path
) -> None:
    with running(tmp_path, "-m", endless) as (process, api), opened(browser, api) as studio:
        page = studio.open("/write?max_tokens=16")
        page.route("**/api/generate", without_an_end)
        expect(page.get_by_text("Conversations are kept here.")).to_be_visible()
        page.locator("#prompt").fill("Tell me a story without an end")
        page.keyboard.press("Enter")
        expect(page.locator(".assistant .markdown")).to_have_text(re.compile("[a-zA-Z0-9]"))
        process.kill()
        expect(page.get_by_role("alert").first).to_contain_text("Look whether `reverie studio` still runs")
        expect(page.get_by_text("Not finished.")).to_be_visible()
        expect(page.locator(".assistant .markdown")).to_have_text(re.compile("[a-zA-Z0-9]"))  # drawn anew by now
        said = page.locator(".assistant .markdown").inner_text()
        with running(tmp_path, "-m", endless, port=port_of(api)):
            page.get_by_role("button", name="Try again").first.click()  # to save what is there
            expect(page.get_by_role("alert")).to_have_count(0)
            page.wait_for_url(re.compile("chat="))
            page.reload()
            expect(page.locator(".user .said")).to_have_text("Tell me a story without an end")
            letters = re.findall(r"[a-zA-Z0-9]", said)  # what is no letter, or half of one, may be laid out otherwise
            kept = re.compile("[^a-zA-Z0-9]*".join(letters))
            expect(page.locator(".assistant .markdown")).to_have_text(kept)
            page.unroute("**/api/generate")
            page.get_by_role("button", name="Another answer").click()
            expect(page.get_by_text("2 of 2")).to_be_visible()
            expect(page.get_by_role("button", name="Another answer")).to_be_visible()
            expect(page.get_by_text("Not finished.")).to_have_count(0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_the_queue_tells_of_kill_9_and_comes_back_and_an_interrupted_job_can_be_started_again(
    browser: Browser, endless: str, tmp_path: Path
) -> None:
    with running(tmp_path, "-m", endless) as (process, api), opened(browser, api) as studio:
        done = api.post("/api/jobs", json={"prompt": "a short one", "settings": {"max_tokens": 4}}).json()["id"]
        until(lambda: api.get(f"/api/jobs/{done}").json()["state"] == "done")
        api.post("/api/jobs", json={"prompt": "a long one", "settings": ENDLESS})
        page = studio.open("/queue")
        now = page.locator("section[aria-labelledby=part-running]")
        expect(now.locator(".title")).to_have_text(["a long one"])
        process.kill()
        expect(page.get_by_role("alert").first).to_contain_text("The server does not answer")
        with running(tmp_path, "-m", endless, port=port_of(api)) as (_, again):
            expect(page.get_by_role("alert")).to_have_count(0)  # by itself
            ended = page.locator("section[aria-labelledby=part-ended] li").filter(has_text="a long one")
            expect(ended).to_contain_text("interrupted when the server stopped")
            ended.get_by_role("button", name="Again", exact=True).click()
            expect(now.locator(".title")).to_have_text(["a long one"])
            page.get_by_role("button", name="Cancel: a long one").click()
            expect(now).to_have_count(0)
            states = sorted(job["state"] for job in again.get("/api/jobs").json()["jobs"])
            assert states == ["cancelled", "done", "interrupted"]
            page.get_by_role("link", name="See it").click()
            expect(page.get_by_role("dialog")).to_contain_text("a short one")


# --- screens ---


def fill_pages(studio: Studio) -> None:
    """Something on each page that could be too wide: code, a table, long words."""
    long = "Donaudampfschifffahrtsgesellschaftskapitän" * 4
    answer = f"```python\nx = '{long * 3}'\n```\n\n{long}\n\n| {long} | b |\n|-|-|\n| 1 | 2 |"
    turns = [
        {"id": 0, "parent": None, "role": "user", "text": long, "task": "chat"},
        {"id": 1, "parent": 0, "role": "assistant", "text": answer},
    ]
    studio.api.put("/api/chats/wide", json={"title": long, "body": {"turns": turns, "leaf": 1}})
    job = studio.api.post("/api/jobs", json={"prompt": long, "settings": {"steps": 2}, "modality": "image"}).json()
    until(lambda: studio.api.get(f"/api/jobs/{job['id']}").json()["state"] == "done")


@pytest.mark.parametrize(("width", "height"), [(360, 740), (3840, 2160)])
def test_full_pages_fit_a_phone_and_a_wall(browser: Browser, http: httpx.Client, width: int, height: int) -> None:
    with opened(browser, http, viewport={"width": width, "height": height}) as studio:
        fill_pages(studio)
        for path in (*PAGES, "/write?chat=wide", f"/gallery?item={studio.items()[0]['id']}"):
            page = studio.open(path)
            if path != "/queue":  # which is always told something
                page.wait_for_load_state("networkidle")
            assert page.evaluate(FITS) <= 0, path
            assert page.evaluate(LONGEST_LINE) < 60, path  # about 120 characters: nobody finds the next line after more
        page = studio.open("/draw?prompt=a+table&seed=1&lock=1&x=steps&xs=1,2,3,4,5&y=guidance&ys=1,4")
        page.get_by_role("button", name="Draw", exact=True).click()
        expect(page.locator(".scroll img")).to_have_count(10)
        assert page.evaluate(FITS) <= 0
        page.get_by_role("link", name="Save").scroll_into_view_if_needed()
        box = page.locator(".screen").bounding_box()
        assert box is not None
        assert box["width"] <= width
        assert box["height"] <= height  # a picture is seen whole
        assert studio.wrong == []


# --- a picture dropped ---


def drop(page: Page, data: bytes, name: str) -> None:
    page.evaluate(DROP, [base64.b64encode(data).decode(), name])


def test_a_dropped_picture_brings_back_all_its_settings(studio: Studio) -> None:
    words = (
        "steps=3&guidance=2.5&seed=42&lock=1&sampler=heun&negative=a+dog&model=tiny-drawer&prompt=a+cat+that+returns"
    )
    page = studio.open(f"/draw?{words}")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("link", name="Save").wait_for()
    item = studio.items()[0]
    picture = studio.api.get(item["url"]).content
    page = studio.open("/draw?prompt=something+else&steps=9")
    drop(page, picture, "cat.png")
    expect(page.locator("#prompt")).to_have_value("a cat that returns")
    expect(page.get_by_text("The settings are those of the picture")).to_be_visible()
    with page.expect_request("**/api/generate") as asked:
        page.get_by_role("button", name="Draw", exact=True).click()
    sent: Any = asked.value.post_data_json
    before = studio.api.get(f"/api/gallery/{item['id']}/again").json()
    assert sent["prompt"] == before["prompt"]
    given = {name: value for name, value in before["settings"].items() if value is not None}
    assert sent["settings"].items() >= given.items()
    page.get_by_role("link", name="Save").wait_for()
    until(lambda: studio.items()[0]["id"] != item["id"])
    assert studio.api.get(studio.items()[0]["url"]).content == picture
    drop(page, b"not a picture", "none.png")
    expect(page.get_by_role("alert")).to_be_visible()


@pytest.fixture
def studio(browser: Browser, http: httpx.Client) -> Iterator[Studio]:
    with opened(browser, http) as studio:
        yield studio
