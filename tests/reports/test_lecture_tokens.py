"""The slides on token models and masked autoencoders: what they show is what the model computes."""

from __future__ import annotations

import numpy as np
import pytest

import pinxit
from pinxit.models import build_model
from pinxit.models.decoding_protocols import CanTraceCaption, CanTraceDrawing, HasImageTokens
from pinxit.reports import report
from pinxit.reports.context import ReportContext, load_context
from pinxit.reports.images import ERROR_COLOR
from pinxit.reports.lecture.masking import masking
from pinxit.reports.lecture.row_of_tokens import _show_strip, row_of_tokens
from pinxit.reports.templating import create_environment
from pinxit.runs import Run
from tests.builders import blobs
from tests.reports.html_page import HtmlPage

pytestmark = pytest.mark.slow

SMALL = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1, "max_text_tokens": 24}


def build(config):
    return build_model(config, blobs(), np.arange(48))[0].eval()


def test_a_traced_caption_is_the_greedy_one():
    model = build(pinxit.Seq2Seq(source="image", target="text", **SMALL))
    image = blobs()[0]
    assert isinstance(model, CanTraceCaption)
    for language in ("en", "fr"):
        steps = model.trace_caption(image, language=language)
        probs = [[p for _, p in step.candidates] for step in steps]
        assert all(row == sorted(row, reverse=True) and sum(row) <= 1.001 for row in probs)
        text = steps[-1].text + steps[-1].candidates[0][0]
        ((greedy,),) = model.caption(image, language=language, num_beams=1)
        assert text.strip() == greedy.text
        log_prob = sum(np.log(row[0]) for row in probs)
        if steps[-1].candidates[0][0] == "":
            assert log_prob == pytest.approx(greedy.log_prob, abs=1e-3)
        assert steps[0].attention.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_traced_drawing_is_the_image_of_its_seed(seed):
    model = build(pinxit.Seq2Seq(source="text", target="image", palette_size=4, **SMALL))
    assert isinstance(model, CanTraceDrawing)
    text = "a blob at the top left"
    steps = model.trace_drawing(text, 1_000, seed=seed)
    rows, columns = steps[-1].cell
    assert len(steps) == (rows + 1) * (columns + 1)
    image = np.zeros_like(steps[-1].image)
    for step in steps:
        h, w = step.chosen.shape[:2]
        row, column = step.cell
        generated = image[: row * h]
        assert np.array_equal(step.image[: row * h], generated)
        image[row * h : (row + 1) * h, column * w : (column + 1) * w] = step.chosen
        assert sum(p for _, p in step.patches) <= 1.001
        assert step.patches[0][1] >= step.chosen_probability - 1e-6
    assert np.array_equal(image, model.draw([text], seed=seed).pixels[0])
    assert [step.cell for step in model.trace_drawing(text, 2)] == [(0, 0), (rows, columns)]


def test_probabilities_of_tokens_give_the_score_of_an_image():
    model, image = build(pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4)), blobs()[0]
    assert isinstance(model, HasImageTokens)
    tokens = model.image_tokens(image)
    probs = model.token_probs(image, np.zeros(tokens.shape[1:], bool))
    assert probs.sum(1) == pytest.approx(1, abs=1e-5)
    log_prob = np.log(probs[np.arange(tokens.size), tokens.flatten()]).sum()
    assert log_prob == pytest.approx(float(model.score(image)[0]), rel=1e-4)
    assert np.array_equal(model.image_tokens(model.tokens_to_images(tokens)), tokens)


