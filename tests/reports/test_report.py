"""The page as a file: whole, valid, needing nothing else, with what the run can show."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pinxit.cli import main
from pinxit.errors import PinxitError, UsageError
from pinxit.reports import report
from pinxit.runs import Run
from tests.builders import blobs, constant, evaluate, make_run, without_labels

VOID = {"meta", "link", "img", "br", "hr", "input"}
ALL = ["painted", "reconstructed", "blurry", "sharp", "traversed", "mapped", "priced", "unusual"]
ALL += ["judged", "trained", "repeated"]


class Page(HTMLParser):
    """Reads a page and holds it to HTML's nesting."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []
        self.text: list[str] = []
        self.html = path.read_text()
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.seen if name == tag]

    @property
    def sections(self) -> list[str]:
        return [str(attrs["id"]) for attrs in self.of("section")]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run of grey images with labels, evaluated, and its images."""
    images = blobs()
    run = make_run(tmp_path_factory.mktemp("runs") / "blobs-vae", images)
    evaluate(run)
    return run, images


@pytest.fixture(scope="module")
def page(tiny, tmp_path_factory) -> Path:
    """The report of `tiny`."""
    run, images = tiny
    return report(run, tmp_path_factory.mktemp("page") / "report.html", images=images)


@pytest.fixture
def bare(tiny, tmp_path) -> Run:
    """A copy of the run's configuration and weights, and nothing else; its data are gone."""
    config = json.loads((tiny[0].path / "config.json").read_text())
    config["data"]["source"] = str(tmp_path / "gone")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(tiny[0].weights.read_bytes())
    return Run(tmp_path)


def test_every_section_of_a_whole_run_is_there_in_order(page):
    assert Page(page).sections == ALL


def test_tags_are_nested_and_closed(page):
    read = Page(page)
    assert read.wrong == []
    assert read.open == []


def test_nothing_is_fetched(page):
    read = Page(page)
    for tag, attrs in read.seen:
        for name in ("src", "href", "srcset", "data", "poster"):
            value = attrs.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    assert not re.search(r"url\(|@import|https?://", read.html)
    assert not read.of("script")


def test_every_image_is_told_in_words(page):
    read = Page(page)
    assert len(read.of("img")) > 30
    for attrs in read.of("img"):
        assert attrs["alt"]
        assert int(attrs["width"] or 0) > 0
    for attrs in read.of("svg"):
        # a chart has its words; the clipped part within it is a part of that image
        assert attrs.get("aria-label") or "x" in attrs


def test_anchors_lead_somewhere_and_are_unique(page):
    read = Page(page)
    ids = [attrs["id"] for _, attrs in read.seen if attrs.get("id")]
    assert len(ids) == len(set(ids))
    targets = [str(attrs["href"]).removeprefix("#") for attrs in read.of("a")]
    assert targets
    assert set(targets) <= set(ids)


