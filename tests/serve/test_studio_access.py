"""The studio by WCAG 2.1, levels A and AA: contrast, names, keyboard; checked by axe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.studio_page import open_tab

AXE = Path(__file__).parents[2] / "build/clients/node_modules/axe-core/axe.min.js"
pytestmark = pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make clients")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
RUNS = {
    "blobs-vae": ("sample", "encode", "reconstruct", "gallery", "report"),
    "blobs-draw": ("draw",),
    "blobs-igpt": ("complete",),
    "blobs-caption": ("caption",),
    "blobs-edit": ("edit",),
}
# violations of rules: the rule, the element, and what axe says of it
CHECK = """async (tags) => {
  const { violations } = await axe.run(document, { runOnly: tags, iframes: false });
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => [id, node.html.slice(0, 120), node.failureSummary]));
}"""


def open_page(browser, base_url, width, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    page.goto(base_url)
    page.wait_for_selector("[role=tab]")
    page.add_script_tag(path=str(AXE))
    return page


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1100, "light"),
        pytest.param(375, "dark", marks=pytest.mark.long),
        pytest.param(1100, "dark", marks=pytest.mark.long),
        pytest.param(375, "light", marks=pytest.mark.long),
    ],
)
def test_no_tab_and_no_opened_image_has_a_violation(browser, base_url, width, scheme):
    page = open_page(browser, base_url, width, scheme)
    found = {}
    for run, tabs in RUNS.items():
        for tab in tabs:
            open_tab(page, run, tab)
            for details in page.locator(f"#{tab} details").all():
                details.evaluate("details => { details.open = true; }")
            found[tab] = page.evaluate(CHECK, TAGS)
    page.click("#edit .tile button >> nth=0")
    page.wait_for_selector("#viewer[open]")
    found["viewer"] = page.evaluate(CHECK, TAGS)
    page.context.close()
    assert {name: violations for name, violations in found.items() if violations} == {}


def test_axe_finds_what_is_wrong(browser, base_url):
    page = open_page(browser, base_url, 1100, "light")
    page.evaluate("document.querySelector('#sample .lede').style.color = '#ddd4cc'")
    page.evaluate("document.querySelector('.pick').replaceWith(document.querySelector('#run'))")
    rules = {rule for rule, *_ in page.evaluate(CHECK, TAGS)}
    page.context.close()
    assert {"select-name", "color-contrast"} <= rules
