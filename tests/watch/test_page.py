"""The page of `train --watch-port` in a real browser, over a real training."""

from __future__ import annotations

import re
import time

import pytest

from tests.watch.training import train_in_thread


class Page:
    """A page of a training, which collects messages and requests to other hosts."""

    def __init__(self, browser, address: str, width: int, scheme: str) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.problems: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        host = address.partition("/#")[0]
        self.page.on("request", lambda request: self._check_host(request.url, host))
        self.page.goto(address)

    def _check_host(self, url: str, host: str) -> None:
        if not url.startswith((host, "data:", "blob:")):
            self.problems.append(url)

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true; Playwright's own wait needs `eval`."""
        deadline = time.monotonic() + 90  # of a loaded machine: a training starts first
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)


HAS_SHEET = (
    "[...document.querySelectorAll('.t-sheet img')].some((image) => image.naturalWidth > 0)"
    " && document.querySelectorAll('.t-sheet').length === 2"
)


@pytest.mark.parametrize(
    ("width", "scheme"), [(1100, "light"), pytest.param(375, "dark", marks=pytest.mark.long)]
)
def test_a_training_is_watched_and_stopped(browser, tmp_path, monkeypatch, width, scheme):
    with train_in_thread(tmp_path / "run", monkeypatch) as training:
        view = Page(browser, training.address, width, scheme)
        view.wait_for(HAS_SHEET)
        view.wait_for(
            "document.querySelectorAll('.t-chart path.t-curve.validation[d^=M]').length > 0"
        )
        assert view.text(".t-status") == "Training"
        assert view.text("#run") == "run"
        assert "nats per image" in view.text(".t-metrics")
        assert "KL divergence from the prior" in view.text(".t-metrics")
        step = view.text(".t-sheet figcaption")
        assert re.fullmatch(r"step [\d,]+", step)
        view.wait_for(f"document.querySelector('.t-sheet figcaption').textContent !== '{step}'")
        newer = view.text(".t-sheet figcaption")
        view.page.fill(".t-sheet input[type=range]", "0")
        view.wait_for("document.querySelector('.t-sheet input').value === '0'")
        view.wait_for(f"document.querySelector('.t-sheet figcaption').textContent !== '{newer}'")
        earlier = view.text(".t-sheet figcaption")
        view.page.click("text=Stop training")
        view.wait_for("document.querySelector('.t-status').textContent === 'Stopped'")
        assert "pinxit train --resume" in view.text(".t-message")
        assert not view.page.is_visible("text=Stop training")
        assert view.text(".t-sheet figcaption") == earlier, "an earlier sheet stays chosen"
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        assert view.problems == []
        view.page.close()


def test_without_the_printed_address_nothing_can_be_stopped(browser, tmp_path, monkeypatch):
    with train_in_thread(tmp_path / "run", monkeypatch) as training:
        view = Page(browser, training.url, 1100, "light")
        view.wait_for(HAS_SHEET)
        assert not view.page.is_visible("text=Stop training")
        view.page.close()


def test_names_of_a_run_are_text(browser, tmp_path, monkeypatch):
    name = "<img src=x onerror=document.title=1>"
    with train_in_thread(tmp_path / name, monkeypatch) as training:
        view = Page(browser, training.address, 375, "light")
        view.wait_for(HAS_SHEET)
        assert view.text("#run") == name
        assert view.page.evaluate("document.documentElement.scrollWidth") <= 375
        assert view.problems == []
        view.page.close()


def test_a_page_says_that_its_training_is_gone(browser, tmp_path, monkeypatch):
    with train_in_thread(tmp_path / "run", monkeypatch) as training:
        view = Page(browser, training.address, 1100, "light")
        view.wait_for(HAS_SHEET)
        view.page.route("**/data*", lambda route: route.abort())
        view.wait_for("!document.querySelector('.t-trouble').hidden")
        assert "does not answer" in view.text(".t-trouble")
        view.page.close()
