"""The page in a browser: no requests, no console messages, no horizontal scrolling."""

from __future__ import annotations

import pytest

from pinxit.reports import report
from tests.builders import blobs, evaluate, make_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    images = blobs(height=8, width=10, channels=3)
    run = make_run(tmp_path_factory.mktemp("browser") / "a-long-name-of-a-run", images)
    evaluate(run)
    return report(run, images=images).as_uri()


@pytest.fixture(params=[(375, "light"), (375, "dark"), (1280, "light")], ids=str)
def browser_page(request, browser, url):
    """The page at a width and in a color scheme, with its requests and console messages."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    requests, messages = [], []

    def block_others(route):
        requests.append(route.request.url)
        route.continue_() if route.request.url == url else route.abort()

    page.route("**/*", block_others)
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(url)
    yield page, requests, messages, scheme
    page.close()


def test_page_displays_without_network(browser_page, url):
    page, requests, messages, _ = browser_page
    assert messages == []
    assert [request for request in requests if not request.startswith("data:")] == [url]
    widths = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth)")
    assert len(widths) > 30
    assert min(widths) > 0, "an image could not be decoded"


def test_page_is_not_wider_than_the_screen(browser_page):
    page, _, _, _ = browser_page
    inner = page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= inner
    # wide tables scroll inside their own box
    overflowing = """all => all.filter(e => !e.closest('.scroll, pre, svg')
        && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert page.eval_on_selector_all("body *", overflowing) == []


def test_text_contrast_meets_wcag_aa(browser_page):
    """At least 4.5 to 1 (WCAG 2.2) for all text outside charts."""
    page, _, _, scheme = browser_page
    colors = page.evaluate(
        """() => [...document.querySelectorAll('p, dt, dd, figcaption, td, th, a, h1, h2, h3, li')]
            .map(e => getComputedStyle(e).color)"""
    )
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(background) < 0.5) == (scheme == "dark")
    assert min(contrast(color, background) for color in set(colors)) >= 4.5


def luminance(color: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_follows_the_definition_of_wcag():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)
