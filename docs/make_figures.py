"""Make the figures of the documentation that small runs show: `make figures`.

    python docs/make_figures.py build/figures

Trains the runs that are not in the folder yet (about a quarter of an hour on two idle cores),
writes their reports and sheets, serves one of them, and takes screenshots by Chromium, which
playwright of the extra `test` drives. docs/images/makers.toml says who made each other image.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import make_lecture_figures as lecture
from playwright.sync_api import Browser, sync_playwright

import pinxit
from pinxit.runs import Run

IMAGES = Path(__file__).parent / "images"
WIDTH = 1100  # of the window, CSS pixels
PHONE = 390
# image -> color scheme and width of the window in which the head of a report is shown
REPORTS = {
    "report.png": ("light", WIDTH),
    "report-dark.png": ("dark", WIDTH),
    "report-phone.png": ("light", PHONE),
}
# image -> tab of the studio, and the height that is shown
TABS = {"studio.png": ("draw", 1010), "studio-program.png": ("program", 1150)}
SHEETS = ("traverse.png", "tokenizer-reconstructions.png")
TOKENIZER_STEPS = 300


def make_sheets(runs: dict[str, Run], folder: Path) -> None:
    """Save what commands make: a traversal, and reconstructions of a tokenizer."""
    pinxit.Run(runs["vae"].path).traverse(latents=4).save(IMAGES / SHEETS[0])
    path = folder / "tokenizer"
    if not (path / "report.html").is_file():
        shutil.rmtree(path, ignore_errors=True)
        config, data = pinxit.ImageTokenizer(), "shapes:2000"
        pinxit.train(config, data, size=32, out=path, steps=TOKENIZER_STEPS, quiet=True)
        pinxit.report(path)
    pinxit.Run(path).reconstruct().save(IMAGES / SHEETS[1])


def photograph_reports(browser: Browser, run: Run) -> None:
    """Show the head of a report in both color schemes, and on a phone."""
    for name, (scheme, width) in REPORTS.items():
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.goto((run.path / "report.html").absolute().as_uri())
        page.screenshot(path=IMAGES / name)
        page.close()


def photograph_studio(browser: Browser, run: Run) -> None:
    """Serve a run and show tabs of its page, with the images that it has made."""
    server = pinxit.Run(run.path).serve()
    try:
        for name, (tab, height) in TABS.items():
            page = browser.new_page(viewport={"width": WIDTH, "height": height})
            page.goto(server.url)
            page.wait_for_selector(f"#tab-{tab}")
            page.click(f"#tab-{tab}")
            if tab == "program":
                page.click("#program .primary")
                page.wait_for_selector("#program .said >> nth=1")
            page.wait_for_selector(f"#{tab}:not([aria-busy]) .output img")
            page.wait_for_timeout(500)  # for the last image to be decoded
            page.screenshot(path=IMAGES / name)
            page.close()
    finally:
        server.close()


def main(folder: Path) -> None:
    runs = lecture.make(folder)
    make_sheets(runs, folder)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        photograph_reports(browser, runs["vae"])
        photograph_studio(browser, runs["digits-draw"])
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
