"""The studio in Chromium: opening tabs, waiting for images, sending files."""

from __future__ import annotations

from tests.serve.server import make_png, wait_until


def wait_for(page, expression: str, arg=None):
    """Wait until an expression is true.

    Playwright's own wait needs `eval`, which the page's policy forbids.
    """
    wait_until(lambda: page.evaluate(expression, arg))


def open_tab(page, run: str, name: str):
    """Open a tab of a run and wait until nothing is in progress there."""
    page.select_option("#run", run)
    page.click(f"#tab-{name}")
    page.wait_for_selector(f"#{name}:not([hidden])")
    wait_until_idle(page, name)


def wait_until_idle(page, name: str):
    wait_for(
        page,
        "(name) => { const tab = document.getElementById(name);"
        "return !tab.hasAttribute('aria-busy') && !tab.querySelector('.status').textContent"
        ".includes('…'); }",
        arg=name,
    )


def wait_for_images(page, name: str, count: int):
    """Wait until a tab shows `count` images, all loaded."""
    wait_for(
        page,
        "([name, n]) => { const all = [...document.querySelectorAll(`#${name} .output img`)];"
        "return all.length === n && all.every((x) => x.complete && x.naturalWidth > 0); }",
        arg=[name, count],
    )


def image_urls(page, name: str) -> list[str]:
    return page.eval_on_selector_all(f"#{name} .output img", "all => all.map((x) => x.src)")


def choose_file(page, name: str, content: bytes | None = None, file_name: str = "photo.png"):
    """Choose a file in the first image input of a tab."""
    content = make_png((16, 16)) if content is None else content
    file = {"mimeType": "image/png", "name": file_name, "buffer": content}
    page.set_input_files(f"#{name} [name=file] >> nth=0", files=[file])


def send_file(page, kind: str, selector: str):
    """Drop an image on an element, or paste it there."""
    page.evaluate(
        """async ([kind, selector]) => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 12, height: 6 });
          canvas.getContext("2d").fillRect(0, 0, 5, 5);
          const blob = await new Promise((resolve) => canvas.toBlob(resolve));
          const data = new DataTransfer();
          data.items.add(new File([blob], "dropped.png", { type: "image/png" }));
          const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
          document.querySelector(selector).dispatchEvent(event);
        }""",
        [kind, selector],
    )
