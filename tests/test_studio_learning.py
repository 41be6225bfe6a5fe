"""Look inside, Learn and Quiz in a real browser: what leads from one to the other, and what is remembered."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, expect

from serve_setup import until
from studio_setup import AUDIT, AXE, NEEDS, Studio

pytestmark = NEEDS
OWN = """
[[question]]
id = "day"
kind = "order"
topic = "day"
difficulty = 1
text = "What comes after what?"
explanation = "The sun does it."
options = [
    { text = "morning", why = "First." }, { text = "noon", why = "Second." },
    { text = "evening", why = "Third." }, { text = "night", why = "Last." },
]
"""


def test_a_teachers_question_is_put_in_order_step_by_step(studio: Studio, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    page = studio.open("/quiz")
    page.get_by_label("Questions of your own").set_input_files(file)
    expect(page.get_by_role("heading", name="What comes after what?")).to_be_visible()
    answer = page.get_by_role("button", name="Answer", exact=True)
    for name in ("noon", "morning", "noon", "noon", "evening"):  # the first choice is taken back, and made again
        expect(answer).to_be_disabled()
        _step(page, name).click()
    expect(answer).to_be_disabled()
    expect(_step(page, "noon")).to_contain_text("number 2")
    _step(page, "night").press("Enter")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate(AUDIT) == []
    answer.click()
    expect(page.locator(".verdict")).to_have_text(re.compile("^Right"))
    assert studio.wrong == []


def test_a_file_that_holds_no_question_is_refused_in_a_sentence(studio: Studio, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[[question]]\nkind = 'riddle'")
    page = studio.open("/quiz")
    page.get_by_label("Questions of your own").set_input_files(file)
    expect(page.get_by_role("alert")).to_contain_text("kind must be one of choice")


def test_mistakes_are_listed_and_asked_again(studio: Studio) -> None:
    page = studio.open("/quiz?num=1&seed=3")
    page.get_by_role("button", name="Begin").click()
    asked = page.locator(".question h2").inner_text()
    page.get_by_role("button", name="I do not know").click()
    page.get_by_role("button", name="See the score").click()
    page.get_by_role("button", name="Another quiz").click()
    page.get_by_text("Not right the last time (1)").click()
    expect(page.locator("details li")).to_contain_text(asked)
    page.get_by_role("button", name="Review (1)").click()
    expect(page.locator(".question h2")).to_have_text(asked)


def test_a_lesson_begins_with_a_short_test_of_other_questions(studio: Studio) -> None:
    slug = studio.api.get("/api/lessons").json()["lessons"][3]["slug"]
    page = studio.open(f"/learn/{slug}")
    asked = []
    for name in ("What do you know already?", "Test yourself on this"):
        page.get_by_role("link", name=name).click()
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_text("Question 1 of")).to_be_visible()
        asked.append(page.locator(".question h2").inner_text())
        studio.open(f"/learn/{slug}")
    assert asked[0] != asked[1]


def test_the_bank_is_had_as_cards(studio: Studio) -> None:
    page = studio.open("/quiz")
    with page.expect_download() as got:
        page.get_by_role("link", name="cards for Anki").click()
    assert got.value.suggested_filename == "reverie.apkg"
    assert got.value.path().read_bytes()[:2] == b"PK"


def test_a_picture_leads_to_how_it_was_made(studio: Studio) -> None:
    page = studio.open("/draw?prompt=a+cat&seed=5&lock=1&steps=3&guidance=2&sampler=euler")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("link", name="How was this made?").click()
    expect(page.get_by_role("heading", name="From noise to picture")).to_be_visible()
    query = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}
    assert {"prompt": "a cat", "seed": "5", "steps": "3", "guidance": "2", "sampler": "euler"}.items() <= query.items()
    sampler = page.get_by_role("combobox", name="sampler")
    expect(sampler).to_have_value("euler")
    sampler.select_option("heun")
    until(lambda: "sampler=heun" in page.url)


def _step(page: Page, name: str) -> Locator:
    return page.locator(".step").filter(has_text=name)


def test_a_word_lights_up_the_patches_that_look_at_it(studio: Studio) -> None:
    page = studio.open("/inside?exhibit=words&prompt=a+red+cat&steps=2&without=false")
    words = page.get_by_role("group", name="The words of the prompt")
    expect(words.get_by_role("button")).to_have_text(["a", "red", "cat"])
    patches = page.locator("figure rect")
    expect(patches).to_have_count(0)
    words.get_by_role("button", name="red").hover()
    expect(patches.first).to_be_attached()
    told = studio.api.post(
        "/api/exhibits/words", json={"prompt": "a red cat", "options": {"steps": 2, "without": False}}
    ).json()["exhibit"]["data"]
    _lit(page, told["steps"][1]["maps"][1])
    words.get_by_role("button", name="red").click()  # held, whatever is pointed at afterwards
    page.get_by_label("Picture 2 of 2").first.press("ArrowLeft")
    _lit(page, told["steps"][0]["maps"][1])
    words.get_by_role("button", name="cat").press("Enter")
    page.mouse.move(0, 0)
    page.locator("h1").click()
    _lit(page, told["steps"][0]["maps"][2])
    assert studio.wrong == []


def _lit(page: Page, shares: list[list[float]]) -> None:
    """The patch that looks at the word most is not darkened at all."""
    flat = [share for row in shares for share in row]
    dark = [float(each.get_attribute("fill-opacity") or "nan") for each in page.locator("figure rect").all()]
    assert len(dark) == len(flat)
    assert dark[flat.index(max(flat))] == 0
    assert dark.index(max(dark)) == flat.index(min(flat))
