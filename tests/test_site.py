"""The documentation builds strictly, loads nothing from elsewhere, and names code that exists."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pinxit.cli.options import read_options
from pinxit.cli.train import family_command
from pinxit.models import list_families
from tests.builders import CaptionScorer
from tests.reports.html_page import HtmlPage
from tests.test_doc_blocks import parse

ROOT = Path(__file__).parent.parent
LECTURE = (ROOT / "docs" / "lecture.md").read_text("utf-8")
FAMILY_PAGES = sorted((ROOT / "docs" / "models").glob("*.md"))
PLACES = [
    place
    for text in [LECTURE, *(page.read_text("utf-8") for page in FAMILY_PAGES)]
    for place in re.findall(r"`(\w[\w/]*\.py)(?:: ([\w.]+))?`", text)
]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    done = subprocess.run(
        [*command, "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.strip() == ""
    return folder


@pytest.mark.slow
def test_every_page_of_the_site_is_built(site):
    for name in ("index", "lecture", "models", "serve", "api", "commands", "recipes/index", "log"):
        assert (site / f"{name}.html").is_file()
    assert {file.name for file in (ROOT / "recipes").glob("*.toml")} <= {
        file.name for file in (site / "recipes").iterdir()
    }
    commands = (site / "commands.html").read_text("utf-8")
    assert all(f"pinxit train {family}" in commands for family in list_families())


@pytest.mark.slow
def test_pages_load_nothing_from_other_hosts(site):
    for file in site.rglob("*.html"):
        for tag, attributes in HtmlPage(file).elements:
            loaded = attributes.get("src") or (tag == "link" and attributes.get("href")) or ""
            rel = attributes.get("rel") or ""
            assert rel == "canonical" or not re.match(r"(https?:)?//", str(loaded)), (file, loaded)
        assert "fonts.googleapis" not in file.read_text("utf-8")


@pytest.mark.slow
def test_formulas_are_mathml(site):
    for source in [ROOT / "docs" / "lecture.md", *FAMILY_PAGES]:
        name = source.relative_to(ROOT / "docs").with_suffix(".html")
        page = (site / name).read_text("utf-8")
        formulas = re.findall(r"\\\[ |\\\((?!\w)|\\\(.+?\\\)", source.read_text("utf-8"))
        assert page.count("<math ") == len(formulas), name
        assert "arithmatex" not in page
        assert not re.search(r"\\(frac|mathrm|lVert|underbrace|sum)", page)


@pytest.mark.slow
def test_tables_of_a_family_are_those_of_the_program(site):
    for family in list_families():
        page = (site / "models" / f"{family}.html").read_text("utf-8")
        options = [o for o in read_options(family_command(family)) if o.section == "model"]
        assert all(f"<code>{option.flag}</code>" in page for option in options)
        assert "<!-- options" not in page
        assert "±" in page


def test_each_family_has_a_page_with_its_options():
    assert {page.stem for page in FAMILY_PAGES} == set(list_families())
    for page in FAMILY_PAGES:
        text = page.read_text("utf-8")
        assert f"<!-- options: {page.stem} -->" in text
        for heading in ("## The mathematics", "## Commands", "## Measured", "## In the code"):
            assert heading in text
        assert r"\[" in text
        assert "](../images/" in text


@pytest.mark.parametrize(("file", "name"), sorted(set(PLACES)))
def test_places_of_the_lecture_are_in_the_code(file, name):
    path = ROOT / "src" / "pinxit" / file
    if not path.is_file():
        assert (ROOT / file).is_file()
        return
    body: list[ast.stmt] = ast.parse(path.read_text("utf-8")).body
    for part in name.split(".") if name else []:
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        found = [node for node in body if isinstance(node, kinds) and node.name == part]
        assert found, f"{file} has no {name}"
        body = found[0].body


def test_figures_of_the_lecture_are_those_of_the_script():
    script = ast.parse((ROOT / "docs" / "make_lecture_figures.py").read_text("utf-8"))
    (figures,) = (
        {ast.literal_eval(key) for key in node.value.keys if key is not None}
        for node in script.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        if ast.unparse(node.targets[0]) == "FIGURES"
    )
    shown = set(re.findall(r"\]\(images/lecture/([\w-]+)\.png\)", LECTURE))
    files = {file.stem for file in (ROOT / "docs" / "images" / "lecture").glob("*.png")}
    assert shown == figures == files


def test_the_table_of_the_lecture_has_a_row_for_each_run():
    table = LECTURE.partition("<!-- numbers -->")[2].partition("<!-- end -->")[0]
    rows = [row for row in table.strip().splitlines() if re.match(r"\| [\d.]+ ", row)]
    kl = [float(row.split("|")[2]) for row in rows]
    assert len(kl) == 3
    assert kl == sorted(kl, reverse=True), "more weight, less KL"


# -- links -----------------------------------------------------------------------------------------

PAGES = [
    *(ROOT / name for name in ("README.md", "recipes/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    text = re.sub(r"`|\*|\]\([^)]*\)|\[", "", heading)
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text.lower()).strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings_of_the_checkout(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), link


# -- every slide, and the words of the lecture -----------------------------------------------------

SLIDES = re.split(r"^## (?=\d+\. )", LECTURE.partition("## How the figures")[0], flags=re.M)[1:]
# word -> what explains it, in the paragraph where it first stands
EXPLANATIONS = {
    r"amorti[sz]ed": r"paid (for )?once|in one pass|shared",
    r"variational inference": r"no closed form|best one\s+of a simple family|distribution",
    r"reparameterization": r"differentiable function|gradient",
    r"epsilon": r"close enough|small enough|how close",
}
TEXTS = ("README.md", "docs/lecture.md", "docs/models/vae.md")


def test_there_are_ten_slides():
    assert [int(slide.split(".")[0]) for slide in SLIDES] == list(range(1, 11))


@pytest.mark.parametrize("slide", SLIDES, ids=lambda slide: slide.split("\n")[0])
def test_a_slide_has_figure_formula_number_and_place_in_the_code(slide):
    body = slide.partition("\n")[2]
    assert re.search(r"!\[.+?\]\(images/", body)
    assert r"\[" in body
    assert re.search(r"^In the code: `", body, re.MULTILINE)
    prose = re.sub(r"\]\([^)]*\)|`[^`]*`|\\\[.*?\\\]|```.*?```", "", body, flags=re.S)
    assert re.search(r"\d", prose)


@pytest.mark.parametrize("file", TEXTS)
@pytest.mark.parametrize("word", EXPLANATIONS)
def test_a_word_of_the_lecture_is_explained_where_it_first_stands(file, word):
    text = (ROOT / file).read_text("utf-8")
    text = text.partition("## A tour")[2] if file == "README.md" else text
    paragraphs = re.split(r"\n\s*\n", text)
    used = [i for i, paragraph in enumerate(paragraphs) if re.search(word, paragraph, re.I)]
    assert used, f"{file} does not use {word}"
    around = " ".join(paragraphs[used[0] : used[0] + 2])
    assert re.search(EXPLANATIONS[word], around), f"{file} does not explain {word}"


# -- images ----------------------------------------------------------------------------------------

IMAGES = ROOT / "docs" / "images"
MAKERS = tomllib.loads((IMAGES / "makers.toml").read_text("utf-8"))


def names_of_constants(file: str, name: str) -> set[str]:
    """The keys of a dict, or the items of a tuple, that a script of docs/ assigns to a name."""
    for node in ast.parse((ROOT / "docs" / file).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return set(ast.literal_eval(re.sub(r"WIDTH|PHONE", "0", ast.unparse(node.value))))
    raise AssertionError(f"{file} has no {name}")


def test_each_image_has_a_maker():
    files = {file.name for file in IMAGES.glob("*.png")}
    script = set(MAKERS["script"]["images"])
    others = set(MAKERS) - {"script"}
    assert script.isdisjoint(others)
    assert files == script | others
    made = [names_of_constants("make_figures.py", name) for name in ("REPORTS", "TABS", "SHEETS")]
    assert script == set().union(*made)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"script"}))
def test_a_maker_is_a_recipe_or_commands_of_a_page(name, monkeypatch):
    monkeypatch.setattr("pinxit.cli.tyro_rules.load_reranker", lambda run: CaptionScorer())
    maker = MAKERS[name]
    assert set(maker) <= {"recipe", "page", "machine", "commands"}
    assert ("recipe" in maker) != ("page" in maker)
    assert maker["commands"]
    for line in maker["commands"]:
        parse(line)
    if "recipe" in maker:
        assert (ROOT / "recipes" / f"{maker['recipe']}.toml").is_file()
    else:
        assert name in (ROOT / "docs" / maker["page"]).read_text("utf-8")
    assert ("machine" in maker) == ("-gpu" in name)


def test_each_image_is_shown_on_a_page():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = " ".join(page.read_text("utf-8") for page in pages)
    for file in IMAGES.rglob("*.png"):
        assert f"{file.relative_to(IMAGES)})" in text, file