def test_headings_go_down_one_by_one(page):
    levels = [int(tag[1]) for tag, _ in Page(page).seen if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_no_number_is_missing(page):
    read = Page(page)
    words = read.words.replace("condition none", "").lower()
    for wrong in ("nan", "none", "inf", "undefined"):
        assert not re.search(rf"\b{wrong}\b", words), wrong
    for attrs in read.of("path"):
        assert re.fullmatch(r"[MLHVhvz0-9. -]+", str(attrs["d"]))


def test_figures_protocol_warnings_and_command_are_told(page):
    words = Page(page).words
    for text in ("−99.5", "± 0.25", "21.5", "the samples were few", "images 24"):
        assert text in words, text
    assert "pinxit train vae blobs --steps 30" in words
    assert "learned from 48 images of blobs, 8 × 8 pixels in grey, with 4 labels" in words


def test_a_whole_run_is_small_and_misses_nothing(page):
    assert page.stat().st_size < 1_000_000
    assert "Not on this page" not in Page(page).words


def test_without_data_it_shows_samples_and_says_why_not_more(bare):
    read = Page(report(bare))
    assert read.sections == ["painted", "repeated"]
    assert "could not be opened" in read.words
    assert "pinxit evaluate" in read.words


def test_without_weights_it_shows_the_curves(tiny, tmp_path):
    run, images = tiny
    for name in ("config.json", "metrics.csv"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    read = Page(report(tmp_path, images=images))
    assert read.sections == ["trained", "repeated"]
    assert "No weights" in read.words


def test_without_labels_or_evaluation_it_measures_for_itself(tmp_path):
    images = without_labels(blobs())
    run = make_run(tmp_path, images)
    read = Page(report(run, images=images))
    assert read.sections == [name for name in ALL if name != "judged"]
    assert "only colour the map" not in read.words
    assert "with 4 labels" not in read.words
    # the upper half of frequencies, measured here
    assert "In the upper half of frequencies reconstructions have" in read.words


@pytest.mark.parametrize("likelihood", ["gaussian", "discretized-logistic", "bernoulli"])
def test_colour_labels_given_and_a_flow_prior(tmp_path, likelihood):
    images = blobs(height=9, width=12, channels=3)
    options = {"likelihood": likelihood, "condition": "label", "prior": "flow"}
    run = make_run(tmp_path, images, steps=10, **options)
    evaluate(run)
    read = Page(report(run, images=images))
    assert read.sections == ALL
    assert "By label" in read.words
    assert "north-west" in read.words
    assert ("of the decoder, learned" in read.words) == (likelihood == "gaussian")
    assert ("probability of ink" in read.words) == (likelihood == "bernoulli")


def test_images_without_any_variance(tmp_path):
    images = constant(blobs())
    read = Page(report(make_run(tmp_path, images, steps=5), images=images))
    assert not re.search(r"\bnan\b", read.html.lower())
    assert read.wrong == []


def test_two_images_are_enough(tmp_path):
    images = blobs(n=8)
    run = make_run(tmp_path, images, steps=5)
    some = images.take(np.array([0, 1]))
    assert "painted" in Page(report(run, images=some)).sections


def test_names_with_markup_stay_names(tmp_path):
    images = blobs()
    names = [f'<b onload="x">{name}</b>&' for name in images.names]
    odd = type(images)(
        images.pixels,
        names=names,
        labels=images.labels,
        label_names=("<i>", "a & b", '"', "'"),
        splits=images.splits,
        source="<script>alert(1)</script>",
    )
    read = Page(report(make_run(tmp_path, odd, steps=5), images=odd))
    assert read.wrong == []
    assert not read.of("script")
    assert not read.of("b")
    assert "a & b" in read.words


def test_the_same_run_gives_the_same_page(tiny, tmp_path):
    run, images = tiny
    pages = [report(run, tmp_path / name, images=images) for name in ("a.html", "b.html")]
    one, two = (re.sub(r'class="kicker">[^<]*<', "<", page.read_text()) for page in pages)
    assert one == two


def test_it_opens_the_data_by_itself_and_the_command_prints_the_path(tmp_path, capsys):
    from pinxit.data.load import load_images

    images = load_images("digits", progress=False)
    run = make_run(tmp_path / "digits-vae", images, steps=5)
    assert main(["report", str(run.path)]) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1])
    assert path == run.path / "report.html"
    assert Page(path).sections == [name for name in ALL if name != "judged"]


def test_what_cannot_be_done_is_said(tmp_path, tiny, monkeypatch):
    with pytest.raises(UsageError, match="no such folder"):
        report(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is a folder"):
        report(tiny[0], tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PinxitError, match=r"pinxit\[umap\]"):
        report(tiny[0], umap=True)
    assert not (tmp_path / "report.html").exists()


def test_a_run_is_never_changed_by_its_report(tiny, tmp_path):
    run, images = tiny
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    report(Run(run.path), tmp_path / "x.html", images=images)
    assert before == {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
