"""Keywords: every one of any source arrives, in order; sets without them stay as they are."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.annotations import describe_annotations
from pinxit.data.images import Images
from pinxit.data.keywords import keyword_columns, parse_keywords
from pinxit.data.load import load_images
from pinxit.data.unicode_forms import normalize_text
from tests.builders import blobs
from tests.data.test_shards import png, report_of, write_tar
from tests.data.test_tables import write_parquet

# how the keywords of an image are written in one cell
JOINS: dict[str, Callable[[list[str]], object]] = {
    "list": list,
    "|": " | ".join,
    ";": "; ".join,
    ",": ", ".join,
}
COLUMNS = {  # in the order of their keywords
    "keywords": "und",
    "Keyword_2": "und",
    "tags": "und",
    "keywords_en": "en",
    "tags_fr": "fr",
    "tag_pt_br": "pt-BR",
}
# without separators: these are between keywords
TEXT = st.text(st.characters(exclude_characters="|;,", exclude_categories=["C", "Z"]), min_size=1)
KEYWORDS = st.lists(TEXT.map(lambda text: f"k {text}"), unique=True, max_size=5)
Rows = list[dict[str, object]]


def load(path: Path, **options) -> Images:
    return load_images(path, progress=False, group_by="none", **options)


def write_jsonl(folder: Path, rows: Rows) -> None:
    lines = [json.dumps({"file_name": f"{i}.png", **row}) for i, row in enumerate(rows)]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def write_csv(folder: Path, rows: Rows) -> None:
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["file_name", *rows[0]])
        writer.writeheader()
        writer.writerows({"file_name": f"{i}.png", **row} for i, row in enumerate(rows))


def write_table(folder: Path, rows: Rows) -> None:
    names = [f"{i}.png" for i in range(len(rows))]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    pq.write_table(pa.table({"file_name": names, **columns}), folder / "metadata.parquet")


def write_images(folder: Path, rows: Rows, write: Callable[[Path, Rows], None]) -> Path:
    for i in range(len(rows)):
        (folder / f"{i}.png").write_bytes(png(i))
    write(folder, rows)
    return folder


def write_shard(folder: Path, rows: Rows) -> Path:
    files = [(f"{i}.png", png(i)) for i in range(len(rows))]
    texts = [(f"{i}.json", json.dumps(row).encode()) for i, row in enumerate(rows)]
    return write_tar(folder / "s.tar", [*files, *texts])


def write_rows(folder: Path, rows: Rows) -> Path:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return write_parquet(folder / "s.parquet", len(rows), **columns)


SOURCES: dict[str, Callable[[Path, Rows], Path]] = {
    "jsonl": lambda folder, rows: write_images(folder, rows, write_jsonl),
    "csv": lambda folder, rows: write_images(folder, rows, write_csv),
    "metadata.parquet": lambda folder, rows: write_images(folder, rows, write_table),
    "parquet": write_rows,
    "tar": write_shard,
}


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(SOURCES)),
    st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3, unique=True),
    st.sampled_from(sorted(JOINS)),
    st.integers(1, 4),
    st.data(),
)
def test_every_keyword_of_any_form_and_source_arrives_in_order(source, columns, join, n, data):
    if source == "csv" and join == "list":
        return  # cells are texts
    given_ = [{name: data.draw(KEYWORDS) for name in columns} for _ in range(n)]
    rows = [{name: JOINS[join](texts) for name, texts in row.items()} for row in given_]
    # of captions in two languages, neither is that of `keywords`
    captions = {"caption_en": "one", "caption_fr": "un"}
    expected = [merge_keywords(row) for row in given_]
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, PINXIT_CACHE=name):
        folder = Path(name) / "data"
        folder.mkdir()
        path = SOURCES[source](folder, [{**row, **captions} for row in rows])
        first, cached = load(path), load(path)
    for images in (first, cached):
        assert "columns not used" not in report_of(images)
        assert keywords_of(images) == expected
    order = np.arange(n)[::-1]
    assert keywords_of(first.take(order)) == expected[::-1]
    assert keywords_of(first.batch(order)) == expected[::-1]
    for split in first.count_splits():
        rows = first.split_indices(split)
        assert keywords_of(first.split(split)) == [expected[i] for i in rows]
    assert cached.fingerprint == first.fingerprint


def merge_keywords(row: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    by_language: dict[str, dict[str, None]] = {}
    for name, language in COLUMNS.items():
        texts = map(normalize_text, row.get(name, []))
        by_language.setdefault(language, {}).update(dict.fromkeys(texts))
    return {language: tuple(texts) for language, texts in by_language.items() if texts}


def keywords_of(images) -> list[dict[str, tuple[str, ...]]]:
    n = len(images)
    by_language = images.keywords.items()
    return [{name: tuple(column[i]) for name, column in by_language if column[i]} for i in range(n)]


def test_columns_are_found_by_language_and_number():
    columns = ["tags", "keywords_2", "keywords_1", "tags_fr", "keyword", "tagged", "keyworded_en"]
    assert keyword_columns(columns) == {
        "und": ("keyword", "keywords_1", "keywords_2", "tags"),
        "fr": ("tags_fr",),
    }


@pytest.mark.parametrize(
    ("value", "keywords"),
    [
        ("a, b|c; d", ("a, b", "c; d")),
        ("a, b; c", ("a, b", "c")),
        ("a,b,,  ,a", ("a", "b")),
        (["a, b", " c\n d ", "", None], ("a, b", "c d")),
        ([["a"], ["b", "a"]], ("a", "b")),
        (np.array(["a", "b", ""]), ("a", "b")),
        ("one word", ("one word",)),
        (float("nan"), None),
        (None, None),
        ([3, "a", True], ("a",)),
    ],
)
def test_a_list_has_texts_and_a_text_one_separator(value, keywords):
    assert parse_keywords({"keywords": value}).get("und") == keywords


def test_values_that_are_not_text_are_counted(tmp_path):
    keywords = [[1, 2], None, [3], [], [4], [5]]
    path = write_parquet(tmp_path / "s.parquet", keywords=keywords, caption=list("abcdef"))
    images = load(path)
    assert "4 rows: `keywords` has values that are not text" in images.notes
    assert images.keywords == {}
    folder = tmp_path / "folder"
    folder.mkdir()
    rows = [{"caption": "a", "tags": {"x": 1}}, {"caption": "b", "tags": ["c"]}]
    images = load(write_images(folder, rows, write_jsonl))
    skipped = [(file.name, file.reason) for file in images.skipped]
    assert skipped == [("metadata.jsonl, record 1, tags", "a value that is not text")]
    assert images.keywords == {"und": [(), ("c",)]}


@pytest.mark.parametrize(
    ("captions", "keywords", "languages"),
    [
        (["caption"], ["keywords"], {"und"}),
        (["caption_en"], ["keywords"], {"en"}),
        (["caption_en"], ["keywords", "tags_en"], {"en"}),
        (["caption_en"], ["keywords", "tags_fr"], {"en", "fr"}),
        (["caption"], ["keywords_fr"], {"und"}),
        (["caption"], ["keywords_fr", "tags_en"], {"fr", "en"}),
        (["caption_en", "caption_fr"], ["keywords"], {"und"}),
        ([], ["keywords_fr"], {"fr"}),
    ],
)
def test_an_undetermined_language_is_that_of_the_captions(tmp_path, captions, keywords, languages):
    row = {**dict.fromkeys(captions, "a thing"), **dict.fromkeys(keywords, "x, y")}
    images = load(write_images(tmp_path, [row], write_jsonl))
    assert images.keywords == {language: [("x", "y")] for language in languages}
    if not captions:
        assert images.captions == {"fr": ["x, y"]}
        assert "the caption of an image is the list of its keywords" in report_of(images)


def test_labels_come_before_keywords(tmp_path):
    folder = tmp_path / "pets"
    folder.mkdir()
    rows = [{"label": "cat", "tags": "soft"}, {"label": "dog", "tags": "loud"}]
    write_images(folder, rows, write_jsonl)
    images = load(folder)
    assert images.captions == {}
    assert "keywords are not used: the images have labels" in report_of(images)
    templates = tmp_path / "templates.toml"
    templates.write_text(
        '[pets]\ntemplate = {en = "a {}"}\nlabels = {cat = {en = "cat"}, dog = {en = "dog"}}\n'
    )
    images = load(folder, captions=str(templates))
    assert images.captions == {"en": ["a cat", "a dog"]}


def test_a_keyword_that_is_a_caption_of_the_image_is_dropped(tmp_path):
    rows = [
        {"caption_en": ["dog", "pet"], "caption_fr": "chien", "tags_en": "pet, chien, dog"},
        {"caption_en": "cat", "tags_en": "cat"},
        {"caption_en": "cow", "tags_en": "dog"},
    ]
    images = load(write_images(tmp_path, rows, write_jsonl))
    assert images.keywords == {"en": [("chien",), (), ("dog",)]}


def test_keywords_change_the_fingerprint_only_where_there_are_some(tmp_path):
    fingerprints = []
    for extra in ({}, {"keywords": ""}, {"keywords": "a"}, {"keywords": "b"}, {"caption_2": "b"}):
        images = load(write_images(tmp_path, [{"caption": "one", **extra}], write_jsonl))
        fingerprints.append(images.fingerprint)
    assert fingerprints[0] == fingerprints[1] == FINGERPRINT
    assert len(set(fingerprints)) == 4


# of one image with a caption, before there were keywords
FINGERPRINT = "795da22456983fe2fff023d2c75ea084"


def test_images_with_keywords_are_counted_by_language():
    keywords = {"en": [("a", "b"), (), ("c",), ()], "fr": [(), ("d",), ("e",), ()]}
    images = dataclasses.replace(blobs(4), captions={}, labels=None, keywords=keywords)
    assert describe_annotations(images) == "keywords: 3 of 4 images, en 2, fr 2"


def test_an_unquoted_list_ends_a_record_of_a_csv_file(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    (tmp_path / "metadata.csv").write_text("file_name,caption,tags\n0.png,one,a,b,c\n1.png,two,d\n")
    assert load(tmp_path).keywords == {"und": [("a", "b", "c"), ("d",)]}


def test_arrays_have_a_row_of_keywords_or_a_text_per_image(tmp_path):
    pixels = np.stack([np.full((8, 8), 60 * i, np.uint8) for i in range(2)])
    tags, tags_fr = np.array([["a", "b"], ["c", ""]]), np.array(["d|e", "f"])
    np.savez(tmp_path / "a.npz", images=pixels, caption=["x", "y"], tags=tags, tags_fr=tags_fr)
    images = load(tmp_path / "a.npz")
    assert images.keywords == {"und": [("a", "b"), ("c",)], "fr": [("d", "e"), ("f",)]}


def test_keywords_of_the_hub_are_read(monkeypatch):
    datasets = pytest.importorskip("datasets")
    from pinxit.data.sources import hub

    rows = {
        "image": [{"bytes": png(i), "path": None} for i in range(2)],
        "caption": ["x", "y"],
        "tags": [["a", "b"], []],
    }
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    monkeypatch.setattr(hub, "_download", lambda *_: {"train": table})
    monkeypatch.setattr(hub, "_fetch_revision", lambda _: None)
    images = load_images("hf:a/b", progress=False, cache=False)
    assert images.keywords == {"und": [("a", "b"), ()]}
