"""A stream has the images of its shards, as decoding all of them at once has them."""

from __future__ import annotations

import gc
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import streams as streams_benchmark
from pinxit.data import shape_choice
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.data.shards.manifest import MANIFEST, read_manifest
from pinxit.data.shards.plain_tar import list_plain
from pinxit.data.shards.write import shard
from pinxit.data.streams import counting, sample
from pinxit.data.streams.stream_row import StreamRow
from pinxit.errors import PinxitError, UsageError
from tests.data.streams.shard_sets import image_bytes, write_shard, write_shards


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))


def load(source, **options) -> Images:
    return load_images(source, progress=False, **({"stream": "on"} | options))


def by_name(images: Images) -> dict[str, tuple]:
    captions = {name: list(column) for name, column in images.captions.items()}
    return {
        name: (
            images.pixels[i].tobytes(),
            None if images.labels is None else int(images.labels[i]),
            {language: column[i] for language, column in captions.items()},
        )
        for i, name in enumerate(images.names)
    }


def read_all(images: Images, split: str = "all") -> Images | dict:
    assert images.stream is not None
    merged: dict[str, tuple] = {}
    for _, batch in images.stream.batches(split, 7):
        assert not merged.keys() & by_name(batch).keys()
        merged |= by_name(batch)
    return merged


def load_or_none(folder: str) -> Images | None:
    try:
        return load(folder, cache=False)
    except PinxitError as error:
        if "no training images" not in str(error):
            raise
        return None


CONTENTS = st.dictionaries(
    st.sampled_from(["a", "b", "cat/a", "cat/b", "dog/c", "test/cat/d", "train/dog/e"]),
    st.fixed_dictionaries(
        {"number": st.integers(0, 99)},
        optional={
            "cls": st.sampled_from([b"x", b"y", b"3"]),
            "txt": st.sampled_from([b"a text", b"left"]),
            "fr.txt": st.sampled_from([b"un texte"]),
            "json": st.sampled_from([b'{"split": "test"}', b'{"tags": ["wet"]}', b'{"group": 1}']),
        },
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from(["0", "1", "sub/2"]), CONTENTS, min_size=1))
def test_a_stream_has_what_loading_has(shards):
    with tempfile.TemporaryDirectory() as folder:
        for name, samples in shards.items():
            files = []
            for key, fields in samples.items():
                files.append((f"{key}.png", image_bytes(fields["number"])))
                files += [
                    (f"{key}.{kind}", text) for kind, text in fields.items() if kind != "number"
                ]
            write_shard(Path(folder) / f"{name}.tar", files)
        whole = load(folder, stream="off", cache=False)
        if (streamed := load_or_none(folder)) is None:
            return  # all of the few images are held out
        assert read_all(streamed) == by_name(whole)
        assert streamed.label_names == whole.label_names
        assert streamed.captions.keys() == whole.captions.keys()
        assert streamed.keywords.keys() == whole.keywords.keys()
        assert len(by_name(streamed)) == len(streamed)


def test_held_out_images_are_those_of_a_hash_and_never_trained_on(tmp_path):
    images = load(write_shards(tmp_path / "set", [90, 10, 100]))
    stream = images.stream
    assert stream is not None
    counts = {name: stream.count(name) for name in ("train", "validation", "test", "all")}
    assert counts["all"] == 200
    assert 0 < counts["validation"] < counts["test"] < counts["train"]
    held_out = {**read_all(images, "validation"), **read_all(images, "test")}
    reader = stream.open_training(0)
    batch = reader.read(np.arange(counts["train"]))
    reader.close()
    seen = {pixels.tobytes() for pixels in batch.pixels.numpy()}
    assert len(seen) == counts["train"]
    assert not seen & {pixels for pixels, *_ in held_out.values()}
    more = load(write_shards(tmp_path / "set", [90, 10, 100, 50]))
    assert read_all(images, "test").items() <= read_all(more, "test").items()


