"""The studio in a real browser, against a whole server with tiny models."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

import serve_setup
from reverie import engine
from serve_setup import served, until
from studio_setup import AUDIT, AXE, NEEDS, PAGES, Studio, opened

SLOW_SECONDS = 0.05  # a token or a step of models that are to be stopped

pytestmark = NEEDS


@pytest.fixture(scope="module")
def slow_server(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Like `http`, but every pass through a model takes a while."""
    quick = serve_setup.load

    def slow(name: str, **options: Any) -> engine.Model:
        model = quick(name, **options)
        model.core.blocks[0].register_forward_hook(lambda *_: time.sleep(SLOW_SECONDS))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve_setup, "load", slow)
        with served(tmp_path_factory.mktemp("slow"), models) as api:
            yield api


@pytest.fixture
def slow_studio(browser: Browser, slow_server: httpx.Client) -> Iterator[Studio]:
    with opened(browser, slow_server) as studio:
        yield studio


# --- all pages ---


def _note(asked: set[str], request: Request) -> None:
    asked.add(request.url)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_every_page_fits_is_accessible_and_keeps_to_itself(
    browser: Browser, http: httpx.Client, width: int, scheme: str
) -> None:
    with opened(browser, http, viewport={"width": width, "height": 800}, color_scheme=scheme) as studio:
        asked: set[str] = set()
        studio.page.on("request", partial(_note, asked))
        studio.page.add_init_script(path=AXE)
        for path in PAGES:
            page = studio.open(path)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
            assert page.evaluate(AUDIT) == [], path
        hosts = {urlsplit(url).netloc for url in asked if not url.startswith("data:")}
        assert hosts == {urlsplit(str(http.base_url)).netloc}
        assert studio.wrong == []


def test_an_address_that_is_no_page_says_so(studio: Studio) -> None:
    page = studio.open("/nowhere")
    expect(page.locator("main")).to_contain_text("/nowhere")
    page.get_by_role("link", name="Go to the first page.").click()
    expect(page).to_have_url(re.compile(r"/$"))


