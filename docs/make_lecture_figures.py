"""Make the figures of docs/lecture.md: train small runs, write their reports, and photograph them.

    python docs/make_lecture_figures.py build/lecture

Takes about ten minutes on two cores. Runs that are finished are not trained again. Needs
Chromium, and playwright of the extra `test`. The numbers of lecture.md are written there, between
the marks, by the same command.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

import pinxit
from pinxit.reports import report
from pinxit.reports.context import load_context
from pinxit.runs import Run
from pinxit.training.posterior_snapshots import read_snapshots

DOCS = Path(__file__).parent
IMAGES = DOCS / "images" / "lecture"
WIDTH = 860  # of the window, CSS pixels
BETAS = {"without": 0.001, "vae": 1.0, "too-much": 30.0}
SMALL = {"width": 64, "heads": 4, "depth": 1, "decoder_depth": 2}
RUNS = {
    **{name: (pinxit.VAE(latent_dim=8, beta=beta), "digits", 1000) for name, beta in BETAS.items()},
    "mae": (pinxit.MAE(width=64, depth=2), "digits", 600),
    "igpt": (pinxit.IGPT(width=64, depth=2), "digits", 400),
    "caption": (pinxit.Seq2Seq(source="image", target="text", **SMALL), "shapes", 1000),
    "draw": (pinxit.Seq2Seq(source="text", target="image", **SMALL), "shapes", 300),
}
# figure -> run, selector, and the frame of a stepper to show; None: the last one
FIGURES = {
    "decoding-caption": ("caption", "#slide-decoding ~ .charts .stepper", "decoding-en-4"),
    "decoding-image": ("draw", "#slide-decoding ~ .charts .stepper", "decoding-image-10"),
    "row-of-tokens": ("igpt", "#slide-row_of_tokens ~ .charts", None),
    "masking": ("mae", "#slide-masking ~ .scroll", None),
    "prior-samples": ("vae", "#slide-prior_samples ~ .image-grid", None),
    "search": ("vae", "#slide-search_for_z ~ figure", None),
    "search-images": ("vae", "#slide-search_for_z ~ .image-grid", None),
    "clouds-first": ("vae", ".stepper .frames", "clouds-1"),
    "clouds-middle": ("vae", ".stepper .frames", "clouds-6"),
    "clouds-last": ("vae", ".stepper .frames", None),
    "clouds-without": ("without", ".stepper .frames", None),
    "clouds-too-much": ("too-much", ".stepper .frames", None),
    "overview": ("vae", "#slide-overview ~ .pipeline", None),
    "minimize": ("vae", "#slide-overview ~ .charts", None),
    "terms": ("vae", "#slide-overview ~ .scroll", None),
}


def train_runs(folder: Path) -> dict[str, Run]:
    """Train the runs that are not there yet, and write their reports."""
    runs = {}
    for name, (config, source, steps) in RUNS.items():
        path = folder / name
        if not (path / "report.html").is_file():
            shutil.rmtree(path, ignore_errors=True)
            images = pinxit.load_images(source, limit=4000)
            pinxit.train(config, images, out=path, steps=steps, batch_size=64, quiet=True)
            report(path, images=images)
        runs[name] = Run(path)
    return runs


def photograph(runs: dict[str, Run]) -> None:
    """Write an image for each figure."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.emulate_media(reduced_motion="reduce", color_scheme="light")
        for name, (run, selector, frame) in FIGURES.items():
            page.goto((runs[run].path / "report.html").absolute().as_uri())
            _photograph_one(page, selector, frame, IMAGES / f"{name}.png")
        browser.close()


def _photograph_one(page: Page, selector: str, frame: str | None, path: Path) -> None:
    if frame is not None:
        frames = page.locator(".stepper input").count()
        label = page.locator(f"label[for={frame}]")
        assert label.count(), f"{page.url} has no frame {frame} of {frames}"
        label.click()
    page.locator(selector).first.screenshot(path=path)


def measure_betas(runs: dict[str, Run]) -> Iterator[str]:
    """Yield the rows of the table on the weight of the KL."""
    yield "| `--beta` | KL, nats | mean σ | size of μ | error of reconstructions | active latents |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, beta in BETAS.items():
        context = load_context(runs[name])
        posterior, activity = context.posterior, context.activity
        mse = context.reconstruction_mse
        assert posterior is not None
        assert activity is not None
        assert mse is not None
        error = 255 * float(np.sqrt(mse.mean()))
        yield (
            f"| {beta:g} | {read_snapshots(runs[name])[-1].rate:.1f} "
            f"| {float(np.sqrt(np.square(posterior.std).mean())):.2f} "
            f"| {float(np.sqrt(np.square(posterior.mean).mean())):.2f} "
            f"| {error:.0f} grey levels | {int(activity.active.sum())} of {len(activity.active)} |"
        )


def write_numbers(rows: Iterator[str]) -> None:
    """Replace what is between the marks of lecture.md."""
    file = DOCS / "lecture.md"
    table = "<!-- numbers -->\n" + "\n".join(rows) + "\n<!-- end -->"
    text = re.sub(r"<!-- numbers -->.*?<!-- end -->", table, file.read_text(), flags=re.DOTALL)
    file.write_text(text)


if __name__ == "__main__":
    runs = train_runs(Path(sys.argv[1]))
    photograph(runs)
    write_numbers(measure_betas(runs))
