"""A stream divides its images into splits as loading all of them does: groups stay together."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pinxit.data import splits as split_module
from pinxit.data.groups import index_groups
from pinxit.data.images import NO_SPLIT, SPLITS
from pinxit.data.load import load_images
from pinxit.data.load_options import LoadOptions
from pinxit.data.record import Record
from pinxit.data.records import Source
from pinxit.data.selection import make_unique
from pinxit.data.shards.manifest import MANIFEST
from pinxit.data.shards.shard_set import Located
from pinxit.data.shards.write import shard
from pinxit.data.sources import open_source
from pinxit.data.splits import VALIDATION_FRACTION
from pinxit.data.streams import sample
from pinxit.data.streams.division import LEFT_OUT
from pinxit.data.streams.plan import StreamPlan, plan_stream
from pinxit.errors import UsageError
from tests.data.streams.shard_sets import image_bytes, write_shard

PNG = image_bytes(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    # the limits of the hashes stay as they are in large sets
    monkeypatch.setattr(split_module, "MAX_DEVIATION", 1_000)
    monkeypatch.setattr(split_module, "validation_fraction", lambda n: VALIDATION_FRACTION)


def splits_by_loading(source: Source) -> dict[str, str]:
    """The split of each image by the names alone: copies of images have no part in it."""
    from pinxit.data.division import assign_by_names

    records = [item for item in source.list_records() if isinstance(item, Record)]
    names = make_unique([record.name for record in records])
    splits = assign_by_names(names, [r.split for r in records], index_groups(records))
    return {
        name: LEFT_OUT if split == NO_SPLIT else SPLITS[split]
        for name, split in zip(names, splits.tolist(), strict=True)
    }


def plan_of(source: Source, **options) -> StreamPlan:
    plan = plan_stream(source, LoadOptions(stream="on", **options), progress=False)
    assert plan is not None
    return plan


def splits_of_stream(source: Source) -> dict[str, str]:
    plan, splits = plan_of(source), {}
    for i in range(len(plan.shards.shards)):
        for item in plan.shards.items(i, "auto"):
            if isinstance(item, Located):
                splits[item.record.name] = plan.division.split_of(item)
    counts = {name: plan.division.total(name) for name in (*SPLITS, LEFT_OUT)}
    assert counts == {name: list(splits.values()).count(name) for name in counts}
    return splits


def group_rows(number: int, per_group: int, given: list[str | None]) -> list[dict]:
    rows = []
    for i in range(number):
        row: dict = {"base": f"g{i // per_group}"} if per_group > 1 else {}
        split = given[i % len(given)]
        rows.append(row | ({"split": split} if split else {}))
    return rows


GIVEN = st.lists(st.sampled_from([None, "train", "validation", "test"]), min_size=1, max_size=5)


@settings(max_examples=12, deadline=None)
@given(
    per_group=st.integers(1, 4),
    given=GIVEN,
    num_shards=st.sampled_from([1, 3]),
    folders=st.lists(st.sampled_from(["", "train/", "val/", "test/"]), min_size=1, max_size=3),
)
def test_an_image_has_one_split_streamed_or_not(per_group, given, num_shards, folders):
    rows = group_rows(720, per_group, given)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINXIT_CACHE", f"{name}/cache")
        for k in range(num_shards):
            files = []
            for i in range(k, len(rows), num_shards):
                key = f"{folders[i % len(folders)]}{i:04d}"
                files += [(f"{key}.png", PNG), (f"{key}.json", json.dumps(rows[i]).encode())]
            write_shard(Path(name) / f"set/{k}.tar", files)
        source = open_source(f"{name}/set")
        splits = splits_by_loading(source)
        streamed = splits_of_stream(source)
        # of a split without images, loading takes one all the same
        assume({"test", "validation"} <= set(streamed.values()))
        assert streamed == splits
    by_group: dict[str, set[str]] = {}
    for image, split in splits.items():
        group = rows[int(image[-4:])].get("base", image)
        by_group.setdefault(group, set()).update({split} - {LEFT_OUT})
    assert all(len(found) <= 1 for found in by_group.values())


@pytest.mark.parametrize("file_name", ["big", "train-00000-of-00001", "test"])
@pytest.mark.parametrize("num_files", [1, 2])
def test_rows_of_parquet_have_one_split_streamed_or_not(tmp_path, file_name, num_files):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for k in range(num_files):
        table = {"image": [PNG] * 700, "group": [i // 2 for i in range(700)]}
        path = tmp_path / f"set/{file_name}{k or ''}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table(table), path)
    source = open_source(str(path if num_files == 1 else path.parent))
    assert splits_of_stream(source) == splits_by_loading(source)


def test_a_list_of_shards_gives_the_splits_of_a_pass(tmp_path):
    files = []
    for i in range(600):
        row = {"split": "train"} if i % 2 else {}
        files += [(f"{i:04d}.png", PNG), (f"{i:04d}.json", json.dumps(row).encode())]
    source = write_shard(tmp_path / "0.tar", files)
    shard(source, tmp_path / "out", per_shard=100, quiet=True)
    by_list = splits_of_stream(open_source(str(tmp_path / "out")))
    record = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert record["has_groups"] is False
    old = {name: value for name, value in record.items() if name != "has_groups"}
    for info in old["shards"]:  # as earlier versions counted
        numbers = info["splits"].pop("train")
        info["splits"]["given"]["train"] = sum(numbers.values())
    (tmp_path / "out" / MANIFEST).write_text(json.dumps(old))
    assert splits_of_stream(open_source(str(tmp_path / "out"))) == by_list
    assert set(by_list.values()) == {"train", "validation", "test"}


def test_pairs_before_and_after_an_edit_are_not_streamed(tmp_path):
    files = []
    for i in range(20):
        files += [(f"p{i}/before.png", image_bytes(2 * i)), (f"p{i}/after.png", image_bytes(i))]
    source = write_shard(tmp_path / "pairs.tar", files)
    with pytest.raises(UsageError, match=r"hold no such pairs.\n.*--stream off"):
        load_images(source, progress=False, stream="on")
    options = LoadOptions(stream="auto")
    assert plan_stream(open_source(str(source)), options, False, is_large=True) is None
    assert load_images(source, progress=False).before is not None


def test_images_that_loading_leaves_out_are_no_training_images_of_a_stream(tmp_path):
    files = []
    for i in range(200):
        row = {"base": f"g{i // 4}", "split": "test" if i % 4 == 0 else "train"}
        row |= {} if i < 100 else {"base": f"h{i}", "split": "train"}
        files += [(f"{i:04d}.png", image_bytes(i)), (f"{i:04d}.json", json.dumps(row).encode())]
    source = write_shard(tmp_path / "0.tar", files)
    whole = load_images(source, progress=False)
    streamed = load_images(source, progress=False, stream="on")
    assert streamed.stream.count("test") == whole.count_splits()["test"] == 25
    assert streamed.stream.count("all") == 200
    read = {name: split for _, batch in streamed.stream.batches("all", 64)
            for name, split in zip(batch.names, batch.splits, strict=True)}  # fmt: skip
    assert list(read.values()).count(NO_SPLIT) == 75
    notes = " ".join(streamed.notes)
    assert "75 images left out of training" in notes
    assert "25 groups of images by `base`, none in two splits" in notes


@pytest.mark.parametrize("size", [2, 50, 4_096])
@pytest.mark.parametrize(("column", "is_known"), [("clip", True), ("nonesuch", False)])
def test_a_column_of_groups_is_accepted_whatever_the_sample(
    tmp_path, monkeypatch, size, column, is_known
):
    monkeypatch.setattr(sample, "MAX_TRAINING", size)
    monkeypatch.setattr(sample, "MAX_HELD_OUT", size)
    files = []
    for i in range(300):
        row = json.dumps({"clip": i // 2})
        files += [(f"{i:04d}.png", image_bytes(i)), (f"{i:04d}.json", row.encode())]
    source = write_shard(tmp_path / "0.tar", files)
    if is_known:
        images = load_images(source, progress=False, stream="on", group_by=column)
        assert "150 groups of images by `clip`" in " ".join(images.notes)
        assert np.isin(images.splits, range(len(SPLITS))).all()
    else:
        for stream in ("on", "off"):
            with pytest.raises(UsageError, match="share a value of `nonesuch`"):
                load_images(source, progress=False, stream=stream, group_by=column)
