"""The studio page in a real browser: each tab works, and nothing is loaded from other hosts."""

from __future__ import annotations

import io
import shlex
import time

import pytest
from PIL import Image

from pinxit.models.drawing import Drawing
from tests.serve.server import make_png, wait_until
from tests.serve.studio_page import (
    choose_file,
    image_urls,
    open_tab,
    send_file,
    wait_for,
    wait_for_images,
    wait_until_idle,
)


def open_page(browser, base_url, width, scheme):
    """Open the page. Fails at its end on messages, other hosts and overflow."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    messages, other_hosts = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))

    def record_other_host(request):
        if not request.url.startswith((base_url, "data:", "blob:")):
            other_hosts.append(request.url)

    page.on("request", record_other_host)
    page.goto(base_url)
    page.wait_for_selector("[role=tab]")
    yield page
    scroll_width = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    # a browser logs every answer that is an error, also those that the page shows
    messages = [text for text in messages if not text.startswith("Failed to load resource")]
    assert (messages, other_hosts) == ([], [])
    assert scroll_width <= width


@pytest.fixture(params=[(1100, "light"), (375, "dark")], ids=str)
def page(request, browser, base_url):
    yield from open_page(browser, base_url, *request.param)


@pytest.fixture
def desk(browser, base_url):
    """The page on a desktop, for what does not depend on the width."""
    yield from open_page(browser, base_url, 1100, "light")


# -- opening ---------------------------------------------------------------------------------------


def test_a_run_has_a_tab_for_each_of_its_abilities(page):
    def titles():
        return page.eval_on_selector_all("[role=tab]", "tabs => tabs.map(tab => tab.textContent)")

    page.select_option("#run", "blobs-vae")
    assert titles() == ["Samples", "Latents", "Reconstruct", "Program", "Gallery", "Report"]
    page.select_option("#run", "blobs-draw")
    assert titles() == ["Draw", "Program", "Gallery", "Report"]
    page.select_option("#run", "blobs-caption")
    assert titles() == ["Caption", "Gallery", "Report"]


def test_the_page_opens_with_images_and_says_what_the_run_is(page):
    wait_for_images(page, "sample", 24)
    assert page.inner_text("h1") == "blobs-vae"
    wait_for(page, "document.querySelector('#sentence').textContent.includes('48 images of blobs')")
    wait_for(page, "document.querySelector('#verdict .pill') !== null")
    wait_for(page, "document.querySelectorAll('#source img').length === 8")
    assert "blobs-vae" in page.title()


def test_the_runs_own_captions_are_drawn_and_a_click_goes_on_with_one(page):
    open_tab(page, "blobs-draw", "draw")
    wait_for_images(page, "draw", 4)
    caption = page.inner_text("#draw .tile figcaption >> nth=1")
    assert "blob" in caption or "tache" in caption
    page.click("#draw .tile button >> nth=1")
    wait_for(page, "document.querySelector('#draw .heading').textContent === ''")
    wait_until_idle(page, "draw")
    assert page.input_value("#draw [name=prompt]") == caption
    chip = page.inner_text("#draw .chips button >> nth=0")
    page.click("#draw .chips button >> nth=0")
    assert page.input_value("#draw [name=prompt]") == chip
    wait_for_images(page, "draw", 4)


def test_settings_open_at_the_defaults_that_were_measured(desk):
    """docs/log.md, "Text and images": guidance 1.5 and top-p 0.95, temperature 1: 48 % exact."""
    open_tab(desk, "blobs-draw", "draw")
    values = {name: desk.input_value(f"#draw [name={name}]") for name in
              ("temperature", "guidance", "top_p", "best_of")}  # fmt: skip
    assert values == {"temperature": "1", "guidance": "1.5", "top_p": "0.95", "best_of": "1"}
    languages = desk.eval_on_selector_all(
        "#draw [name=language] option", "a => a.map(o => o.value)"
    )
    assert languages == ["", "en", "fr"]


# -- drawing and sampling --------------------------------------------------------------------------


def test_an_image_opens_large_with_all_that_repeats_it(page):
    open_tab(page, "blobs-draw", "draw")
    page.fill("#draw [name=prompt]", """a "blob" of $5, it's""")
    page.fill("#draw [name=seed]", "3")
    page.click("#draw .primary")
    wait_until_idle(page, "draw")
    wait_for_images(page, "draw", 4)
    page.click("#draw .tile button >> nth=2")
    command = shlex.split(page.inner_text("#viewer pre >> nth=0"))
    assert command[:2] == ["pinxit", "draw"]
    assert command[3] == """a "blob" of $5, it's"""
    assert "client.images.generate" in page.inner_text("#viewer pre >> nth=1")
    link = page.locator("#viewer a[download]").first
    assert link.get_attribute("download") == "blobs-draw-a-blob-of-5-it-s-seed3-no2.png"
    assert link.get_attribute("href").startswith("data:image/png")
    page.keyboard.press("ArrowRight")
    assert "image 3" in page.inner_text("#viewer .facts")
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer")


