"""Every slide of the lecture: a figure of the run, a formula, a place in the code, and a number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pinxit
from pinxit.reports.context import load_context
from pinxit.reports.lecture import SLIDES, lecture
from pinxit.reports.sections import Section
from pinxit.reports.templating import create_environment
from pinxit.runs import Run
from pinxit.serve.exchange import record_exchange
from tests.builders import blobs

pytestmark = pytest.mark.long  # it trains a run of each family

SMALL = {"width": 16, "heads": 2, "depth": 1}
TEXT = {**SMALL, "decoder_depth": 1, "max_text_tokens": 24}
RUNS = {
    "vae": pinxit.VAE(network="mlp", latent_dim=2, width=16, depth=1),
    "mae": pinxit.MAE(patch_size=2, **SMALL),
    "igpt": pinxit.IGPT(palette_size=4, **SMALL),
    "draw": pinxit.Seq2Seq(source="text", target="image", palette_size=4, **TEXT),
    "caption": pinxit.Seq2Seq(source="image", target="text", **TEXT),
}


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> dict[str, str]:
    """The HTML of each slide, of the first run that has it, by its key."""
    folder, images, found = tmp_path_factory.mktemp("slides"), blobs(), {}
    for name, config in RUNS.items():
        pinxit.train(config, images, out=folder / name, steps=4, batch_size=16, quiet=True)
        assert record_exchange(Run(folder / name)) or name in ("mae", "caption")
        context = load_context(Run(folder / name), images, live=name == "vae")
        section = lecture(context)
        assert section is not None
        html = render(section)
        for slide in section.values["slides"]:
            part = html.partition(f'<h3 id="slide-{slide.key}">')[2].partition("<h3 ")[0]
            found.setdefault(slide.key, part)
    return found


def render(section: Section) -> str:
    source = '{% import "macros.html.j2" as m %}{% include "sections/lecture.html.j2" %}'
    return create_environment().from_string(source).render(s=section.values)


def test_each_slide_is_in_the_report_of_some_run(slides):
    assert set(slides) == {build.__name__ for build in SLIDES}


@pytest.mark.parametrize("key", [build.__name__ for build in SLIDES])
def test_a_slide_has_figure_formula_number_and_place_in_the_code(slides, key):
    html = slides[key]
    assert "<img " in html or "<svg " in html
    assert 'class="formula"' in html
    assert re.search(r"In the code:\s*<code", html)
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", html.partition("In the code")[0], flags=re.DOTALL)
    assert re.search(r"\d", text)


def test_words_of_the_lecture_are_explained_where_they_first_stand(slides):
    template = Path(pinxit.__file__).parent / "reports" / "templates" / "lecture"
    search = (template / "search_for_z.html.j2").read_text("utf-8")
    assert re.search(r"<strong>Inference</strong> is this way back", search)
    assert re.search(r"<strong>Amortized</strong>: gradient descent starts anew", search)
    assert re.search(r"<strong>Variational</strong>: gradient descent gives a point", search)
    assert "<strong>reparameterization</strong>: the randomness is in" in slides["posterior_clouds"]
