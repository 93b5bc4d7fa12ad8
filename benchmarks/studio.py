"""The studio in Chromium: time from opening the page to the first image on it."""

from __future__ import annotations

import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.serve import Server, train_runs
from benchmarks.tables import Table

# the page notes the time itself: asking it every few milliseconds takes the cores from it
OBSERVE = """document.addEventListener("load", ({ target }) => {
  if (target.tagName === "IMG" && target.naturalWidth) window.firstImage ??= performance.now();
}, true);"""
POLL_SECONDS = 0.25
TIMEOUT_SECONDS = 30.0


def studio(quick: bool) -> Iterator[Table]:
    """Open the page of a small VAE and of a small iGPT, each time in a new browser context."""
    from playwright.sync_api import sync_playwright

    repeats = 2 if quick else 9
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_find_chromium())
        for run in train_runs(Path(folder)):
            server = Server(run, Path(folder) / f"{run.name}.sqlite")
            try:
                seconds = [_time_first_image(browser, server.base_url) for _ in range(repeats)]
            finally:
                server.stop(signal.SIGTERM)
            rows.append((run.name, seconds[0], statistics.median(seconds), max(seconds)))
        browser.close()
    yield Table(
        "Seconds from opening the studio to its first image (must 1)",
        ("run", "first time", "median", "longest"),
        tuple(rows),
    )


def _find_chromium() -> str | None:
    """Return the system's Chromium; None: Playwright's own."""
    import shutil

    return shutil.which("chromium")


def _time_first_image(browser: Any, url: str) -> float:
    """Open the page without a cache. Raises TimeoutError if it shows no image."""
    context = browser.new_context()
    context.add_init_script(OBSERVE)
    page = context.new_page()
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    while (milliseconds := page.evaluate("window.firstImage")) is None:
        if time.perf_counter() - start > TIMEOUT_SECONDS:
            raise TimeoutError(f"no image after {TIMEOUT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    context.close()
    return milliseconds / 1000
