"""Captions: columns, file names, and one caption per image."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from PIL import Image

from pinxit.data.captions import (
    all_captions,
    caption_columns,
    captions_round_robin,
    describe_captions,
    merge_captions,
    parse_caption_filename,
    parse_caption_lines,
    parse_captions,
    separate_first,
)
from pinxit.data.load import load_images
from tests.builders import blobs
from tests.data.streams.shard_sets import write_shard
from tests.data.test_decode import encode


def test_caption_columns_are_found_by_language():
    columns = ["text", "caption", "caption_fr", "text_fr", "text_de", "label", "caption_"]
    assert caption_columns(columns) == {
        "und": ("caption",),
        "fr": ("caption_fr",),
        "de": ("text_de",),
    }


def test_all_captions_of_a_list_are_taken_and_empty_ones_are_dropped():
    row = {"caption": ["a  cat\n", "", "a pet"], "caption_fr": " ", "caption_de": [], "text_es": 3}
    assert parse_captions(row) == {"und": ("a cat", "a pet"), "es": ("3",)}
    assert parse_captions({"caption": math.nan, "caption_fr": None, "text_de": True}) == {}
    assert parse_captions({"caption": np.array(["a", "b"])}) == {"und": ("a", "b")}


def test_captions_of_several_sources_are_merged_in_order():
    merged = merge_captions({"en": ("a", "b")}, {"fr": ("c",), "en": ("b", "d")})
    assert merged == {"en": ("a", "b", "d"), "fr": ("c",)}
    assert separate_first(merged) == ({"en": "a", "fr": "c"}, {"en": ("b", "d")})


def test_each_line_of_a_caption_file_is_a_caption():
    assert parse_caption_lines("a red  square\r\n\n one square\n") == ("a red square", "one square")


def test_captions_are_counted_with_those_beyond_the_first():
    captions = {"en": ["one", "", "three"], "fr": ["", "", "trois"]}
    images = dataclasses.replace(
        blobs(3), captions=captions, more_captions={"en": [("uno", "eins"), (), ()]}
    )
    assert all_captions(images, "en") == [("one", "uno", "eins"), (), ("three",)]
    assert all_captions(images, "de") == [()] * 3
    assert describe_captions(images) == "2 of 3 images, en 4, fr 1"
    assert describe_captions(dataclasses.replace(blobs(3), captions={})) == ""


SEVERAL = {
    "rows of a table": {"metadata.csv": "file_name,caption\na.png,one\na.png,two\nb.png,three\n"},
    "a list": {
        "metadata.jsonl": '{"file_name": "a.png", "caption": ["one", "two"]}\n'
        '{"file_name": "b.png", "caption": "three"}\n'
    },
    "lines of a file": {"a.txt": "one\ntwo\n", "b.txt": "three"},
}


@pytest.mark.parametrize("files", SEVERAL.values(), ids=SEVERAL.keys())
def test_several_captions_of_an_image_are_kept(tmp_path, files):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    for cached in (False, True, True):
        images = load_images(tmp_path, cache=cached, progress=False)
        assert images.captions == {"und": ["one", "three"]}
        assert images.more_captions == {"und": [("two",), ()]}
        assert images[[1, 0]].more_captions == {"und": [(), ("two",)]}
        assert images.batch(np.array([0])).more_captions == {"und": [("two",)]}
        assert "3 captions of 2 images, up to 2 of one image" in images.notes


def test_captions_beyond_the_first_change_the_fingerprint(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    fingerprints = set()
    for text in ("one", "one\ntwo", "one\nthree"):
        (tmp_path / "a.txt").write_text(text, encoding="utf-8")
        fingerprints.add(load_images(tmp_path, progress=False).fingerprint)
    assert len(fingerprints) == 3


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("cat.fr.txt", ("cat", "fr")),
        ("a/cat.txt", ("a/cat", "und")),
        ("cat.v2.txt", ("cat.v2", "und")),
        ("cat.deu.txt", ("cat", "deu")),
    ],
)
def test_the_language_is_read_from_the_file_name(name, parsed):
    assert parse_caption_filename(name) == parsed


def test_images_take_turns_between_languages():
    captions = {"en": ["one", "", "three", "four"], "fr": ["un", "", "trois", ""]}
    images = dataclasses.replace(blobs(4), captions=captions)
    rows, texts = captions_round_robin(images, ("fr", "en", "de"))
    assert rows.tolist() == [0, 2, 3]
    assert texts == ["un", "trois", "four"]
    rows, texts = captions_round_robin(images, ("en", "fr"))
    assert texts == ["one", "three", "four"]


@pytest.mark.parametrize("code", ["raw", "old", "len", "xx", "zq", "src"])
@pytest.mark.parametrize("word", ["caption", "text", "tags", "keywords"])
def test_a_suffix_that_is_no_language_is_a_column_not_used(tmp_path, code, word):
    for read in (as_folder, as_shard):
        images = read(tmp_path / read.__name__, [{"caption": "a cat", f"{word}_{code}": "x"}] * 3)
        assert set(images.captions) == {"und"}
        assert not images.keywords
        assert f"columns not used: {word}_{code}" in " ".join(images.notes)


@pytest.mark.parametrize("column", ["caption_id", "text_id", "prompt_no", "caption_nr", "tags_id"])
@pytest.mark.parametrize("value", [17, 17.5, 0, [1, 2]])
def test_numbers_make_no_language(tmp_path, column, value):
    for read in (as_folder, as_shard):
        images = read(tmp_path / read.__name__, [{"caption": "a cat", column: value}] * 3)
        assert set(images.captions) == {"und"}
        assert not images.keywords
        assert not images.skipped
        assert f"columns not used: {column}" in " ".join(images.notes)


def test_ids_of_a_table_make_no_language_and_texts_do(tmp_path):
    def write(texts):
        lines = [f"{i}.png,{text}" for i, text in enumerate(texts)]
        (tmp_path / "metadata.csv").write_text("\n".join(["file_name,caption_id", *lines]))
        return load_images(tmp_path, progress=False, cache=False)

    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(PNG)
    ids = write(["17", "-3", " 5"])
    assert not ids.captions
    assert "columns not used: caption_id" in " ".join(ids.notes)
    assert write(["seekor kucing", "anjing", ""]).captions == {
        "id": ["seekor kucing", "anjing", ""]
    }


PNG = encode(Image.new("L", (8, 8)))


def as_folder(folder, rows):
    folder.mkdir()
    lines = []
    for i, row in enumerate(rows):
        (folder / f"{i}.png").write_bytes(PNG)
        lines.append(json.dumps({"file_name": f"{i}.png", **row}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return load_images(folder, progress=False, cache=False)


def as_shard(folder, rows):
    files = []
    for i, row in enumerate(rows):
        files += [(f"{i}.png", PNG), (f"{i}.json", json.dumps(row).encode())]
    return load_images(write_shard(folder / "0.tar", files), progress=False, cache=False)
