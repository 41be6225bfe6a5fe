"""The studio in a real browser: what the tests of its pages share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import reverie

ROOT = Path(reverie.__file__).parents[2]
BUILT = ROOT / "src" / "reverie" / "serve" / "studio"
AXE = ROOT / "studio" / "node_modules" / "axe-core" / "axe.min.js"
AUDIT = """async () => (await axe.run()).violations
    .filter((found) => ["serious", "critical"].includes(found.impact))
    .map((found) => `${found.id}: ${found.nodes[0].html.slice(0, 200)}`)"""
PAGES = (
    "/", "/write", "/draw", "/animate", "/compose", "/queue", "/gallery", "/inside", "/learn", "/quiz", "/models",
    "/train",
)  # fmt: skip
PATIENCE_MS = 20_000  # the machine may do other things

NEEDS = [
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium: apt install chromium"),
    pytest.mark.skipif(not (BUILT / "index.html").is_file(), reason="needs the built studio: make studio"),
]


@dataclass
class Studio:
    """A page of the studio, the API behind it, and what went wrong in the browser."""

    page: Page
    api: httpx.Client
    wrong: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Goes to a page and waits until it is there."""
        self.page.goto(f"{str(self.api.base_url).rstrip('/')}{path}")
        self.page.locator("main h1").wait_for()
        return self.page

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, as the server tells them."""
        return list(self.api.get("/api/jobs").json()["jobs"])

    def items(self) -> list[dict[str, Any]]:
        """The gallery, newest first."""
        return list(self.api.get("/api/gallery").json()["items"])


@contextmanager
def started() -> Iterator[Browser]:
    """Debian's Chromium."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, api: httpx.Client, **options: Any) -> Iterator[Studio]:
    """A fresh browser profile, on no page yet. options: of the profile."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options})
    context.set_default_timeout(PATIENCE_MS)
    studio = Studio(context.new_page(), api)
    studio.page.on("pageerror", lambda error: studio.wrong.append(str(error)))
    studio.page.on("console", lambda told: studio.wrong.append(told.text) if told.type == "error" else None)
    try:
        yield studio
    finally:
        context.close()
