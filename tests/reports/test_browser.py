"""The page in a real browser: no network, no console errors, nothing wider than a phone."""

from __future__ import annotations

import shutil

import pytest

from pinxit.reports import report
from tests.builders import blobs, evaluate, make_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    images = blobs(height=8, width=10, channels=3)
    run = make_run(tmp_path_factory.mktemp("browser") / "a-long-name-of-a-run", images)
    evaluate(run)
    return report(run, images=images).as_uri()


@pytest.fixture(params=[(375, "light"), (375, "dark"), (1280, "light")], ids=str)
def opened(request, browser, address):
    """The page at a width and in a colour scheme, with all that it asked for and complained of."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    asked, said = [], []

    def reranker(route):
        asked.append(route.request.url)
        route.continue_() if route.request.url == address else route.abort()

    page.route("**/*", reranker)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    yield page, asked, said, scheme
    page.close()


def test_it_shows_itself_without_a_network(opened, address):
    page, asked, said, _ = opened
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address]
    widths = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth)")
    assert len(widths) > 30
    assert min(widths) > 0, "an image could not be decoded"


def test_nothing_is_wider_than_the_screen(opened):
    page, _, _, _ = opened
    inner = page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= inner
    # what is wider may scroll within its own box, and only there
    outside = """all => all.filter(e => !e.closest('.scroll, pre, svg')
        && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert page.eval_on_selector_all("body *", outside) == []


def test_text_can_be_read(opened):
    """Contrast of at least 4.5 to 1 (WCAG 2.2, AA) for all text but that of charts."""
    page, _, _, scheme = opened
    colours = page.evaluate(
        """() => [...document.querySelectorAll('p, dt, dd, figcaption, td, th, a, h1, h2, h3, li')]
            .map(e => getComputedStyle(e).color)"""
    )
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(paper) < 0.5) == (scheme == "dark")
    assert min(contrast(colour, paper) for colour in set(colours)) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)