def test_training_batches_do_not_depend_on_where_reading_begins(tmp_path):
    stream = load(write_shards(tmp_path / "set", [20] * 6), stream_window=2).stream
    reader, other = stream.open_training(0), stream.open_training(0)
    positions = np.arange(350).reshape(-1, 14)
    first = [reader.read(p).pixels.numpy() for p in positions]
    for step in (17, 3, 24, 0):
        np.testing.assert_array_equal(other.read(positions[step]).pixels.numpy(), first[step])
    # rank 1 of 2 has every second image of the batch
    np.testing.assert_array_equal(other.read(positions[5][1::2]).pixels.numpy(), first[5][1::2])
    reader.close()
    other.close()


def test_the_sample_is_bounded_and_from_all_over_the_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "MAX_TRAINING", 20)
    monkeypatch.setattr(sample, "MAX_HELD_OUT", 8)
    monkeypatch.setattr(sample, "NUM_SHARDS", 4)
    images = load(write_shards(tmp_path / "set", [30] * 8))
    assert images.count_splits()["train"] == 20
    assert images.count_splits()["test"] <= 8
    assert {name.split("/")[0] for name in images.names} >= {"0000", "0007"}
    assert images.info().num_images == images.stream.count("train") > 150
    assert images.take(np.arange(3)).stream is None


def test_a_list_of_shards_replaces_the_counting_pass(tmp_path, monkeypatch):
    source = write_shards(tmp_path / "set", [30, 30], captions=True)
    shard(source, tmp_path / "out", per_shard=7, quiet=True)
    counted = load(tmp_path / "out")
    (tmp_path / "out" / MANIFEST).rename(tmp_path / "list")
    again = load(tmp_path / "out", group_by="auto")
    assert counted.fingerprint == again.fingerprint
    assert read_all(counted) == read_all(again)
    assert counted.count_splits() == again.count_splits()
    (tmp_path / "list").rename(tmp_path / "out" / MANIFEST)
    monkeypatch.setattr(counting, "count_shard", lambda items: pytest.fail("counted"))
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "empty"))
    assert load(tmp_path / "out").fingerprint == counted.fingerprint


def test_a_counting_pass_is_made_once_and_goes_on_after_an_interrupt(tmp_path, monkeypatch):
    source = write_shards(tmp_path / "set", [5] * 6)
    count, calls = counting.count_shard, []

    def stop_at_the_fourth(items):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return count(items)

    monkeypatch.setattr(counting, "count_shard", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        load(source)
    monkeypatch.setattr(counting, "count_shard", lambda items: calls.append(1) or count(items))
    assert load(source).stream.count("all") == 30
    assert load(source).stream.count("all") == 30
    assert len(calls) == 6


def test_sources_that_would_be_too_large_are_streamed(tmp_path, monkeypatch):
    source = write_shards(tmp_path / "set", [40, 40])
    assert load(source, stream="auto").stream is None
    monkeypatch.setattr(shape_choice, "MAX_BYTES", 80 * 64 - 1)
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "other"))
    assert load(source, stream="auto").stream is not None
    with pytest.raises(PinxitError, match="more than the limit"):
        load(source, stream="off")


def test_the_sample_of_large_images_is_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "MAX_BYTES", 20 * 64)
    images = load(write_shards(tmp_path / "set", [40, 40]))
    assert 5 <= len(images) <= 20
    assert images.stream.count("all") == 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 3}, "--limit does not go with"),
        ({"group_by": "burst"}, "burst"),
        ({"stream": "yes"}, "'on' or 'off'"),
        ({"stream_window": 0}, "1 shard or more"),
    ],
)
def test_options_that_do_not_go_with_streams_are_refused(tmp_path, options, message):
    source = write_shards(tmp_path / "set", [4])
    with pytest.raises(UsageError, match=message):
        load(source, **options)


