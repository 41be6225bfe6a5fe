"""Takes the pictures beside it, from a running studio: python docs/screenshots/take.py http://localhost:8321."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus

from playwright.sync_api import Browser, Locator, Page, sync_playwright

FOLDER = Path(__file__).parent
SIZES = {"phone": (390, 844), "desktop": (1280, 800)}
SECONDS = 90
HEAD_PX = 96  # of the page's own head, which stays in sight


def home(page: Page) -> None:
    """Both ideas at work."""
    page.get_by_role("button", name="Draw it").click()
    page.locator("#when:enabled").wait_for()
    page.locator("#when").fill("6")
    page.locator(".bars .chosen").wait_for()


def write(page: Page) -> None:
    """A question and its answer."""
    page.locator("#prompt").fill("Write one paragraph: a story about a robot dog that finds a friend.")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Another answer").wait_for()


def draw(page: Page) -> None:
    """A picture, half way back to static."""
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("link", name="Save").wait_for()
    page.get_by_label(re.compile("^Step ")).fill("7")


def sweep(page: Page) -> None:
    """A table of settings."""
    page.get_by_role("button", name="Draw", exact=True).click()
    page.locator(".scroll li").last.locator("img").wait_for()
    page.get_by_role("link", name="Save").wait_for()


def compose(page: Page) -> None:
    """A tune with its bass and chords, a bar of it chosen, and the sound at a note."""
    page.get_by_role("button", name="Compose", exact=True).click()
    page.locator("audio").wait_for()
    page.locator("audio").evaluate("audio => { audio.currentTime = 6; }")
    page.locator(".score .note.now").first.wait_for()
    page.locator(".score button").nth(5).click()


def train(page: Page) -> None:
    """The run that is there."""
    page.get_by_role("slider").wait_for()


def head(page: Page) -> Locator:
    """From the whole stack into a layer, and into the head of it that knows what "it" is."""
    page.locator(".layer").nth(13).click()
    page.locator(".heads button").nth(8).click()
    page.locator(".strips").last.wait_for()
    page.wait_for_timeout(1500)
    return page.get_by_role("navigation", name="Where in the model")


def stack(page: Page) -> Locator:
    """A word on its way through the whole model."""
    page.locator(".layer").last.wait_for()
    return page.get_by_role("group", name="Choose the word to follow")


def words(page: Page) -> Locator:
    """A word of the prompt, and the patches that look at it."""
    page.get_by_role("group", name="The words of the prompt").get_by_role("button", name="beach").click()
    page.wait_for_timeout(500)
    return page.get_by_role("group", name="The words of the prompt")


def lesson(page: Page) -> Locator:
    """A lesson with something live in it."""
    card = page.locator("aside.card").first
    card.scroll_into_view_if_needed()
    card.locator(".strips").last.wait_for()
    return card


def quiz(page: Page) -> None:
    """An answer that is not right, and why."""
    page.get_by_role("button", name="Begin").click()
    page.locator("fieldset .option input").first.check()
    page.get_by_role("button", name="Answer", exact=True).click()
    page.locator(".verdict").wait_for()


def nothing(page: Page) -> None:
    """The page as it opens."""


TEXT = (
    "The city council met on Tuesday to discuss the future of the old power station by the river. Some members wanted "
    "to close it in October, because it was expensive, while others said that the town would be dark without it. In "
    "the end they agreed to ask the people who live there, and to hold a public meeting in the town hall on the "
    "third of"
)
MAP = f"/inside?exhibit=flow&token=29&prompt={quote_plus(TEXT)}"

# Name -> (address, what is done there). That gives what the picture begins with; None: the page, whole on a phone.
SCENES: dict[str, tuple[str, Callable[[Page], Locator | None]]] = {
    "home": ("/", home),
    "write": ("/write?task=write&seed=1", write),
    "draw": ("/draw?prompt=a+red+panda+riding+a+skateboard&seed=4&lock=1&steps=20", draw),
    "sweep": ("/draw?prompt=a+blue+cat&seed=3&lock=1&steps=12&x=guidance&xs=1,3,6&y=sampler&ys=euler,ancestral", sweep),
    "compose": ("/compose?prompt=a+lively+Irish+jig+in+D+major&seed=1&lock=1&backing=1", compose),
    "inside-stack": (MAP, stack),
    "inside-head": (MAP, head),
    "inside-words": ("/inside?exhibit=words&prompt=a+blue+cat+on+the+beach&steps=12&without=false", words),
    "learn": ("/learn", nothing),
    "lesson": ("/learn/self-attention", lesson),
    "quiz": ("/quiz?topic=self-attention&num=5&seed=4", quiz),
    "gallery": ("/gallery", nothing),
    "queue": ("/queue", nothing),
    "models": ("/models", nothing),
    "train": ("/train?run=shakespeare", train),
}


def main(address: str, names: list[str]) -> None:
    """Takes them all, or those named."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in names or SCENES:
            for device in SIZES:
                for scheme in ("light", "dark"):
                    _take(browser, address, name, device, scheme)
        browser.close()


def _take(browser: Browser, address: str, name: str, device: str, scheme: str) -> None:
    width, height = SIZES[device]
    path, prepare = SCENES[name]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.goto(address + path)
    page.locator("main h1").wait_for(state="attached")
    first = prepare(page)
    page.wait_for_timeout(700)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    if first is not None:
        first.evaluate("(part, px) => scrollTo(0, part.getBoundingClientRect().top - px)", HEAD_PX)
    page.screenshot(path=FOLDER / f"{name}-{device}-{scheme}.png", full_page=device == "phone" and first is None)
    context.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), sys.argv[2:])