def test_a_second_click_starts_anew_and_enter_draws(desk):
    open_tab(desk, "blobs-draw", "draw")
    desk.evaluate("for (let i = 0; i < 3; i++) document.querySelector('#draw .primary').click()")
    wait_until_idle(desk, "draw")
    wait_for_images(desk, "draw", 4)
    desk.fill("#draw [name=prompt]", "a blob at the bottom right")
    desk.press("#draw [name=prompt]", "Enter")
    wait_until_idle(desk, "draw")
    wait_for_images(desk, "draw", 4)
    assert "bottom+right" in desk.url


def test_words_that_the_model_does_not_know_are_named(desk):
    open_tab(desk, "blobs-draw", "draw")
    desk.fill("#draw [name=prompt]", "a blob of xylophones")
    desk.click("#draw .primary")
    wait_for(desk, "document.querySelector('#draw .note')?.textContent.includes('xylophones')")


def test_the_seed_shown_is_the_seed_drawn_and_more_keeps_what_is_there(desk):
    wait_for_images(desk, "sample", 24)
    first = image_urls(desk, "sample")
    desk.fill("#sample [name=seed]", "5")
    desk.click("#sample .primary")
    wait_until_idle(desk, "sample")
    second = image_urls(desk, "sample")
    assert second != first
    assert desk.input_value("#sample [name=seed]") == "5"
    desk.click("#more")
    wait_for_images(desk, "sample", 48)
    assert image_urls(desk, "sample")[:24] == second
    desk.click("#sample .tile button >> nth=30")
    assert "--seed 5 --start 30" in desk.inner_text("#viewer pre >> nth=0")
    desk.keyboard.press("Escape")
    desk.click("#sample [data-another]")
    wait_until_idle(desk, "sample")
    seed = desk.input_value("#sample [name=seed]")
    desk.click("#sample .tile button >> nth=0")
    assert f"--seed {seed}" in desk.inner_text("#viewer pre >> nth=0")


def test_a_reload_shows_the_same_images_and_the_gallery_keeps_them(desk):
    open_tab(desk, "blobs-draw", "draw")
    desk.fill("#draw [name=prompt]", "a blob at the top left & more #1")
    desk.fill("#draw [name=seed]", "11")
    desk.click("#draw .primary")
    wait_until_idle(desk, "draw")
    before = image_urls(desk, "draw")
    desk.reload()
    wait_for_images(desk, "draw", 4)
    wait_until_idle(desk, "draw")
    assert image_urls(desk, "draw") == before
    assert desk.input_value("#draw [name=prompt]") == "a blob at the top left & more #1"
    desk.click("#tab-gallery")
    wait_for(desk, "document.querySelectorAll('#gallery .batch').length > 0")
    desk.click("#gallery .tile button >> nth=0")
    assert "seed 11" in desk.inner_text("#viewer .facts")
    desk.click("#viewer button:has-text('Use its settings')")
    wait_until_idle(desk, "draw")
    assert desk.input_value("#draw [name=seed]") == "11"
    desk.go_back()
    desk.wait_for_selector("#gallery:not([hidden])")
    desk.on("dialog", lambda dialog: dialog.accept())
    desk.click("#gallery-clear")
    wait_for(desk, "document.querySelector('#gallery .empty') !== null")


@pytest.fixture
def slow_drawing(monkeypatch):
    """Each image takes 200 steps of 20 ms; the list gets the time of each step."""
    steps: list[float] = []
    original = Drawing.draw_stream

    def draw_stream(self, *args, **options):
        images = next(iter(original(self, *args, **options)))
        for _ in range(200):
            steps.append(time.monotonic())
            time.sleep(0.02)
            yield images

    monkeypatch.setattr(Drawing, "draw_stream", draw_stream)
    return steps