def test_other_sources_cannot_be_streamed():
    with pytest.raises(UsageError, match="pinxit shard digits OUT"):
        load("digits")


@pytest.mark.parametrize("cut", [0.3, 0.7])
def test_a_shard_that_is_cut_off_is_named_and_the_rest_is_read(tmp_path, capsys, cut):
    source = shard_folder(tmp_path)
    images = load(source)
    file = source / "shard-000001.tar"
    file.write_bytes(file.read_bytes()[: int(cut * file.stat().st_size)])
    reader = images.stream.open_training(0)
    total = images.stream.count("train")
    pixels = reader.read(np.arange(3 * total)).pixels.numpy()
    reader.close()
    assert len(pixels) == 3 * total
    assert len({p.tobytes() for p in pixels}) < total
    text = capsys.readouterr().err
    assert text.count("shard-000001.tar has") == 1
    assert "cut off" in text
    assert len(read_all(images)) < 60


def shard_folder(tmp_path: Path) -> Path:
    """Three shards of 20 images with a list."""
    shard(write_shards(tmp_path / "set", [60]), tmp_path / "out", per_shard=20, quiet=True)
    return tmp_path / "out"


def test_strict_streams_stop_at_what_cannot_be_read(tmp_path):
    source = shard_folder(tmp_path)
    images = load(source, strict=True)
    file = source / "shard-000001.tar"
    file.write_bytes(file.read_bytes()[:5_000])
    with pytest.raises(PinxitError, match=r"shard-000001.tar has \d+ of its"):
        list(images.stream.batches("all", 8))


def test_a_shard_that_was_removed_stops_the_training(tmp_path):
    source = shard_folder(tmp_path)
    images = load(source)
    (source / "shard-000002.tar").unlink()
    reader = images.stream.open_training(0)
    with pytest.raises(PinxitError, match=r"shard-000002.tar is not there any more.\n.*--resume"):
        reader.read(np.arange(images.stream.count("train")))
    reader.close()


def test_images_that_cannot_be_decoded_are_replaced_by_others(tmp_path, capsys):
    files = [(f"{i}.png", image_bytes(i) if i % 3 else b"\x89PNG broken") for i in range(40)]
    write_shard(tmp_path / "set/0.tar", files)
    images = load(tmp_path / "set")
    total = images.stream.count("train")
    reader = images.stream.open_training(0)
    batch = reader.read(np.arange(total)).pixels.numpy()
    reader.close()
    assert len(batch) == total > len({p.tobytes() for p in batch}) > total / 2
    assert "cannot be read" in capsys.readouterr().err


def test_empty_shards_hold_nothing_and_break_nothing(tmp_path):
    source = write_shards(tmp_path / "set", [20, 20])
    write_shard(source / "0000a.tar", [])
    (source / "0001a.tar").write_bytes(b"")
    images = load(source)
    assert images.stream.count("all") == 40
    assert "0001a.tar" in " ".join(images.notes)
    write_shard(tmp_path / "nothing/0.tar", [])
    with pytest.raises(PinxitError, match="no image in"):
        load(tmp_path / "nothing")


def test_images_of_mixed_sizes_get_one_size(tmp_path):
    files = [(f"{i}.png", image_bytes(i, 4 + i % 9)) for i in range(50)]
    write_shard(tmp_path / "set/0.tar", files)
    images = load(tmp_path / "set", size=16)
    assert {batch.pixels.shape[1:] for _, batch in images.stream.batches("all", 8)} == {(16, 16, 1)}


def test_shards_that_name_splits_give_them(tmp_path):
    write_shards(tmp_path / "set/train", [30])
    write_shards(tmp_path / "set/val", [10])
    images = load(tmp_path / "set")
    stream = images.stream
    assert stream.count("validation") == 10
    assert stream.count("train") + stream.count("test") == 30


