"""A page with its decoder: it decodes as the run, from a file, with nothing from elsewhere."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.reports import report
from pinxit.reports.context import ReportContext
from pinxit.reports.live_decoder import MAX_SLIDERS, RUNTIME, RUNTIME_FILES, choose_sliders
from pinxit.runs import Run
from tests.builders import blobs, make_run
from tests.reports.html_page import HtmlPage

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

READY = "() => !document.getElementById('live-canvas').hidden"
IDLE = "text => document.getElementById('live-status').textContent.startsWith('decoded')"


@pytest.fixture(scope="module")
def images():
    return blobs(height=8, width=10, channels=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory, images) -> Run:
    return make_run(tmp_path_factory.mktemp("live") / "run", images, steps=20, latent_dim=2)


@pytest.fixture(scope="module")
def page_file(run, images):
    return report(run, run.path / "live.html", images=images, live=True)


def read_canvas(page) -> np.ndarray:
    data = page.evaluate("document.getElementById('live-canvas').toDataURL('image/png')")
    content = base64.b64decode(data.split(",")[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def move(page, values) -> None:
    """Set the sliders, and wait until what they say is decoded."""
    page.evaluate(
        """values => {
            const sliders = [...document.querySelectorAll('#live-sliders input')];
            values.forEach((value, i) => { sliders[i].value = value; });
            document.getElementById('live-status').textContent = 'waits';
            sliders[0].dispatchEvent(new Event('input', {bubbles: true}));
        }""",
        list(values),
    )
    page.wait_for_function(IDLE)


def test_the_page_decodes_as_the_run(browser, page_file, run):
    context = browser.new_context()
    page = context.new_page()
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_file.as_uri())
    page.wait_for_function(READY)
    model, seen = run.load(), []
    for z in ((0.0, 0.0), (-3.0, 3.0), (1.25, -0.4)):
        move(page, z)
        expected = model.decode(np.array([z], np.float32)).pixels[0]
        seen.append(read_canvas(page))
        assert np.abs(seen[-1] - expected).max() <= 1
    assert not np.array_equal(seen[0], seen[1])
    assert not errors
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
    context.close()


@pytest.mark.long
def test_the_pointer_moves_z_in_the_plane(browser, page_file, run):
    context = browser.new_context(viewport={"width": 375, "height": 800})
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_function(READY)
    plane = page.locator("#live-plane")
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    outputs = page.locator("#live-sliders output")
    assert abs(float(outputs.nth(0).inner_text().replace("−", "-")) - 1.5) < 0.1
    assert abs(float(outputs.nth(1).inner_text().replace("−", "-")) - 1.5) < 0.1
    before = outputs.nth(0).inner_text()
    page.locator("#live-sample").click()
    assert outputs.nth(0).inner_text() != before
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    context.close()


def test_without_a_script_the_report_is_complete(browser, page_file, run):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator(".live-image > img").is_visible()
    assert page.get_by_text("Here runs no script").is_visible()
    assert not page.locator("#live-sliders").is_visible()
    context.close()


def test_the_page_is_well_formed_and_self_contained(page_file):
    page = HtmlPage(page_file)
    assert not page.markup_errors
    assert all("src" not in script for script in page.attributes("script"))
    assert "Microsoft Corporation, MIT License" in page.text
    assert 4.5e6 < page_file.stat().st_size < 7e6


def test_a_report_runs_no_script_unless_it_is_live(run, images, tmp_path):
    page = HtmlPage(report(run, tmp_path / "plain.html", images=images))
    assert not page.attributes("script")
    assert 'id="live"' not in page.html


def test_the_runtime_of_the_package_is_small_and_has_its_license():
    assert sum((RUNTIME / file).stat().st_size for file in RUNTIME_FILES.values()) < 4e6
    assert "Microsoft Corporation" in (RUNTIME / "LICENSE").read_text("utf-8")


@pytest.mark.long
def test_a_run_without_latents_is_refused(tmp_path, images):
    import pinxit

    run = pinxit.train(
        pinxit.MAE(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2),
        images, out=tmp_path / "mae", steps=1, batch_size=8, quiet=True,
    )  # fmt: skip
    with pytest.raises(UsageError, match="--live shows the decoder of latents, and a mae run"):
        report(run, live=True)


@pytest.mark.parametrize("condition", ["none", "label"])
def test_a_plane_is_shown_only_if_it_is_that_of_every_label(condition, images, tmp_path):
    run = make_run(tmp_path, images, steps=5, latent_dim=2, condition=condition)
    page = HtmlPage(report(run, images=images, live=True))
    assert ('id="live-plane"' in page.html) == (condition == "none")
    assert ('id="live-label"' in page.html) == (condition == "label")
    assert len([a for a in page.attributes("input") if a["type"] == "range"]) == 2


@pytest.mark.parametrize(
    ("options", "are_latents"),
    [
        ({"latent_dim": 3}, True),
        ({"latent_dim": MAX_SLIDERS + 1}, False),
        ({"latent_dim": 3, "prior": "flow"}, False),
        ({"latents": "grid", "downscale": 4}, False),
    ],
)
def test_sliders_start_at_a_z_of_the_data(options, are_latents, images, tmp_path):
    import pinxit

    model, _ = build_model(pinxit.VAE(width=16, **options), images, np.arange(48))
    context = ReportContext(Run(tmp_path), model=model.eval(), images=images, live=True)
    context.__dict__["subset"] = images[:40]
    sliders = choose_sliders(context)
    assert sliders is not None
    assert sliders.are_latents == are_latents
    assert sliders.moves.shape == (len(sliders.names), model.latent_dim)
    assert len(sliders.names) <= MAX_SLIDERS
    if not are_latents:  # a value of 1 is a standard deviation along each direction
        assert context.posterior is not None
        means = context.posterior.mean - sliders.base
        lengths = np.linalg.norm(sliders.moves, axis=1)
        deviations = (means @ (sliders.moves / lengths[:, None]).T).std(0, ddof=1)
        assert np.allclose(lengths, deviations, rtol=1e-3)
        assert np.allclose(sliders.z()[0], context.posterior.mean.mean(0), atol=1e-4)