def test_progress_and_previews_are_shown_and_cancel_ends_the_work(desk, slow_drawing):
    open_tab_now = "document.querySelector('#tab-draw')?.click()"
    desk.select_option("#run", "blobs-draw")
    desk.evaluate(open_tab_now)
    desk.wait_for_selector("#draw progress")
    wait_for(desk, "document.querySelectorAll('#draw .output img').length > 0")
    assert desk.locator("#draw .tile button:disabled").count() > 0, "a preview cannot be opened"
    desk.click("#draw .cancel")
    wait_for(desk, "document.querySelector('#draw .status').textContent === 'Cancelled.'")
    assert desk.locator("#draw .output img").count() == 0
    wait_until(lambda: time.monotonic() - slow_drawing[-1] > 0.5)
    assert len(slow_drawing) < 400, "the server goes on with a request that nobody waits for"


# -- errors ----------------------------------------------------------------------------------------


def test_errors_are_shown_at_their_cause(page):
    open_tab(page, "blobs-draw", "draw")
    page.fill("#draw [name=prompt]", "   ")
    page.click("#draw .primary")
    page.wait_for_selector("#draw textarea + .error")
    assert page.get_attribute("#draw [name=prompt]", "aria-invalid") == "true"
    page.fill("#draw [name=prompt]", "a blob")
    page.route("**/studio/data/generate", lambda route: route.abort())
    page.click("#draw .primary")
    wait_for(page, "document.querySelector('#draw .error')?.textContent.includes('pinxit serve')")
    assert page.get_attribute("#draw [name=prompt]", "aria-invalid") is None


def test_a_file_that_is_no_image_is_refused_where_it_was_chosen(desk):
    open_tab(desk, "blobs-caption", "caption")
    before = desk.inner_text("#caption .output")
    choose_file(desk, "caption", b"this is text", "notes.png")
    desk.wait_for_selector("#caption .drop ~ .error, #caption .drop .error")
    assert "not an image" in desk.inner_text("#caption .error")
    assert desk.inner_text("#caption .output") == before


# -- images of one's own ---------------------------------------------------------------------------


def test_an_image_is_chosen_dropped_pasted_or_photographed(desk):
    open_tab(desk, "blobs-vae", "reconstruct")
    wait_for_images(desk, "reconstruct", 2)
    wide = make_png((64, 32))
    choose_file(desk, "reconstruct", wide, "My <b>photo</b>.png")
    note = "My <b>photo</b>.png is 64 × 32; for this model cropped to the frame, resized to 8 × 8"
    wait_for(
        desk, "(note) => document.querySelector('#reconstruct .note')?.textContent.includes(note)",
        arg=note,
    )  # fmt: skip
    frame = desk.locator("#reconstruct .framed i")
    assert frame.evaluate("frame => [frame.style.left, frame.style.width]") == ["25%", "50%"]
    for kind in ("drop", "paste"):
        before = desk.get_attribute("#reconstruct .framed img", "src")
        send_file(desk, kind, "#reconstruct .lede")
        wait_for(
            desk, "(old) => document.querySelector('#reconstruct .framed img').src !== old",
            arg=before if kind == "drop" else "",
        )  # fmt: skip
        wait_until_idle(desk, "reconstruct")
    assert "dropped.png is 12 × 6" in desk.inner_text("#reconstruct .note")
    desk.click("#reconstruct .drop button:has-text('Camera')")
    desk.wait_for_selector("#camera button.primary:enabled")
    desk.click("#camera button.primary")
    wait_for(desk, "document.querySelector('#reconstruct .note').textContent.includes('photo.png')")
    wait_for_images(desk, "reconstruct", 2)


