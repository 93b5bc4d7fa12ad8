"""Groups: from columns and from numbered names, kept by everything that selects images."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.groups import burst_of, describe_groups, index_groups, parse_group
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.data.records import Record
from pinxit.data.shards.write import shard
from pinxit.data.sources import open_source
from pinxit.errors import UsageError
from tests.data.test_decode import encode

GROUPS = ["a", "b", "a", "", "c", "b"]
EXPECTED = [0, 1, 0, 2, 3, 1]


def png(i: int) -> bytes:
    return encode(Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)))


def save_parquet(path, columns):
    rows = [{"bytes": png(i), "path": f"{i}.png"} for i in range(len(GROUPS))]
    pq.write_table(pa.table({"image": rows, **columns}), path / "set.parquet")
    return path / "set.parquet"


def save_folder(path, columns):
    lines = []
    for i in range(len(GROUPS)):
        (path / f"{i}.png").write_bytes(png(i))
        row = {name: values[i] for name, values in columns.items()}
        lines.append(json.dumps({"file_name": f"{i}.png", **row}))
    (path / "metadata.jsonl").write_text("\n".join(lines))
    return path


def save_shard(path, columns):
    with tarfile.open(path / "set.tar", "w") as tar:
        for i in range(len(GROUPS)):
            row = {name: values[i] for name, values in columns.items()}
            for suffix, content in (("png", png(i)), ("json", json.dumps(row).encode())):
                member = tarfile.TarInfo(f"{i}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path / "set.tar"


def save_arrays(path, columns):
    pixels = np.stack([np.full((8, 8), 20 * i, np.uint8) for i in range(len(GROUPS))])
    np.savez(path / "set.npz", images=pixels, **columns)
    return path / "set.npz"


@pytest.mark.parametrize("save", [save_parquet, save_folder, save_shard, save_arrays])
def test_columns_name_the_groups(tmp_path, save):
    category = ["people"] * 3 + ["food"] * 3
    source = save(tmp_path, {"base": GROUPS, "group": category, "patient": [1, 1, 2, 3, 4, 5]})
    assert load_images(source, progress=False).groups.tolist() == EXPECTED
    for cache in (True, True, False):
        images = load_images(source, progress=False, cache=cache, group_by="group")
        assert images.groups.tolist() == [0, 0, 0, 1, 1, 1]
    by_patient = load_images(source, progress=False, group_by="patient")
    assert by_patient.groups.tolist() == [0, 0, 1, 2, 3, 4]
    assert by_patient.fingerprint != images.fingerprint
    assert load_images(source, progress=False, group_by="none").groups is None
    with pytest.raises(UsageError, match=r"no two images of .* share a value of `doctor`"):
        load_images(source, progress=False, group_by="doctor")


def test_the_column_group_is_used_without_base(tmp_path):
    source = save_parquet(tmp_path, {"group": GROUPS})
    assert load_images(source, progress=False).groups.tolist() == EXPECTED


def test_a_source_without_columns_cannot_be_grouped_by_one():
    with pytest.raises(UsageError, match="digits has no columns to group by"):
        load_images("digits", progress=False, group_by="patient")


@pytest.mark.parametrize(
    ("name", "burst"),
    [
        ("walk/frame_0017.png", "walk/frame"),
        ("walk/0017.png", "walk/"),
        ("IMG_2041 (2).jpg", "./IMG_2041"),
        ("IMG_2041-2.jpg", "./IMG_2041"),
        ("shard-00/cat.017", "shard-00/cat"),
        ("cat.png", None),
        ("4th-floor.png", None),
    ],
)
def test_bursts_are_names_up_to_the_final_number(name, burst):
    assert burst_of(name) == burst


def test_bursts_are_grouped_within_a_folder():
    names = ["a/cat_1.png", "a/cat_2.png", "b/cat_3.png", "a/dog.png", "a/cat.png", "b/cat_4.png"]
    records = [Record(name, bytes) for name in names]
    assert index_groups(records, "burst").tolist() == [0, 0, 1, 2, 3, 1]
    assert index_groups(records) is None


def test_rows_without_a_value_have_no_group():
    for value in (None, "", "  ", float("nan"), ["list"]):
        assert parse_group({"group": value}) is None
    assert parse_group({"base": "", "group": "x"}) == "group=x"
    assert parse_group({"group": 3}) == "group=3"


def test_selecting_images_keeps_their_groups():
    images = Images(np.zeros((4, 8, 8, 1), np.uint8), groups=np.array([0, 1, 1, 2]))
    assert images.take(np.array([3, 1])).groups.tolist() == [2, 1]
    assert images[1:3].groups.tolist() == [1, 1]


def test_the_note_counts_groups_of_two_images_and_more():
    records = [Record(f"{i}.png", lambda: b"") for i in range(6)]
    note = describe_groups(records, np.array([0, 0, 1, 2, 2, 2]), "burst")
    assert note.startswith("2 groups of images by name")
    assert describe_groups(records, np.array([0, 0, 1, 2, 3, 4]), "burst").startswith("1 group of")


STEMS = st.sampled_from(["cat", "walk-b", "Clip", "2021_trip", "a"])
NUMBERS = st.sampled_from(["", "_1", "_002", "-17", " 3", " (4)", "_05", "9"])


@settings(max_examples=25, deadline=None)
@given(names=st.sets(st.tuples(STEMS, NUMBERS), min_size=1, max_size=12), size=st.integers(1, 12))
def test_bursts_in_shards_are_those_of_their_source(names, size):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        root.mkdir()
        for stem, number in names:
            (root / f"{stem}{number}.png").write_bytes(png(3))
        shard(root, Path(folder) / "out", per_shard=size, quiet=True)
        groups = []
        for source in (root, Path(folder) / "out"):
            items = open_source(source).list_records()
            records = [item for item in items if isinstance(item, Record)]
            groups.append(index_groups(records, "burst"))
    expected, found = groups
    assert (expected is None) == (found is None)
    if expected is not None:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("group_by", ["burst", "nonesuch"])
def test_a_choice_of_groups_that_makes_none_is_an_error(tmp_path, group_by):
    for name in ("cat", "dog"):
        (tmp_path / f"{name}.png").write_bytes(png(len(name)))
    with pytest.raises(UsageError, match=r"no two images of .* share"):
        load_images(tmp_path, group_by=group_by, progress=False)
