"""The studio page in a real browser: each tab does its job; nothing leaves the machine."""

from __future__ import annotations

import shutil

import pytest

from tests.serve.server import make_png

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"]
ONLY = {"mimeType": "image/png", "name": "image.png"}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(params=[(1100, "light"), (375, "dark")], ids=str)
def page(request, browser, base):
    """The page at a width and in a scheme; afterwards: nothing said, nothing asked elsewhere."""
    width, scheme = request.param
    opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said, elsewhere = [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))

    def reranker(request):
        if not request.url.startswith((base, "data:", "blob:")):
            elsewhere.append(request.url)

    opened.on("request", reranker)
    opened.goto(base)
    opened.wait_for_selector("[role=tab]")
    yield opened
    wide = opened.evaluate("document.documentElement.scrollWidth")
    opened.close()
    assert (said, elsewhere) == ([], [])
    assert wide <= width


def tab(page, run: str, name: str):
    page.select_option("#run", run)
    page.click(f"#tab-{name}")
    page.wait_for_selector(f"#{name}:not([hidden])")


def images(page, name: str, count: int):
    """Waits until so many images are there, whole."""
    page.wait_for_function(
        "([name, n]) => { const all = [...document.querySelectorAll(`#${name} .out img`)];"
        "return all.length === n && all.every((one) => one.complete && one.naturalWidth > 0); }",
        arg=[name, count],
        timeout=20_000,
    )


def send(page, name: str):
    file = {**ONLY, "buffer": make_png((16, 16))}
    page.set_input_files(f"#{name} [name=file]", files=[file])


def test_only_what_a_run_can_do_is_shown(page):
    def names():
        return page.eval_on_selector_all("[role=tab]", "all => all.map(one => one.textContent)")

    page.select_option("#run", "blobs-vae")
    assert names() == ["Nothing", "Latents", "Report"]
    page.select_option("#run", "blobs-painter")
    assert names() == ["Draw", "Report"]


def test_draw_grows_an_image_that_says_how_to_repeat_it(page):
    tab(page, "blobs-painter", "draw")
    page.fill("#draw [name=text]", 'a "blob"')
    page.click("#draw form button")
    images(page, "draw", 1)
    page.click("#draw summary")
    assert "pinxit draw" in page.inner_text("#draw .command")
    assert "client.images.generate" in page.inner_text("#draw .code")
    page.wait_for_function("document.querySelector('#draw a').href.startsWith('data:image/png')")


def test_nothing_is_a_wall_of_samples_and_a_click_brings_others(page):
    tab(page, "blobs-vae", "sample")
    images(page, "sample", 24)
    first = page.get_attribute("#sample .out img >> nth=0", "src")
    page.fill("#sample [name=seed]", "5")
    page.click("#sample form button")
    page.wait_for_function(
        "(old) => document.querySelector('#sample .out img').src !== old", arg=first
    )
    images(page, "sample", 24)


def test_a_slider_moves_the_image_in_less_than_250_ms(page):
    tab(page, "blobs-vae", "encode")
    page.wait_for_selector("#moved[data-ms]")
    times = []
    for value in ("-3", "0", "3", "-1", "2"):
        before = page.get_attribute("#moved", "src")
        page.locator("#sliders input").first.fill(value)
        page.wait_for_function(
            "(old) => { const one = document.querySelector('#moved');"
            "return one.src !== old && one.complete; }",
            arg=before,
        )
        page.wait_for_timeout(60)
        times.append(int(page.get_attribute("#moved", "data-ms")))
    assert sorted(times)[2] < 250
    page.fill("#z-way", "1")
    page.wait_for_function("document.querySelector('#z-way').nextElementSibling.value === '1'")


def test_complete_paints_what_the_brush_marks(page):
    tab(page, "blobs-igpt", "complete")
    send(page, "complete")
    page.wait_for_function("document.querySelector('#mask').width === 16")
    page.click("#mask")
    page.focus("#mask")
    for key in ("ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    page.click("#complete form button:not([type])")
    images(page, "complete", 4)


def test_caption_tells_both_languages_and_where_words_look(page):
    tab(page, "blobs-captions", "caption")
    send(page, "caption")
    page.click("#caption form button")
    page.wait_for_function("document.querySelectorAll('#caption .out p').length === 2")
    assert page.eval_on_selector_all("#caption h2", "all => all.map(o => o.textContent)") == [
        "en",
        "fr",
    ]
    words = page.locator("#caption .word")
    if words.count():
        words.first.hover()


def test_edit_is_a_conversation_about_one_image(page):
    tab(page, "blobs-editor", "edit")
    send(page, "edit")
    page.click("#edit form button")
    images(page, "edit", 1)
    page.wait_for_function(
        "document.querySelector('#edit .code').textContent.includes('responses.create')"
    )
    page.click("#edit form button")
    images(page, "edit", 2)


def test_it_works_by_keyboard_and_shows_the_report(page):
    page.select_option("#run", "blobs-vae")
    page.focus("#tab-sample")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-encode", "aria-selected") == "true"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#report iframe').srcdoc.length > 100")


def test_what_goes_wrong_is_said(page):
    tab(page, "blobs-editor", "edit")
    page.click("#edit form button")
    page.wait_for_selector("#wrong:not([hidden])")
    assert "needs an image" in page.inner_text("#wrong")


def test_the_documentation_needs_no_script(page, base):
    page.goto(f"{base}/docs")
    assert "/v1/responses" in page.inner_text("main")
