"""Parquet files, arrays and IDX files: every row, column and file is used or listed."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.data.images import SPLITS
from pinxit.data.load import load_images
from pinxit.errors import PinxitError
from tests.data.test_shards import png, report_of

GREY = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)


def load(path: Path, **options):
    return load_images(path, progress=False, cache=False, color="grey", **options)


def write_parquet(path: Path, n=6, missing=(), **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": None if i in missing else png(i), "path": None} for i in range(n)]
    image = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": image, **columns}), path)
    return path


COLUMN_VALUES = {
    "label": st.integers(0, 3),
    "category": st.sampled_from(["a", "b"]),
    "caption": st.sampled_from(["words", "", "more"]),
    "text_fr": st.sampled_from(["mots", ""]),
    "caption_de": st.lists(st.sampled_from(["eins", "zwei"]), max_size=2),
    "keywords": st.lists(st.sampled_from(["k", "key"]), max_size=2, unique=True),
    "split": st.sampled_from(["train", "val", "fold1"]),
    "group": st.sampled_from(["x", "y", ""]),
    "score": st.floats(0, 1),
    "tokens": st.binary(max_size=3),
    "strange": st.booleans(),
}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.sets(st.sampled_from(sorted(COLUMN_VALUES))), st.data())
def test_every_row_and_column_of_a_random_table_is_used_or_listed(n, names, data):
    columns = {
        name: data.draw(st.lists(COLUMN_VALUES[name], min_size=n, max_size=n)) for name in names
    }
    missing = data.draw(st.sets(st.integers(1, n), max_size=n - 1)) - {n}
    with tempfile.TemporaryDirectory() as folder:
        images = load(write_parquet(Path(folder) / "s.parquet", n, missing, **columns))

    assert len(images) + len(images.skipped) == n
    for row in missing:
        assert f"row {row + 1} has no image" in report_of(images)
    kept = [i for i in range(n) if i not in missing]
    listed = next((note for note in images.notes if note.startswith("columns not used")), "")
    for name in names:
        values = [columns[name][i] for i in kept]
        if name in listed.replace(":", ",").split(", "):
            assert name in {"category", "score", "tokens", "strange"}
        elif name == "label":
            assert [int(images.label_names[i]) for i in images.labels] == values
        elif name == "category":
            assert [images.label_names[i] for i in images.labels] == values
        elif name == "caption":
            assert list(images.captions.get("und", [""] * len(kept))) == values
        elif name == "text_fr":
            assert list(images.captions.get("fr", [""] * len(kept))) == values
        elif name == "caption_de":
            first = list(images.captions.get("de", [""] * len(kept)))
            assert first == [v[0] if v else "" for v in values]
        elif name == "keywords":
            (column,) = images.keywords.values() or ([()] * len(kept),)
            assert [list(texts) for texts in column] == values
        elif name == "split":
            given_splits = {"train", "validation"}
            for i, value in zip(images.splits, values, strict=True):
                assert value != "val" or SPLITS[i] in given_splits or i == -1
            assert "fold1" not in columns[
                "split"
            ] or "train, validation and test: 'fold1'" in report_of(images)
        else:
            assert name == "group"


def test_columns_that_are_not_used_are_named(tmp_path):
    path = write_parquet(
        tmp_path / "s.parquet",
        embedding_en=[["a"]] * 6,
        group=["people"] * 6,
        base=list("aabbcd"),
        caption_en=[["one", "two"], [], ["three"], None, ["x"], ["y"]],
    )
    images = load(path)
    assert "columns not used: embedding_en, group" in images.notes
    assert images.more_captions["en"][0] == ("two",)
    assert images.groups is not None


def test_folders_and_names_of_parquet_files_are_splits_and_bad_files_are_listed(tmp_path):
    write_parquet(tmp_path / "default" / "train" / "0000.parquet")
    write_parquet(tmp_path / "default" / "test" / "0000.parquet", 3)
    (tmp_path / "default" / "broken.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(pa.table({"score": [1]}), tmp_path / "scores.parquet")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "dataset_info.json").write_text("{}")
    images = load(tmp_path)
    assert len(images) == 9
    assert sum(SPLITS[i] == "test" for i in images.splits) == 3
    assert {file.name for file in images.skipped} == {
        "default/broken.parquet",
        "scores.parquet",
        "README.md",
        "dataset_info.json",
    }
    with pytest.raises(PinxitError, match="broken"):
        load(tmp_path, strict=True)


def test_arrays_that_are_not_used_are_named(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        Images=GREY,
        Labels=np.arange(12)[:, None],
        alphabet=np.array(["x"] * 12),
        embedding=np.zeros((12, 4)),
        captions=np.array([["one", "two"]] * 12),
        class_names=np.array(["p", "q"]),
        Group=np.arange(12) // 2,
    )
    images = load(tmp_path / "a.npz")
    assert "columns not used: alphabet, embedding, class_names" in images.notes
    assert images.labels.tolist() == list(range(12))
    assert images.captions["und"][0] == "one"
    assert images.more_captions["und"][0] == ("two",)
    assert images.groups.tolist() == (np.arange(12) // 2).tolist()


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
        ("X_train", "Y_train", "X_dev", "Y_dev", "X_test", "Y_test"),
    ],
)
def test_arrays_of_each_split_are_read(tmp_path, names):
    slices = (slice(0, 6), slice(6, 9), slice(9, 12))
    arrays = {}
    for i, part in enumerate(slices):
        arrays |= {names[2 * i]: GREY[part], names[2 * i + 1]: np.arange(12)[part]}
    np.savez(tmp_path / "a.npz", **arrays, extra=np.zeros(3))
    images = load(tmp_path / "a.npz")
    assert len(images) == 12
    assert np.bincount(images.splits).tolist() == [6, 3, 3]
    order = images.pixels.reshape(12, -1)[:, 0].tolist()
    expected = dict(zip(GREY.reshape(12, -1)[:, 0].tolist(), range(12), strict=True))
    assert [expected[value] for value in order] == images.labels.tolist()
    assert "columns not used: extra" in images.notes


def test_the_name_of_an_array_file_can_be_a_split(tmp_path):
    np.save(tmp_path / "test.npy", GREY)
    assert {SPLITS[i] for i in load(tmp_path / "test.npy").splits} == {"test"}
    np.save(tmp_path / "mnist_test.npy", GREY)
    assert "its name contains 'test'" in report_of(load(tmp_path / "mnist_test.npy"))


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())


def test_idx_files_of_a_set_have_its_splits_and_other_files_are_listed(tmp_path):
    write_idx(tmp_path / "emnist-letters-train-images-idx3-ubyte", GREY[:9])
    write_idx(tmp_path / "emnist-letters-test-images-idx3-ubyte", GREY[9:])
    write_idx(tmp_path / "emnist-letters-test-labels-idx1-ubyte", np.arange(3, dtype=np.uint8))
    write_idx(tmp_path / "orphan-labels-idx1-ubyte", np.arange(3, dtype=np.uint8))
    (tmp_path / "mapping.txt").write_text("1 65")
    images = load(tmp_path)
    assert [SPLITS[i] for i in images.splits[:3]] == ["test"] * 3
    assert {file.name for file in images.skipped} == {"orphan-labels-idx1-ubyte", "mapping.txt"}


def test_the_class_names_of_a_set_of_the_hub_are_read(tmp_path):
    path = write_parquet(tmp_path / "s.parquet", fine_label=[0, 1, 1, 0, 1, 0], count=[1] * 6)
    features = {"fine_label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    images = load(path)
    assert images.label_names == ("cat", "dog")
    assert images.labels.tolist() == [0, 1, 1, 0, 1, 0]
    assert "columns not used: count" in images.notes