def test_hidden_tokens_do_not_influence_a_masked_model():
    config = pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4, objective="masked")
    model, images = build(config), blobs()[:2]
    tokens = model.image_tokens(images)
    mask = tokens[0] != tokens[1]
    assert 0 < mask.sum() < mask.size
    one, two = (model.token_probs(images[i], mask) for i in range(2))
    assert np.allclose(one, two, atol=1e-5)
    visible = np.zeros_like(mask)
    assert not np.allclose(model.token_probs(images[0], visible), one, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_row_of_tokens_shows_their_patches(channels, monkeypatch):
    images = blobs(channels=channels)
    config = pinxit.IGPT(width=16, depth=1, heads=2, patch_size=2, palette_size=16)
    model = build_model(config, images, np.arange(48))[0].eval()
    tokens = model.image_tokens(images[0])[0]
    hidden = np.arange(tokens.size) % 3 == 0
    monkeypatch.setitem(_show_strip.__globals__, "inline_row", lambda row, alt: row.pixels)
    strip = _show_strip(model, tokens, np.arange(tokens.size), hidden)
    pixels = model.tokens_to_images(tokens[None]).pixels[0]
    assert pixels.shape == (8, 8, channels)
    for i, shown in enumerate(strip):
        row, column = divmod(i, 4)
        patch = pixels[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        expected = (
            np.full((2, 2, 3), ERROR_COLOR) if hidden[i] else np.broadcast_to(patch, (2, 2, 3))
        )
        assert np.array_equal(shown, expected.repeat(8, 0).repeat(8, 1))


def build_tokenizer(images):
    config = pinxit.ImageTokenizer(patch_size=2, width=16, quantizer="fsq")
    return build_model(config, images, np.arange(48))[0].eval()


@pytest.mark.parametrize("objective", ["autoregressive", "masked"])
@pytest.mark.parametrize("tokens", ["exact palette", "lossy palette", "tokenizer"])
def test_the_row_of_tokens_says_what_the_tokens_are(tokens, objective, tmp_path):
    images, small = blobs(), {"width": 16, "depth": 1, "heads": 2, "objective": objective}
    component = build_tokenizer(images) if tokens == "tokenizer" else None
    config = {
        "exact palette": pinxit.IGPT(palette="binary", **small),
        "lossy palette": pinxit.IGPT(palette_size=4, **small),
        "tokenizer": pinxit.IGPT(image_tokenizer="runs/any", **small),
    }[tokens]
    model, _ = build_model(config, images, np.arange(48), component=component)
    run = Run(tmp_path)
    run.__dict__["config"] = {"model": {"image_tokenizer": config.image_tokenizer}}
    context = ReportContext(run, model=model.eval(), images=images)
    context.__dict__["subset"] = images[:8]
    slide = row_of_tokens(context)
    assert slide is not None
    template = '{% import "macros.html.j2" as m %}{% include "lecture/row_of_tokens.html.j2" %}'
    html = create_environment().from_string(template).render(v=slide.values)
    assert ("nearest entry of a palette" in html) == (tokens != "tokenizer")
    assert ("the code that the image tokenizer gives it" in html) == (tokens == "tokenizer")
    assert ("p(x)" in html) == (tokens == "exact palette")
    assert ("p(tokens)" in html) == (tokens != "exact palette")


RUNS = {
    "caption": (pinxit.Seq2Seq(source="image", target="text", **SMALL), "decoding", "To fr"),
    "draw": (
        pinxit.Seq2Seq(source="text", target="image", palette_size=4, **SMALL),
        "decoding",
        "row 1, column 1",
    ),
    "igpt": (
        pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4),
        "row_of_tokens",
        "autoregressive: this run",
    ),
    "masked": (
        pinxit.IGPT(width=16, depth=1, heads=2, palette_size=4, objective="masked"),
        "row_of_tokens",
        "BERT (masked): this run",
    ),
    "mae": (pinxit.MAE(width=16, depth=1, heads=2), "masking", "1 of 16 patches"),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_page_has_the_slide_of_the_family(tmp_path, name):
    config, slide, statement = RUNS[name]
    images = blobs()
    run = pinxit.train(config, images, out=tmp_path / name, steps=3, batch_size=8, quiet=True)
    page = HtmlPage(report(run, images=images))
    assert page.markup_errors == []
    assert page.unclosed == []
    assert f'id="slide-{slide}"' in page.html
    assert statement in page.text
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = {str(a["href"])[1:] for a in page.attributes("a") if str(a["href"]).startswith("#")}
    assert targets <= set(ids)
    if name == "mae":
        values = masking(load_context(Run(run.path), images)).values
        assert [row["num_visible"] for row in values["rows"]] == [4, 2, 1]
