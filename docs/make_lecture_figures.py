"""Make the figures of docs/lecture.md: train small runs, write their reports, and photograph them.

`docs/make_figures.py` calls this. Runs that are finished are not trained again. The numbers of
lecture.md are written there, between the marks.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

import pinxit
from pinxit.reports import report
from pinxit.reports.context import load_context
from pinxit.reports.formatting import format_seconds
from pinxit.reports.goal import measure_goal
from pinxit.reports.goal_page import render_goal_page
from pinxit.runs import Run
from pinxit.sampling.inputs import load_run_data
from pinxit.serve.exchange import record_exchange
from pinxit.training.posterior_snapshots import read_snapshots
from pinxit.training.trials import train_trial

DOCS = Path(__file__).parent
IMAGES = DOCS / "images" / "lecture"
WIDTH = 860  # of the window, CSS pixels
BETAS = {"without": 0.001, "vae": 1.0, "too-much": 30.0}
FAMILIES = ("vae", "flow", "igpt", "mae", "digits-draw")  # runs of one table, all of digits
# the runs of `pinxit explain --curve`
CURVE = {
    "curve-beta-0.1": 0.1,
    "curve-beta-0.3": 0.3,
    "curve-beta-1": 1.0,
    "curve-beta-3": 3.0,
    "curve-beta-10": 10.0,
}
CURVE_STEPS = 300
SMALL = {"width": 64, "heads": 4, "depth": 1, "decoder_depth": 2}
RUNS = {
    **{name: (pinxit.VAE(latent_dim=8, beta=beta), "digits", 1000) for name, beta in BETAS.items()},
    "mae": (pinxit.MAE(width=64, depth=2), "digits", 300),
    "igpt": (pinxit.IGPT(width=64, depth=2), "digits", 400),
    "caption": (pinxit.Seq2Seq(source="image", target="text", **SMALL), "shapes", 1000),
    "draw": (pinxit.Seq2Seq(source="text", target="image", **SMALL), "shapes", 300),
    "digits-draw": (pinxit.Seq2Seq(source="text", target="image", **SMALL), "digits", 600),
    "flow": (pinxit.Flow(width=64, depth=3), "digits", 300),
}
CAPTIONS = {"digits-draw": "labels"}  # run -> what its captions are made from
PAGES = {"families": "families.html"}  # that are no report of a run
# figure -> run or page, selector, and the frame of a stepper to show; None: the last one
FIGURES = {
    "decoding-caption": ("caption", "#slide-decoding ~ .charts .stepper", "decoding-en-4"),
    "decoding-image": ("draw", "#slide-decoding ~ .charts .stepper", "decoding-image-10"),
    "program": ("digits-draw", "#slide-program ~ .turns", None),
    "row-of-tokens": ("igpt", "#slide-row_of_tokens ~ .charts", None),
    "masking": ("mae", "#slide-masking ~ .scroll", None),
    "families": ("families", "#families .scroll", None),
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
    "beta-low": ("vae", "#slide-beta_curve ~ .stepper .frames", "beta-curve-1"),
    "beta-high": ("vae", "#slide-beta_curve ~ .stepper .frames", "beta-curve-6"),
    "beta-curve": ("vae", "#slide-beta_curve ~ figure", None),
    "issue": ("vae", "#slide-issue ~ .image-grid", None),
}


def train_runs(folder: Path) -> dict[str, Run]:
    """Train the runs that are not there yet, and write their reports."""
    runs = {}
    for name, (config, source, steps) in RUNS.items():
        path = folder / name
        if not is_finished(path):
            shutil.rmtree(path, ignore_errors=True)
            options = {"steps": steps, "batch_size": 64, "captions": CAPTIONS.get(name)}
            pinxit.train(config, source, limit=4000, out=path, quiet=True, **options)
        if not (path / "report.html").is_file():
            if name == "vae":
                trace_betas(Run(path))
            record_exchange(Run(path))
            report(path)
        runs[name] = Run(path)
    return runs


def is_finished(path: Path) -> bool:
    return (path / "config.json").is_file() and bool(Run(path).config.get("finished"))


def trace_betas(run: Run) -> None:
    """Train at other beta from the weights of a run, as `pinxit explain --curve` does."""
    images = load_run_data(run, progress=False)
    for name, beta in CURVE.items():
        changes = {} if beta == 1 else {"beta": beta}
        train_trial(run, images, changes, CURVE_STEPS, run.path / "explain" / name)


def photograph(folder: Path) -> None:
    """Write an image for each figure."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.emulate_media(reduced_motion="reduce", color_scheme="light")
        for name, (run, selector, frame) in FIGURES.items():
            page.goto((folder / PAGES.get(run, f"{run}/report.html")).absolute().as_uri())
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


def measure_families(runs: dict[str, Run]) -> Iterator[str]:
    """Yield the rows of the table over all families."""
    yield "| family | from nothing | from words | −log p(x), bits per dimension | training |"
    yield "| --- | --- | --- | --- | --- |"
    for name in FAMILIES:
        row = measure_goal(load_context(runs[name]))
        times = [
            "no" if made is None else f"{format_seconds(made.seconds)} per image"
            for made in (row.from_nothing, row.from_words)
        ]
        known = row.likelihood
        likelihood = "" if known is None else f"{known.text}, {known.kind}"
        assert row.training_seconds is not None
        seconds = format_seconds(row.training_seconds)
        yield f"| {row.family} | {times[0]} | {times[1]} | {likelihood} | {seconds} |"


def write_numbers(mark: str, rows: Iterator[str]) -> None:
    """Replace what is between `<!-- mark -->` and the next `<!-- end -->` of lecture.md."""
    file = DOCS / "lecture.md"
    table = f"<!-- {mark} -->\n" + "\n".join(rows) + "\n<!-- end -->"
    text = re.sub(rf"<!-- {mark} -->.*?<!-- end -->", table, file.read_text(), flags=re.DOTALL)
    file.write_text(text)


def make(folder: Path) -> dict[str, Run]:
    """Make the figures and numbers of the lecture, and return the runs."""
    runs = train_runs(folder)
    page = render_goal_page([runs[name] for name in FAMILIES])
    (folder / PAGES["families"]).write_text(page, encoding="utf-8")
    photograph(folder)
    write_numbers("numbers", measure_betas(runs))
    write_numbers("families", measure_families(runs))
    return runs