def test_parquet_files_are_streamed(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for k in range(3):
        rows = range(20 * k, 20 * k + 20)
        table = {
            "image": [{"bytes": image_bytes(i), "path": f"{i}.png"} for i in rows],
            "label": [i % 3 for i in rows],
            "caption_en": [f"image {i}" for i in rows],
        }
        (tmp_path / "set").mkdir(exist_ok=True)
        pq.write_table(pa.table(table), tmp_path / f"set/{k}.parquet", row_group_size=6)
    whole, streamed = load(tmp_path / "set", stream="off"), load(tmp_path / "set")
    assert read_all(streamed) == by_name(whole)
    assert streamed.label_names == whole.label_names


def test_a_list_of_an_older_format_is_not_used(tmp_path):
    source = shard_folder(tmp_path)
    expected = load(source).count_splits()
    record = json.loads((source / MANIFEST).read_text())
    (source / MANIFEST).write_text(json.dumps({**record, "format": 1}))
    with pytest.raises(PinxitError, match=r"format 1.*\n.*pinxit shard"):
        read_manifest(source)
    assert load(source).count_splits() == expected


def test_the_fingerprint_is_the_same_wherever_the_shards_are(tmp_path):
    first = load(shard_folder(tmp_path))
    second = load(shard_folder(tmp_path / "elsewhere"))
    assert first.fingerprint == second.fingerprint
    shard(write_shards(tmp_path / "other", [61]), tmp_path / "out2", per_shard=20, quiet=True)
    assert load(tmp_path / "out2").fingerprint != first.fingerprint


def count_rows() -> int:
    """The images of streams that are in memory, decoded or not."""
    gc.collect()
    return sum(type(thing) is StreamRow for thing in gc.get_objects())


@pytest.mark.long
def test_what_is_in_memory_does_not_grow_with_the_number_of_shards(tmp_path):
    first = write_shards(tmp_path / "set", [20]) / "0000.tar"
    for k in range(1, 16):
        (tmp_path / f"set/{k:04d}.tar").hardlink_to(first)
    stream = load(tmp_path / "set", stream_window=2).stream
    reader, total = stream.open_training(0), stream.count("train")
    before, counts = count_rows(), []
    for k, positions in enumerate(np.array_split(np.arange(total), total // 16)):
        reader.read(positions)
        if k % 5 == 0:
            counts.append(count_rows() - before)
    reader.close()
    # the last window, the present one and the next one, each of two shards of 20
    assert 20 < max(counts) <= 3 * 2 * 20
    del reader
    for k, _ in enumerate(stream.batches("all", 16)):
        if k % 5 == 0:
            assert count_rows() - before <= 2 * 20 + 16


@pytest.mark.long
def test_memory_of_a_process_does_not_grow_with_the_number_of_images(tmp_path):
    peaks = {}
    for size in (1_000, 10_000):
        shards = streams_benchmark.write_shards(tmp_path / str(size), size, 100)
        peaks[size] = streams_benchmark.measure(shards, tmp_path)
    for command in ("train", "embed"):
        assert peaks[10_000][command][0] <= 1.1 * peaks[1_000][command][0], command


NAMES = st.one_of(
    st.sampled_from(["a.png", "./b.png", ".hidden", "x/../y", "__MACOSX/a", "é.png", "d/e.cls"]),
    st.text("ab./", min_size=1, max_size=8),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=700)), max_size=5), st.integers(0, 3000))
def test_fast_listing_of_a_tar_file_is_as_the_slow_one(files, cut):
    from pinxit.data.shards import tar_members

    with tempfile.TemporaryDirectory() as folder:
        path = write_shard(Path(folder) / "0.tar", files)
        content = path.read_bytes()
        if cut:
            path.write_bytes(content[: -min(cut, len(content))])
        plain = list_plain(path)
        if plain is None:
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tar_members, "list_plain", lambda shard: None)
            slow = list(tar_members.list_members(path))
        assert [tar_members.Member(path, *member) for member in plain] == slow