def test_complete_generates_what_the_brush_hides(page):
    open_tab(page, "blobs-igpt", "complete")
    wait_for_images(page, "complete", 4)
    choose_file(page, "complete", make_png((8, 8), "L"))
    wait_until(lambda: page.evaluate("document.querySelector('#complete .framed') !== null"))
    page.click("#complete [name=clear]")
    page.click("#complete .primary")
    wait_for(page, "document.querySelector('#complete .error')?.textContent.includes('Draw over')")
    page.locator("#mask").scroll_into_view_if_needed()
    page.click("#mask", position={"x": 20, "y": 20})
    page.focus("#mask")
    for key in ("ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    page.click("#complete .primary")
    wait_until_idle(page, "complete")
    wait_for_images(page, "complete", 4)
    page.click("#complete .tile button >> nth=0")
    names = page.eval_on_selector_all("#viewer a[download]", "all => all.map(a => a.download)")
    assert names[1:] == ["input.png", "mask.png"]


def test_caption_shows_each_language_and_the_attention_of_a_token(page):
    open_tab(page, "blobs-caption", "caption")
    wait_for(page, "document.querySelectorAll('#caption .output p').length === 2")
    titles = page.eval_on_selector_all("#caption h3", "all => all.map(x => x.textContent)")
    assert titles == ["English", "French"]
    tokens = page.locator("#caption .token")
    if tokens.count():
        tokens.first.hover()


def test_edit_is_a_conversation_about_one_image(page):
    open_tab(page, "blobs-edit", "edit")
    wait_for_images(page, "edit", 1)
    page.fill("#edit [name=prompt]", "a blob at the top left")
    page.click("#edit .primary")
    wait_for_images(page, "edit", 2)
    wait_until_idle(page, "edit")
    assert page.locator("#edit .said").count() == 2
    page.click("#edit [name=again]")
    assert page.locator("#edit .said").count() == 0


@pytest.mark.parametrize("run", ["blobs-draw", "blobs-vae"])
def test_the_program_of_the_lecture_runs_in_two_turns(page, run):
    open_tab(page, run, "program")
    first = page.input_value("#program [name=first]")
    assert first.startswith("Generate an image of ")
    assert ("cat" in first) == (run == "blobs-vae")  # one that draws begins with its own caption
    page.fill("#program [name=second]", 'Give this "cat" a hat')
    assert 'input="Give this \\"cat\\" a hat"' in page.inner_text("#program pre")
    page.click("#program .primary")
    wait_for_images(page, "program", 2)
    wait_until_idle(page, "program")
    assert page.locator("#program .said").all_inner_texts() == [first, 'Give this "cat" a hat']
    assert page.locator("#program mark").count() == 0
    assert page.inner_text("#program-url").endswith("/v1")


def test_an_error_of_a_turn_is_shown_in_the_program_tab(desk):
    open_tab(desk, "blobs-draw", "program")
    desk.route("**/v1/responses", lambda route: route.abort())
    desk.click("#program .primary")
    desk.wait_for_selector("#program .error")
    assert desk.locator("#program .said").count() == 0


def test_a_slider_updates_the_image_in_less_than_250_ms(page):
    open_tab(page, "blobs-vae", "encode")
    page.wait_for_selector("#latent-image[data-ms]")
    times = []
    for value in ("-3", "0", "3", "-1", "2"):
        before = page.get_attribute("#latent-image", "src")
        page.locator("#sliders input").first.fill(value)
        wait_for(
            page,
            "(old) => { const image = document.querySelector('#latent-image');"
            "return image.src !== old && image.complete; }",
            arg=before,
        )
        page.wait_for_timeout(60)
        times.append(int(page.get_attribute("#latent-image", "data-ms")))
    assert sorted(times)[2] < 250
    page.fill("#encode [name=mix]", "1")
    wait_for(page, "document.querySelector('#encode .slider output').value === '1'")
    page.click("#open-latent")
    page.wait_for_selector("#viewer[open]")
    assert "model.decode" in page.inner_text("#viewer pre")


def test_latents_start_from_an_image_of_ones_own(desk):
    open_tab(desk, "blobs-vae", "encode")
    before = desk.get_attribute("#latent-image", "src")
    desk.click("#encode summary")
    choose_file(desk, "encode", make_png((8, 8), "L"))
    wait_for(desk, "document.querySelector('#latent-note').textContent.includes('your image')")
    assert desk.get_attribute("#latent-image", "src") != before


# -- report, keyboard, documentation ---------------------------------------------------------------


def test_a_button_makes_the_report(browser, base_url, runs):
    report = runs["blobs-vae"] / "report.html"
    report.unlink(missing_ok=True)
    pages = open_page(browser, base_url, 375, "dark")
    page = next(pages)
    open_tab(page, "blobs-vae", "report")
    page.click("#make-report")
    wait_for(page, "document.querySelector('#report iframe').srcdoc.length > 1000")
    assert report.is_file()
    wait_until_idle(page, "report")
    frame = page.locator("#report iframe")
    shot = Image.open(io.BytesIO(frame.screenshot()))
    assert sum(shot.convert("L").getpixel((5, 60)) for _ in range(1)) < 90, "white in dark mode"
    next(pages, None)


def test_tabs_work_by_keyboard(page):
    page.select_option("#run", "blobs-vae")
    page.focus("#tab-sample")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-encode", "aria-selected") == "true"
    page.keyboard.press("End")
    assert page.get_attribute("#tab-report", "aria-selected") == "true"
    assert page.evaluate("document.activeElement.id") == "tab-report"


def test_the_documentation_needs_no_script(page, base_url):
    page.goto(f"{base_url}/docs")
    assert "/v1/responses" in page.inner_text("main")
