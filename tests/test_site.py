"""The documentation builds strictly, loads nothing from elsewhere, and names code that exists."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pinxit.models import list_families
from tests.reports.html_page import HtmlPage

ROOT = Path(__file__).parent.parent
LECTURE = (ROOT / "docs" / "lecture.md").read_text("utf-8")
PLACES = re.findall(r"`(\w[\w/]*\.py)(?:: ([\w.]+))?`", LECTURE)


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


@pytest.mark.long
def test_every_page_of_the_site_is_built(site):
    for name in ("index", "lecture", "models", "serve", "api", "commands", "recipes/index", "log"):
        assert (site / f"{name}.html").is_file()
    assert {file.name for file in (ROOT / "recipes").glob("*.toml")} <= {
        file.name for file in (site / "recipes").iterdir()
    }
    commands = (site / "commands.html").read_text("utf-8")
    assert all(f"pinxit train {family}" in commands for family in list_families())


@pytest.mark.long
def test_pages_load_nothing_from_other_hosts(site):
    for file in site.rglob("*.html"):
        for tag, attributes in HtmlPage(file).elements:
            loaded = attributes.get("src") or (tag == "link" and attributes.get("href")) or ""
            rel = attributes.get("rel") or ""
            assert rel == "canonical" or not re.match(r"(https?:)?//", str(loaded)), (file, loaded)
        assert "fonts.googleapis" not in file.read_text("utf-8")


@pytest.mark.long
def test_formulas_are_mathml(site):
    page = (site / "lecture.html").read_text("utf-8")
    count = len(re.findall(r"\\\[|\\\(", LECTURE))
    assert page.count("<math ") == count
    assert "arithmatex" not in page
    assert r"\frac" not in page


@pytest.mark.parametrize(("file", "name"), sorted(set(PLACES)))
def test_places_of_the_lecture_are_in_the_code(file, name):
    path = ROOT / "src" / "pinxit" / file
    if not path.is_file():
        assert (ROOT / "docs" / file).is_file()
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
