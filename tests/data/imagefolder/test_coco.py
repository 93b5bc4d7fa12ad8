"""COCO files say of images what other tables say."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.load import load_images
from tests.data.imagefolder.test_descriptions import captions_of, write_images

IMAGES = [f"{i}.png" for i in range(6)]
CATEGORIES = {7: "cat", 0: "dog", 3: "été"}


def facts_of(folder: Path) -> tuple:
    images = load_images(folder, progress=False, cache=False)
    columns = [note for note in images.notes if "columns not used" in note]
    labels = None if images.labels is None else images.labels.tolist()
    captions = [captions_of(images, name) for name in images.names]
    groups = None if images.groups is None else images.groups.tolist()
    splits = images.splits.tolist()
    return captions, labels, images.label_names, splits, groups, images.skipped, columns


def write_coco(folder: Path, rows: list[dict]) -> None:
    images, annotations = [], []
    for i, row in enumerate(rows):
        parts = {k: row[k] for k in ("file_name", "split", "base") if k in row}
        images.append({"id": 100 + i, **parts})
        annotation = {"caption": row["caption"]} if "caption" in row else {}
        if "label" in row:
            number = next(k for k, name in CATEGORIES.items() if name == row["label"])
            annotation["category_id"] = number
        if annotation:
            annotations.append({"id": i, "image_id": 100 + i, **annotation})
    categories = [{"id": k, "name": name} for k, name in CATEGORIES.items()]
    record = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(record))


def write_csv(folder: Path, rows: list[dict]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


ROW = st.fixed_dictionaries(
    {},
    optional={
        "caption": st.sampled_from(["a cat", "un été"]),
        "label": st.sampled_from(list(CATEGORIES.values())),
        "split": st.sampled_from(["train", "test"]),
        "base": st.sampled_from(["x", "y"]),
    },
)


@settings(max_examples=20, deadline=None)
@given(st.lists(ROW, min_size=6, max_size=6))
def test_coco_lines_and_csv_say_the_same(facts):
    rows = [{"file_name": name, **row} for name, row in zip(IMAGES, facts, strict=True)]
    found = []
    for write in (
        write_coco,
        write_csv,
        lambda folder, rows: (folder / "metadata.jsonl").write_text(
            "\n".join(map(json.dumps, rows))
        ),
    ):
        with tempfile.TemporaryDirectory() as name:
            write_images(Path(name), IMAGES)
            write(Path(name), rows)
            found.append(facts_of(Path(name)))
    assert found[0] == found[1] == found[2]


JUNK = st.sampled_from([None, [1], {"a": 1}, True, 1.5, "7", 1, "x"])
BROKEN = st.one_of(
    JUNK,
    st.fixed_dictionaries(
        {}, optional={"id": JUNK, "image_id": JUNK, "file_name": st.just("0.png"), "name": JUNK}
        | {"category_id": JUNK},
    ),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(BROKEN, max_size=3), st.lists(BROKEN, max_size=3) | JUNK, st.lists(BROKEN) | JUNK)
def test_broken_coco_files_are_no_errors(images, annotations, categories):
    with tempfile.TemporaryDirectory() as name:
        write_images(Path(name), ["0.png", "1.png"])
        record = {"images": images, "annotations": annotations, "categories": categories}
        (Path(name) / "annotations.json").write_text(json.dumps(record))
        assert len(load_images(name, progress=False, cache=False)) == 2


@pytest.mark.parametrize(("second", "is_label"), [(7, True), (0, False)])
def test_objects_of_several_categories_give_no_label(tmp_path, second, is_label):
    write_images(tmp_path, IMAGES)
    record = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(IMAGES)],
        "annotations": [{"image_id": 1, "category_id": number} for number in (7, second)],
        "categories": [{"id": k, "name": name} for k, name in CATEGORIES.items()],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(record))
    images = load_images(tmp_path, progress=False)
    assert not images.skipped
    if is_label:
        assert images.label_names == ("cat",)
        assert np.flatnonzero(images.labels == 0).tolist() == [1]
    else:
        assert images.labels is None
        assert "columns not used: category_id" in " ".join(images.notes)
