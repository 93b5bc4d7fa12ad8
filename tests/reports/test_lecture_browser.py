"""The figures of the lecture that a reader steps through: without a script, and on a phone."""

from __future__ import annotations

import pytest

from pinxit.reports import report
from pinxit.training.posterior_snapshots import save_snapshot
from tests.builders import blobs, make_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    images = blobs(height=8, width=10, channels=3)
    run = make_run(tmp_path_factory.mktemp("lecture") / "run", images, steps=20, latent_dim=2)
    for step in (0, 10, 20):
        save_snapshot(run.load(), run, step, images)
    return report(run, images=images).as_uri()


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_frames_are_selected_without_a_script(browser, url, motion):
    context = browser.new_context(java_script_enabled=False, reduced_motion=motion)
    page = context.new_page()
    page.goto(url)
    frames = page.locator(".frames > figure")
    assert frames.count() == 3
    for number in (1, 3, 2):
        page.locator(f"label[for=clouds-{number}]").click()
        assert [frames.nth(i).is_visible() for i in range(3)] == [i + 1 == number for i in range(3)]
    page.locator("label[for=clouds-play]").click()
    visible = [frames.nth(i).is_visible() for i in range(3)]
    if motion == "reduce":
        assert visible == [False, False, True]
    else:
        frames.nth(1).wait_for(state="visible")
        frames.nth(2).wait_for(state="visible")
    context.close()


def test_the_cell_under_the_pointer_is_shown_enlarged(browser, url):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 375, "height": 800})
    page = context.new_page()
    page.goto(url)
    lenses, first = page.locator(".plane .lens > text"), 15**2 // 2
    assert [lenses.nth(i).is_visible() for i in (3, first, 40)] == [False, True, False]
    page.locator(".plane .cell > rect").nth(3).hover()
    assert [lenses.nth(i).is_visible() for i in (3, first, 40)] == [True, False, False]
    context.close()
