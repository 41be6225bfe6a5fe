"""How soon the studio can be used: python benchmarks/studio_speed.py [--rounds 5]

`reverie serve` on loopback, Debian's Chromium with an empty cache for every visit. Milliseconds from the click to a
field that takes a letter, and what came over the wire, compressed as it comes. Medians.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from contextlib import ExitStack

from playwright.sync_api import Browser, sync_playwright

from reverie.hub.catalogue import entry
from reverie.hub.sources import fetch
from serve_load import started

FIELDS = {"/": "main button", "/write": "#prompt", "/draw": "#prompt", "/inside": "#prompt", "/quiz": "main button"}
WIRE = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .filter((found) => !found.name.includes("/api/"))
    .reduce((sum, found) => sum + found.transferSize, 0)"""


def main() -> None:
    """Prints a row for each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(started("reverie", str(fetch(entry("smollm2"))), 2, home))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        print(f"{'page':10}{'usable ms':>12}{'slowest':>10}{'KB':>8}")
        for path, control in FIELDS.items():
            visits = [visit(browser, server.url + path, control) for _ in range(options.rounds)]
            times, sizes = zip(*visits, strict=True)
            print(f"{path:10}{statistics.median(times):12.0f}{max(times):10.0f}{max(sizes) / 1000:8.1f}", flush=True)
        browser.close()


def visit(browser: Browser, url: str, control: str) -> tuple[float, float]:
    """Milliseconds until the control can be used, and bytes that came."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url, wait_until="commit")
    page.locator(f"{control}:not([disabled])").first.wait_for()
    seen = page.evaluate("performance.now()"), page.evaluate(WIRE)
    context.close()
    return seen


if __name__ == "__main__":
    main()
