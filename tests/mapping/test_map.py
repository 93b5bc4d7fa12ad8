"""`map_images` on this machine: each image once, resumable, nothing of another model."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import pinxit
from pinxit.data.image_rows import ImageRows
from pinxit.data.images import Images
from pinxit.errors import PinxitError, UsageError
from pinxit.mapping import blocks as blocks_module
from pinxit.mapping.api import map_images
from pinxit.mapping.blocks import parse_shard
from pinxit.mapping.output import part_path
from pinxit.runs import Run
from tests.builders import blobs


def test_embed_writes_each_image_once(run, data, tmp_path):
    out = tmp_path / "parquet"
    result = map_images(run, "embed", data, out=out, block_size=50, progress=False)
    assert (result.images, result.blocks, result.computed, result.missing) == (120, 3, 3, 0)
    assert sorted(path.name for path in out.iterdir()) == [
        *("_SUCCESS", "_map.json", "_skipped.jsonl"),
        *("part-00000.parquet", "part-00001.parquet", "part-00002.parquet"),
    ]
    images = pinxit.load_images(data[0], progress=False)
    table = pq.read_table(out)  # a reader of folders ignores the other files
    assert table["row"].to_pylist() == list(range(120))
    assert table["name"].to_pylist() == list(images.names)
    assert table["label"].to_pylist() == [images.label_names[i] for i in images.labels]
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    assert np.array_equal(vectors, run.load().embed(images))
    facts = json.loads(pq.read_schema(part_path(out, 0)).metadata[b"pinxit"])
    assert facts == json.loads((out / "_map.json").read_text())


def test_scores_are_those_of_the_command(run, data, tmp_path):
    map_images(
        run, "score", data, out=tmp_path, split="test", block_size=7, progress=False,
        options={"samples": 3, "seed": 5},
    )  # fmt: skip
    images = pinxit.load_images(data[0], progress=False)
    rows = images.split_indices("test")
    table = pq.read_table(tmp_path)
    assert table["row"].to_pylist() == rows.tolist()
    expected = run.load().score(images.take(rows), samples=3, seed=5)
    assert np.allclose(table["log_likelihood"].to_numpy(), expected, atol=1e-4)


def test_reconstructions_are_images_that_can_be_read_again(run, data, tmp_path):
    map_images(run, "reconstruct", data, out=tmp_path, block_size=64, progress=False)
    images = pinxit.load_images(data[0], progress=False)
    decoded = pinxit.load_images(tmp_path, progress=False)
    assert np.array_equal(decoded.pixels, run.load().reconstruct(images).pixels)
    assert min(pq.read_table(tmp_path)["psnr"].to_pylist()) > 0


def test_tokens_are_those_of_the_model(tmp_path):
    images = Images(np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8))
    config = pinxit.ImageTokenizer(patch_size=4, fsq_levels=(4, 4), width=8, depth=1)
    run = pinxit.train(config, images, steps=1, num_evals=1, out=tmp_path / "run", quiet=True)
    result = run.map("tokenize", images, out=tmp_path / "out", block_size=8, quiet=True)
    assert result.is_complete
    table = pq.read_table(tmp_path / "out")
    tokens = np.array(table["tokens"].to_pylist()).reshape(20, 2, 2)
    assert np.array_equal(tokens, run.model.tokenize(images))
    assert json.loads(table.schema.metadata[b"pinxit"])["grid"] == [2, 2]
    assert table["name"].to_pylist() == [str(i) for i in range(20)]


def test_sampled_captions_do_not_depend_on_blocks(tmp_path):
    images = blobs(30)
    small = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1, "max_text_tokens": 24}
    config = pinxit.Seq2Seq(source="image", target="text", **small)
    run = pinxit.train(config, images, steps=1, num_evals=1, out=tmp_path / "run", quiet=True)
    options = {"num_captions": 2, "temperature": 1.0, "seed": 3}
    run.map("caption", images, out=tmp_path / "out", block_size=7, quiet=True, **options)
    table = pq.read_table(tmp_path / "out")
    expected = run.caption(images, num_images=30, **options)
    assert table["captions"].to_pylist() == [[text for text, _ in row] for row in expected]
    assert table["caption"].to_pylist() == [row[0].text for row in expected]
    log_probs = np.array([[log_prob for _, log_prob in row] for row in expected])
    assert np.allclose(np.array(table["log_probs"].to_pylist()), log_probs, atol=1e-4)
    with pytest.raises(UsageError, match="language"):
        run.map("caption", images, out=tmp_path / "other", language="xx", quiet=True)
    assert not (tmp_path / "other").exists()


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    number=st.integers(1, 5),
    block_size=st.integers(1, 60),
    order=st.randoms(use_true_random=False),
)
def test_shards_in_any_order_make_each_image_once(
    number, block_size, order, run, data, tmp_path_factory
):
    out = tmp_path_factory.mktemp("out")
    shards = list(range(number))
    order.shuffle(shards)
    for done, index in enumerate(shards, 1):
        result = map_images(
            run, "embed", data, out=out, split="test", shard=f"{index}/{number}",
            block_size=block_size, progress=False,
        )  # fmt: skip
        assert result.is_complete == (out / "_SUCCESS").exists()
        assert result.is_complete or done < number
    table = pq.read_table(out)
    assert sorted(table["row"].to_pylist()) == list(range(90, 120))


class Stop(BaseException):
    pass


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(stop=st.integers(1, 12))
def test_an_interrupted_call_goes_on(stop, run, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    count, model = 0, run.load()
    embed = model.embed

    def embed_until(images):
        nonlocal count
        count += 1
        if count == stop:
            raise Stop
        return embed(images)

    model.embed = embed_until
    arguments = {"out": out, "block_size": 13, "progress": False}

    def call_again_and_again():
        while True:  # a complete output computes its first image only
            map_images(run, "embed", data, model=model, **arguments)

    with pytest.raises(Stop):
        call_again_and_again()
    finished = sorted(out.glob("part-*"))
    times = {path: path.stat().st_mtime_ns for path in finished}
    assert not list(out.glob(".*")), "nothing half-written"
    result = map_images(run, "embed", data, **arguments)
    assert result.computed == 10 - len(finished)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert pq.read_table(out)["row"].to_pylist() == list(range(120))


def test_a_killed_process_leaves_nothing_that_counts(run, data, tmp_path):
    left = tmp_path / ".part-00001.parquet.12-ab.part"
    map_images(run, "embed", data, out=tmp_path, block_size=60, shard="0/2", progress=False)
    left.write_bytes(b"half")
    result = map_images(run, "embed", data, out=tmp_path, block_size=60, progress=False)
    assert (result.computed, result.missing) == (1, 0)
    assert not left.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "score"}, "task embed, not score"),
        ({"run": "other"}, "model [0-9a-f]+, not [0-9a-f]+"),
        ({"split": "test"}, "split all, not test; number of images 120, not 30"),
        ({"block_size": 61}, "block size 60, not 61"),
        ({"data": "one.npz"}, "set of images"),
    ],
)
def test_an_output_of_another_call_is_refused(changes, words, run_folder, data, tmp_path):
    images = pinxit.load_images(data[0], progress=False)
    np.savez(run_folder / "one.npz", images=255 - images.pixels)
    given = {"run": "run", "task": "embed", "data": "blobs.npz", "block_size": 60, "split": "all"}

    def call(run, task, data, **options):
        return map_images(
            Run(run_folder / run), task, (str(run_folder / data),), out=tmp_path / "out",
            progress=False, **options,
        )  # fmt: skip

    call(**given)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UsageError, match=words):
        call(**given | changes)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_other_options_are_another_output(run, data, tmp_path):
    call = {"data": data, "out": tmp_path, "split": "test", "progress": False}
    map_images(run, "score", **call, options={"samples": 2})
    with pytest.raises(UsageError, match="samples 2, not 3"):
        map_images(run, "score", **call, options={"samples": 3})


def test_a_folder_of_something_else_is_refused(run, data, tmp_path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(UsageError, match=r"not empty and no output of pinxit map.*photo\.png"):
        map_images(run, "embed", data, out=tmp_path, progress=False)
    with pytest.raises(UsageError, match="is a file"):
        map_images(run, "embed", data, out=tmp_path / "photo.png", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_part_is_found(damage, run, data, run_folder, tmp_path):
    arguments = {"block_size": 60, "progress": False}
    map_images(run, "embed", data, out=tmp_path / "a", **arguments)
    part = part_path(tmp_path / "a", 1)
    if damage == "other":
        map_images(Run(run_folder / "other"), "embed", data, out=tmp_path / "b", **arguments)
        shutil.copy(part_path(tmp_path / "b", 1), part)
    else:
        part.write_bytes(part.read_bytes()[:-50] if damage == "cut" else b"")
    words = "no part of this output" if damage == "other" else "is damaged"
    with pytest.raises(PinxitError, match=f"part-00001.parquet {words}|is {words}"):
        map_images(run, "embed", data, out=tmp_path / "a", **arguments)
    part.unlink()
    assert map_images(run, "embed", data, out=tmp_path / "a", **arguments).computed == 1


@given(text=st.text(st.sampled_from("0123456789/-. a"), max_size=6))
def test_a_shard_is_in_range_or_refused(text):
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if found and int(found[1]) < int(found[2]):
        assert parse_shard(text) == (int(found[1]), int(found[2]))
    else:
        with pytest.raises(UsageError, match=re.escape(f"not '{text}'.")):
            parse_shard(text)


@pytest.mark.parametrize("shard", ["3/2", "2/2", "-1/2", "0/0", "1", "a/b", "", "1/2/3", "²/3"])
def test_a_bad_shard_is_refused_before_anything_is_read(shard, tmp_path):
    with pytest.raises(UsageError, match="shard is"):
        map_images(Run(tmp_path), "embed", out=tmp_path / "out", shard=shard)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("draw", {}, "task is embed"),
        ("embed", {"samples": 2}, "samples is an option of score, not of embed"),
        ("score", {"samples": 0}, "samples must be 1 or more, not 0"),
        ("caption", {"top_k": 3}, "need temperature"),
        ("caption", {"temperature": -1.0}, "temperature"),
        (
            "caption",
            {"temperature": 1.0, "num_beams": 4},
            "num_beams and length_penalty are of beam",
        ),
        ("caption", {"length_penalty": 11.0}, "length_penalty must be between 0 and 10"),
        ("caption", {"num_beams": 2, "num_captions": 3}, "num_beams must be 3 or more"),
        ("caption", {"seed": 1}, "seed needs temperature"),
    ],
)
def test_options_of_another_task_are_refused(task, options, words, run, tmp_path):
    with pytest.raises(UsageError, match=words):
        map_images(run, task, out=tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


def test_a_model_without_the_ability_writes_nothing(run, data, tmp_path):
    with pytest.raises(PinxitError, match="cannot caption"):
        map_images(run, "caption", data, out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_images_that_cannot_be_read_are_listed(run, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.fromarray(np.full((8, 8), 60 * i, np.uint8)).save(photos / f"{i}.png")
    (photos / "broken.png").write_bytes(b"no image")
    result = map_images(run, "embed", (str(photos),), out=tmp_path / "out", progress=False)
    assert (result.images, result.skipped) == (3, 1)
    (line,) = (tmp_path / "out" / "_skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["name"] == "broken.png"
    assert json.loads(line)["reason"]


def test_memory_is_that_of_a_batch(run, data, tmp_path, monkeypatch):
    counts = []
    take = Images.take
    monkeypatch.setattr(ImageRows, "batch_size", lambda self, max_images=8: min(8, max_images))
    monkeypatch.setattr(
        Images, "take", lambda self, rows: counts.append(len(rows)) or take(self, rows)
    )
    map_images(run, "embed", data, out=tmp_path, block_size=50, split="train", progress=False)
    assert max(counts) == 8
    assert sum(counts) == 60 + 1  # and the first image before anything is written


def test_two_processes_at_a_time_write_the_same_output(run, data, tmp_path, monkeypatch):
    """Another process finishes a block, and the output, while this one computes it."""
    tables = blocks_module.Job.tables

    def overtaken(job, selected, unreadable):
        yield from tables(job, selected, unreadable)
        if selected.start == 60 and not part_path(tmp_path, 1).exists():
            monkeypatch.setattr(blocks_module.Job, "tables", tables)
            map_images(run, "embed", data, out=tmp_path, block_size=60, progress=False)

    monkeypatch.setattr(blocks_module.Job, "tables", overtaken)
    assert map_images(run, "embed", data, out=tmp_path, block_size=60, progress=False).is_complete
    assert pq.read_table(tmp_path)["row"].to_pylist() == list(range(120))
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_is_trained_on_is_another_model(run, data, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    copied = Run(tmp_path / "run")
    map_images(copied, "embed", data, out=tmp_path / "out", shard="0/2", progress=False)
    shutil.copy(run.path.parent / "other" / "model.safetensors", tmp_path / "run")
    with pytest.raises(UsageError, match="model"):
        map_images(Run(copied.path), "embed", data, out=tmp_path / "out", progress=False)


def test_the_method_of_a_run_takes_arrays_and_files(run_folder, data, tmp_path):
    run = pinxit.Run(run_folder / "run", device="cpu")
    pixels = np.zeros((5, 8, 8), np.uint8)
    images = Images(pixels[..., None])
    assert run.map("embed", images, out=tmp_path / "a", quiet=True).images == 5
    result = run.map("score", Path(data[0]), out=tmp_path / "b", samples=2, quiet=True)
    assert dataclasses.asdict(result)["images"] == 120
    assert os.fspath(result.path) == str(tmp_path / "b")


@pytest.mark.parametrize("place", [".", "out", "deep/er/out"])
@pytest.mark.parametrize("is_own", [False, True])
def test_an_output_among_the_data_is_refused(place, is_own, run, data, tmp_path):
    """Its parts would be read as data, and the call could not go on."""
    shards = tmp_path / "shards"
    map_images(run, "reconstruct", data, out=shards, block_size=64, progress=False)
    before = sorted(path.name for path in shards.iterdir())
    if is_own:
        shutil.copytree(run.path, tmp_path / "run")
        record = json.loads((run.path / "config.json").read_text())
        record["data"]["source"] = str(shards)
        (tmp_path / "run/config.json").write_text(json.dumps(record))
        run = Run(tmp_path / "run")
    with pytest.raises(UsageError, match="would read its files as data"):
        map_images(
            run, "embed", () if is_own else (str(shards),), out=shards / place, progress=False
        )
    assert sorted(path.name for path in shards.iterdir()) == before


def test_an_output_beside_the_data_is_no_output_among_them(run, data, tmp_path):
    shards = tmp_path / "shards"
    map_images(run, "reconstruct", data, out=shards, block_size=64, progress=False)
    for _ in range(2):
        result = map_images(
            run, "embed", (str(shards),), out=tmp_path / "shards-out", progress=False
        )
    assert (result.images, result.computed, result.is_complete) == (120, 0, True)


def test_other_images_of_the_same_set_are_refused(run, data, tmp_path):
    images = pinxit.load_images(data[0], progress=False)
    map_images(run, "embed", images[:30], out=tmp_path, progress=False)
    with pytest.raises(UsageError, match="another call: set of images"):
        map_images(run, "embed", images[30:60], out=tmp_path, progress=False)
