"""The map of a model in a real browser: from the whole stack to one head's arithmetic, with pointer and keyboard."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import httpx
from playwright.sync_api import Browser, Page, expect

from serve_setup import WRITER, until
from studio_setup import AUDIT, AXE, NEEDS, Studio, opened

pytestmark = NEEDS
TEXT = "THE CITY COUNCIL MET ON TUESDAY TO DISCUSS THE FUTURE OF THE OLD POWER STATION."  # a token a letter
PLACE, LAYER, HEAD = 40, 1, 2


def _told(studio: Studio, name: str, prompt: str = TEXT, **options: Any) -> dict[str, Any]:
    """What the server tells of an exhibit."""
    reply = studio.api.post(f"/api/exhibits/{name}", json={"model": WRITER, "prompt": prompt, "options": options})
    return dict(reply.json()["exhibit"]["data"])


def _figure(value: float) -> str:
    """A number as the studio writes it."""
    if value == int(value):
        return f"{int(value):,}"
    if 0 < abs(value) < 0.001:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{float(f'{value:.3g}'):g}"


def _sound(page: Page) -> None:
    """What is shown can be used by all."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert page.evaluate(AUDIT) == []


def test_one_goes_from_the_whole_stack_into_a_heads_arithmetic_and_back(studio: Studio) -> None:
    told = _told(studio, "flow", token=PLACE)
    assert len(told["tokens"]) >= 64
    page = studio.open(f"/inside?model={WRITER}&prompt={quote_plus(TEXT)}")  # the map is what one sees first
    words = page.get_by_role("group", name="Choose the word to follow").get_by_role("radio")
    expect(words).to_have_count(len(told["tokens"]))
    words.nth(PLACE - 1).check(force=True)
    words.nth(PLACE - 1).press("ArrowRight")
    until(lambda: f"token={PLACE}" in page.url)
    layers = page.locator(".layer")
    expect(layers).to_have_count(len(told["layers"]))
    trunk = layers.first.locator("line.trunk")
    expect(trunk).to_have_attribute("x1", str(PLACE + 0.5))
    seen = [float(each.get_attribute("x1") or "") for each in layers.nth(LAYER).locator("line:not(.trunk)").all()]
    assert seen == [look["place"] + 0.5 for look in told["layers"][LAYER]["looks"]]
    _sound(page)

    layers.nth(LAYER).press("Enter")
    heads = page.locator(".heads button")
    expect(heads).to_have_count(len(told["layers"][LAYER]["heads"]))
    expect(heads.nth(HEAD)).to_contain_text(f"{round(100 * told['layers'][LAYER]['heads'][HEAD]['weight'])} %")
    _sound(page)

    heads.nth(HEAD).press("Enter")
    sums = page.locator(".sums b")
    pair = _told(studio, "attention", layer=LAYER, head=HEAD, query=PLACE)["pair"]
    expect(sums.nth(1)).to_have_text(_figure(pair["score"]))
    looked = page.get_by_role("group", name="Choose the word it looks at").get_by_role("radio")
    expect(looked).to_have_count(PLACE + 1)  # no word looks ahead
    looked.nth(5).check(force=True)
    pair = _told(studio, "attention", layer=LAYER, head=HEAD, query=PLACE, key=5)["pair"]
    expect(sums.nth(1)).to_have_text(_figure(pair["score"]))
    _sound(page)

    page.get_by_label("The word that looks").select_option("20")
    until(lambda: "token=20" in page.url)  # it is now the word that is followed
    page.get_by_role("button", name="The whole model").click()
    expect(trunk).to_have_attribute("x1", "20.5")
    assert studio.wrong == []


def test_a_strip_tells_its_numbers_to_the_keyboard(studio: Studio) -> None:
    pair = _told(studio, "attention", "the cat sat", layer=0, head=1)["pair"]
    page = studio.open(f"/inside?exhibit=attention&model={WRITER}&prompt=the+cat+sat&layer=0&head=1")
    slider = page.get_by_label("Place ")
    at = max(range(len(pair["products"])), key=lambda place: abs(pair["products"][place]))
    expect(slider).to_have_value(str(at + 1))  # it begins at the product that counts most
    slider.press("Home")
    expect(page.get_by_text("Place 1 of")).to_contain_text(f"= {_figure(pair['products'][0])}")
    expect(page.locator(".strips svg").first.locator("rect.below")).to_have_count(sum(q < 0 for q in pair["q"]))


def test_a_new_text_is_followed_from_its_own_last_word(studio: Studio) -> None:
    page = studio.open(f"/inside?exhibit=flow&model={WRITER}&prompt={quote_plus(TEXT)}&token={PLACE}")
    expect(page.locator("line.trunk").first).to_have_attribute("x1", str(PLACE + 0.5))
    page.locator("#prompt").fill("the cat")
    last = len(_told(studio, "flow", "the cat")["tokens"]) - 1
    expect(page.locator("line.trunk").first).to_have_attribute("x1", str(last + 0.5))
    assert "token" not in page.url
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_answer_leads_to_the_map_of_it(studio: Studio) -> None:
    page = studio.open(f"/write?model={WRITER}&seed=1&max_tokens=12")
    page.locator("#prompt").fill("the dog")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="How was this made?").click()
    expect(page.get_by_role("heading", name="The way of a token")).to_be_visible()
    expect(page.locator(".layer").first).to_be_visible()


def test_the_arithmetic_fits_a_phone(browser: Browser, http: httpx.Client) -> None:
    with opened(browser, http, viewport={"width": 360, "height": 740}) as studio:
        page = studio.open(f"/inside?exhibit=flow&model={WRITER}&prompt={quote_plus(TEXT)}")
        page.locator(".layer").nth(LAYER).click()
        page.locator(".heads button").nth(HEAD).click()
        expect(page.locator(".strips").first).to_be_visible()
        expect(page.get_by_role("navigation", name="Where in the model")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert studio.wrong == []
