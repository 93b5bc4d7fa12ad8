"""The page of an explanation in a browser: no requests, no messages, no horizontal scrolling."""

from __future__ import annotations

import shutil

import pytest

import pinxit
from pinxit.evaluation import feature_space
from pinxit.models import latent_densities
from tests.builders import blobs, make_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.parametrize("width", [375, pytest.param(1100, marks=pytest.mark.long)])
def test_page_displays_without_network_or_scrolling(width, tmp_path, monkeypatch):
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    monkeypatch.setattr(feature_space, "STEPS", 3)
    monkeypatch.setattr(latent_densities, "FLOW_STEPS", 3)
    monkeypatch.setattr(latent_densities, "MIN_ROWS", 100)
    images = blobs(60, 8, 10, channels=3)
    run = make_run(tmp_path / "a-long-name-of-a-run", images, steps=5)
    pinxit.explain(run, images, progress=False)
    url = (run.path / "explain.html").as_uri()
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": width, "height": 800})
        requests, messages = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(url)
        widths = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth)")
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        browser.close()
    assert [request for request in requests if not request.startswith("data:")] == [url]
    assert messages == []
    assert min(widths) > 0
    assert overflow <= 0