def test_the_keyboard_alone_gets_everywhere(studio: Studio) -> None:
    page = studio.open("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the second page after the wordmark
    expect(page).to_have_url(re.compile("/draw$"))
    page.locator("#prompt").focus()
    page.keyboard.type("a blue cat")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Save")).to_be_visible()


def test_colours_are_remembered(studio: Studio) -> None:
    page = studio.open("/queue")
    page.get_by_role("button", name="Dark colours").click()
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    expect(page.get_by_role("button", name="Light colours")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper != "rgb(251, 249, 244)"


# --- the two ideas ---


def with_a_seed(route: Route) -> None:
    """Home leaves chance to the server; a test wants the same words each time."""
    wanted: Any = route.request.post_data_json
    wanted["settings"]["seed"] = 1
    route.continue_(post_data=json.dumps(wanted))


def test_another_word_sends_the_sentence_another_way(studio: Studio) -> None:
    page = studio.open("/")
    page.route("**/api/generate", with_a_seed)
    page.get_by_role("button", name="Start again").click()
    expect(page.get_by_role("button", name="One on")).to_be_disabled(timeout=20_000)  # the sentence is at its end
    expect(page.locator(".bars button")).to_have_count(6)
    shares = [int(re.sub(r"\D", "", text)) for text in page.locator(".share").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    other = page.locator(".bars button:not(.chosen):not(:disabled)").first
    word = other.locator(".word").inner_text()
    with page.expect_request("**/api/generate") as asked:
        other.click()
    sent: Any = asked.value.post_data_json
    before, now = page.locator("#sentence").input_value(), sent["prompt"]
    assert now.startswith(before)
    assert word == "␣" or now.replace("\n", "⏎").rstrip().endswith(word)


def test_static_becomes_a_picture(studio: Studio) -> None:
    page = studio.open("/")
    page.get_by_role("button", name="Draw it").click()
    expect(page.locator("#when")).to_be_enabled()
    page.locator("#when").fill("1")
    first = page.locator(".pair img").last.get_attribute("src")
    page.locator("#when").fill(page.locator("#when").get_attribute("max") or "")
    assert page.locator(".pair img").last.get_attribute("src") != first
    assert not any(item["prompt"] == page.locator("#picture").input_value() for item in studio.items())


# --- write ---


def test_stop_ends_the_writing_and_another_answer_stands_beside_it(slow_studio: Studio) -> None:
    page = slow_studio.open("/write?temperature=1")
    page.locator("#prompt").fill("Tell me a story")
    page.keyboard.press("Enter")
    page.locator(".assistant .markdown").wait_for()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    until(lambda: all(job["state"] in ("cancelled", "done") for job in slow_studio.jobs()))
    assert slow_studio.jobs()[0]["state"] == "cancelled"
    page.get_by_role("button", name="Another answer").click()
    page.locator(".assistant .markdown").wait_for()
    page.keyboard.press("Escape")
    expect(page.get_by_text("2 of 2")).to_be_visible()
    page.get_by_role("button", name="The version before").click()
    expect(page.get_by_text("1 of 2")).to_be_visible()


def test_a_conversation_with_its_branches_survives_a_reload(studio: Studio) -> None:
    page = studio.open("/write?max_tokens=16")
    page.locator("#prompt").fill("What is a cat?")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit", exact=True).last.fill("What is a dog?")
    page.get_by_role("button", name="Ask this instead").click()
    expect(page.get_by_text("2 of 2")).to_be_visible()
    page.get_by_role("button", name="Another answer").wait_for()
    page.wait_for_url(re.compile("chat="))
    page.reload()
    expect(page.locator(".user .said")).to_have_text("What is a dog?")
    page.get_by_role("button", name="The version before").click()
    expect(page.locator(".user .said")).to_have_text("What is a cat?")


# --- draw ---


def test_a_picture_can_be_scrubbed_also_after_a_reload(studio: Studio) -> None:
    page = studio.open("/draw?steps=6&seed=5&lock=1&prompt=a+red+cat")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_role("link", name="Save")).to_be_visible()
    expect(page.get_by_text("Step 6 of 6")).to_be_visible()
    for _ in range(2):  # drawn just now, then from what the server keeps
        shown = page.locator(".screen img")
        last = shown.get_attribute("src")
        page.get_by_label(re.compile("^Step ")).fill("2")
        expect(page.get_by_text("Step 2 of 6")).to_be_visible()
        guess = shown.get_attribute("src")
        page.get_by_label("What the model saw").check()
        assert len({last, guess, shown.get_attribute("src")}) == 3
        page.reload()
        expect(page.get_by_text("Step 6 of 6")).to_be_visible()
    assert studio.items()[0]["seed"] == 5
    assert studio.wrong == []


def test_stop_cancels_the_drawing(slow_studio: Studio) -> None:
    page = slow_studio.open("/draw?steps=60&prompt=a+slow+cat")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.locator(".screen img").wait_for()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped")).to_be_visible()
    job = until(lambda: next(job for job in slow_studio.jobs() if job["request"]["prompt"] == "a slow cat"))
    until(lambda: slow_studio.api.get(f"/api/jobs/{job['id']}").json()["state"] == "cancelled")


def test_a_sweep_makes_a_table(studio: Studio) -> None:
    page = studio.open("/draw?prompt=a+swept+cat&seed=1&lock=1&x=steps&xs=1,2&y=guidance&ys=1,4")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.locator(".scroll img")).to_have_count(4)
    until(lambda: sum(item["prompt"] == "a swept cat" for item in studio.items()) == 4)
    made = [item for item in studio.items() if item["prompt"] == "a swept cat"]
    asked = [studio.api.get(f"/api/gallery/{item['id']}/again").json()["settings"] for item in made]
    assert {(each["steps"], each["guidance"]) for each in asked} == {(1, 1), (1, 4), (2, 1), (2, 4)}
    assert {item["seed"] for item in made} == {1}
    page.get_by_label("Values").first.fill("1, many")
    expect(page.get_by_text("“many” does not fit")).to_be_visible()
    expect(page.get_by_role("button", name="Draw", exact=True)).to_be_disabled()


def test_a_part_of_a_picture_is_drawn_anew_with_the_keyboard(studio: Studio) -> None:
    page = studio.open("/draw?steps=4&seed=1&prompt=a+masked+cat")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("button", name="Begin from this").click()
    page.get_by_label("Change only a part").check()
    page.get_by_role("application").press("ArrowLeft")
    page.get_by_role("application").press(" ")
    page.get_by_role("button", name="Draw", exact=True).click()
    found = until(lambda: [item for item in studio.items() if item["prompt"] == "a masked cat"][1:])
    again = studio.api.get(f"/api/gallery/{studio.items()[0]['id']}/again").json()["settings"]
    assert found
    assert again["init"].startswith("data:image/png")
    assert again["mask"].startswith("data:image/png")


def test_a_picture_brings_back_its_settings(studio: Studio, tmp_path: Path) -> None:
    page = studio.open("/draw?steps=3&guidance=2.5&seed=42&lock=1&sampler=heun&prompt=a+cat+that+comes+back")
    page.get_by_role("button", name="Draw", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save").click()
    download.value.save_as(tmp_path / "cat.png")
    page = studio.open("/draw")
    page.get_by_text("Settings from a picture").click()
    page.get_by_label(re.compile("Choose a PNG")).set_input_files(tmp_path / "cat.png")
    expect(page.locator("#prompt")).to_have_value("a cat that comes back")
    for wanted in ("steps=3", "guidance=2.5", "seed=42", "sampler=heun", "lock=1"):
        assert wanted in page.url
    (tmp_path / "none.png").write_bytes(b"not a picture")
    page.get_by_label(re.compile("Choose a PNG")).set_input_files(tmp_path / "none.png")
    expect(page.get_by_role("alert")).to_be_visible()


# --- queue, gallery ---


def test_the_queue_is_paused_ordered_and_cancelled(studio: Studio) -> None:
    page = studio.open("/queue")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    for prompt in ("one", "two", "three"):
        page = studio.open(f"/draw?steps=2&prompt={prompt}")
        page.get_by_role("button", name="Add to the queue").click()
        expect(page.get_by_text("In the queue: 1.")).to_be_visible()
    page = studio.open("/queue")
    page.get_by_role("button", name="Earlier: three").click()
    expect(page.locator("section[aria-labelledby=part-waiting] .title")).to_have_text(["one", "three", "two"])
    page.get_by_role("button", name="Cancel: one").click()
    expect(page.locator("section[aria-labelledby=part-waiting] .title")).to_have_text(["three", "two"])
    page.get_by_role("button", name="Go on").click()
    until(lambda: {"two", "three"} <= {item["prompt"] for item in studio.items()})
    made = [item["prompt"] for item in studio.items() if item["prompt"] in ("one", "two", "three")]
    assert made == ["two", "three"]  # the newest first


def test_the_gallery_is_searched_and_opened_and_forgets(studio: Studio) -> None:
    for prompt in ("a purple elephant", "a yellow bird"):
        page = studio.open(f"/draw?steps=2&prompt={prompt}")
        page.get_by_role("button", name="Draw", exact=True).click()
        page.get_by_role("link", name="Save").wait_for()
    page = studio.open("/gallery")
    page.get_by_role("searchbox").fill("eleph")
    expect(page.locator(".caption")).to_have_text(["a purple elephant"])
    page.reload()  # the search is in the address
    expect(page.locator(".caption")).to_have_text(["a purple elephant"])
    page.locator("li button").click()
    expect(page.get_by_role("dialog")).to_contain_text("steps")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nothing has the words")).to_be_visible()
    until(lambda: "a purple elephant" not in {item["prompt"] for item in studio.items()})


# --- look inside, learn, quiz ---


def test_looking_inside_draws_the_attention_of_a_typed_text(studio: Studio) -> None:
    page = studio.open("/inside?exhibit=attention&layer=0&head=1")
    page.locator("#prompt").fill("the cat sat")
    chart = page.get_by_role("application")
    chart.wait_for()
    until(lambda: "prompt=the+cat+sat" in page.url)
    shown = studio.api.post(
        "/api/exhibits/attention", json={"prompt": "the cat sat", "options": {"layer": 0, "head": 1}}
    )
    told = shown.json()["exhibit"]["data"]
    expect(chart.locator("text")).to_have_count(2 * len(told["tokens"]))
    for _ in told["tokens"]:
        chart.press("ArrowUp")  # to the first row, which can see the first token alone
    expect(page.locator(".told")).to_contain_text(": 1")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("the cat sat")
    expect(page.get_by_label("head", exact=True)).to_have_value("1")


def test_a_lesson_shows_its_exhibits_and_is_remembered(studio: Studio) -> None:
    lessons = studio.api.get("/api/lessons").json()["lessons"]
    whole = [studio.api.get(f"/api/lessons/{each['slug']}").json() for each in lessons]
    kinds = [[part for part in each["parts"] if part["kind"] == "exhibit"] for each in whole]
    at = next(at for at, live in enumerate(kinds) if any(part["name"] == "tokens" for part in live))
    page = studio.open("/learn")
    page.get_by_role("link", name=whole[at]["title"]).click()
    expect(page.locator("aside.card")).to_have_count(len(kinds[at]))
    first = page.locator("aside.card").nth([part["name"] for part in kinds[at]].index("tokens"))
    first.scroll_into_view_if_needed()
    expect(first.locator(".word").first).to_be_visible()
    assert "```" not in page.locator("article").inner_text()
    page.get_by_role("link", name="Test yourself on this").scroll_into_view_if_needed()
    until(lambda: page.evaluate("localStorage.getItem('reverie.lessons')"))
    page.get_by_role("link", name="All lessons").click()
    expect(page.get_by_text(f"1 of {len(lessons)} read")).to_be_visible()


def _answer(page: Page) -> None:
    """Gives some answer to the question that is shown, whatever its kind."""
    for option in page.locator("fieldset .option input").all()[:1]:
        option.check()
    for choice in page.locator(".match select").all():
        choice.select_option(index=1)
    for field_ in page.locator(".figure").all():
        field_.fill("3")
    for cell in page.locator("td button").all()[:1]:
        cell.click()


def test_a_whole_quiz_is_taken(studio: Studio) -> None:
    num = 12
    page = studio.open(f"/quiz?num={num}&seed=5")
    page.get_by_role("button", name="Begin").click()
    kinds = set()
    for at in range(1, num + 1):
        expect(page.get_by_text(f"Question {at} of {num}")).to_be_visible()
        quiz = studio.api.get(f"/api/quiz/{page.url.split('quiz=')[1].split('&')[0]}").json()
        kinds.add(quiz["question"]["kind"])
        page.get_by_label("rather").check()
        _answer(page)
        if page.get_by_role("button", name="Answer", exact=True).is_enabled() and quiz["question"]["kind"] != "match":
            page.get_by_role("button", name="Answer", exact=True).click()
        else:
            page.get_by_role("button", name="I do not know").click()
        expect(page.locator(".verdict")).to_be_visible()
        page.get_by_role("button", name="See the score" if at == num else "Next question").click()
    expect(page.locator("h2")).to_contain_text(f"of {num} right")
    assert len(kinds) >= 3
    assert studio.wrong == []


# --- a server with a key ---


def test_a_server_with_a_key_asks_for_it_once(browser: Browser, models: dict[str, str], tmp_path: Path) -> None:
    with served(tmp_path, models, api_key="open sesame") as api, opened(browser, api) as studio:
        page = studio.open("/gallery")
        page.get_by_label("Key").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("The key is wrong")
        page.get_by_label("Key").fill("open sesame")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nothing has been made yet.")).to_be_visible()
        page.reload()
        expect(page.get_by_text("Nothing has been made yet.")).to_be_visible()
