"""Images are decoded a batch at a time, with the results of images that were loaded before."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import pinxit
from pinxit.data import cache, parallel_decode, record_rows
from pinxit.data.encoding import encode_image, to_pil
from pinxit.data.images import Images
from pinxit.data.load import load_stream
from pinxit.data.load_options import make_load_options
from pinxit.data.record_rows import list_rows
from pinxit.data.shards.write import shard
from pinxit.errors import PinxitError, UsageError
from pinxit.mapping.api import map_images
from pinxit.mapping.output import part_path
from pinxit.mapping.source import LOAD_LOCK, of_images
from pinxit.runs import Run
from pinxit.sampling.inputs import load_for_run
from tests.builders import blobs, make_run

BROKEN = 13  # of 60 images


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """The same 60 images of another size as each kind of source; one of the files is broken."""
    root = tmp_path_factory.mktemp("sources")
    images = blobs(60, height=12, width=10)
    files = [encode_image(to_pil(pixels)) for pixels in images.pixels]
    files[BROKEN] = files[BROKEN][:40]
    names = [f"{images.label_names[k]}/{i:03d}.png" for i, k in enumerate(images.labels)]
    for name, content in zip(names, files, strict=True):
        (root / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "folder" / name).write_bytes(content)
    (root / "folder" / "notes.doc").write_text("no image")
    texts = [{"file_name": n, "caption": f"blob {i}"} for i, n in enumerate(names)]
    lines = "".join(json.dumps(row) + "\n" for row in texts)
    (root / "folder" / "metadata.jsonl").write_text(lines)
    shard(str(root / "folder"), root / "tar", per_shard=17, quiet=True)
    columns = {
        "image": [{"bytes": b, "path": n} for b, n in zip(files, names, strict=True)],
        "label": [images.label_names[k] for k in images.labels],
    }
    (root / "parquet").mkdir()
    for number, rows in enumerate((slice(0, 40), slice(40, 60))):
        table = pa.table({name: values[rows] for name, values in columns.items()})
        pq.write_table(table, root / "parquet" / f"{number}.parquet", row_group_size=16)
    np.savez(root / "arrays.npz", images=images.pixels, labels=images.labels)
    make_run(root / "run", blobs(40), steps=5)
    labelled = pinxit.VAE(condition="label", network="mlp", width=8, depth=1, latent_dim=2)
    pinxit.train(labelled, blobs(40), steps=1, num_evals=1, out=root / "labelled", quiet=True)
    return root


@pytest.mark.parametrize("source", ["folder", "tar", "parquet", "arrays.npz", "tar/*1.tar"])
@pytest.mark.parametrize(("name", "task"), [("run", "embed"), ("labelled", "score")])
def test_results_are_those_of_loaded_images(source, name, task, sources, tmp_path):
    run, data = Run(sources / name), str(sources / source)
    call = {"block_size": 16, "progress": False}
    result = map_images(run, task, (data,), out=tmp_path / "listed", **call)
    loaded = load_for_run(run, [data], progress=False)
    map_images(run, task, loaded, out=tmp_path / "loaded", **call)
    listed, expected = pq.read_table(tmp_path / "listed"), pq.read_table(tmp_path / "loaded")
    assert listed.column_names == expected.column_names
    for column in ("name", "label", "split"):
        if column in expected.column_names:
            assert listed[column].to_pylist() == expected[column].to_pylist()
    column = listed.column_names[-1] if task == "embed" else "log_likelihood"
    values, other = (np.array(t[column].to_pylist(), np.float64) for t in (listed, expected))
    assert np.allclose(values, other, atol=1e-4)
    broken = source in ("folder", "parquet")  # shards and arrays have no broken image
    count = {"tar/*1.tar": 17, "arrays.npz": 60}.get(source, 59)
    assert result.images == len(expected) == count
    assert listed["row"].to_pylist() == [
        i for i in range(len(expected) + broken) if not (broken and names_of(run, data)[i] is None)
    ]


def names_of(run: Run, data: str) -> list[str | None]:
    """Names of all records, None for one that cannot be decoded."""
    listed = list_rows(data, run.load_options)
    readable = {*load_for_run(run, [data], progress=False).names}
    return [name if name in readable else None for name in listed.known.names]


def test_bad_images_are_listed_in_every_order_of_shards(sources, tmp_path):
    data, out = (str(sources / "folder"),), tmp_path / "out"
    run = Run(sources / "run")
    for shard_ in ("2/3", "0/3", "1/3"):
        result = map_images(run, "embed", data, out=out, shard=shard_, block_size=9, progress=False)
    assert (result.images, result.skipped, result.is_complete) == (59, 2, True)
    skipped = [json.loads(line) for line in (out / "_skipped.jsonl").read_text().splitlines()]
    assert skipped[0]["name"] == "notes.doc"
    assert [Path(item["name"]).stem for item in skipped[1:]] == [f"{BROKEN:03d}"]
    assert all(item["reason"] for item in skipped)
    again = map_images(run, "embed", data, out=out, block_size=9, progress=False)
    assert (again.computed, again.images, again.skipped) == (0, 59, 2)


def test_a_shard_decodes_its_own_blocks_alone_and_caches_nothing(sources, tmp_path, monkeypatch):
    decoded, original = [], parallel_decode._decode_record
    monkeypatch.setattr(
        parallel_decode,
        "_decode_record",
        lambda record, shape: decoded.append(record.name) or original(record, shape),
    )
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    result = map_images(
        Run(sources / "run"), "embed", (str(sources / "tar"),), out=tmp_path / "out",
        shard="1/3", block_size=10, progress=False,
    )  # fmt: skip
    names = [n for k in (1, 4) for n in pq.read_table(part_path(tmp_path / "out", k))["name"]]
    assert sorted(decoded[1:]) == sorted(str(name) for name in names)  # [0] before anything else
    assert (result.blocks, result.computed) == (6, 2)
    assert {path.name for path in Path(cache.cache_dir()).glob("*")} <= {LOAD_LOCK}


def test_a_block_of_bad_images_is_an_empty_part(sources, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(6):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(photos / f"{i}.png")
        if i in (0, 1, 4):
            (photos / f"{i}.png").write_bytes(b"no image")
    call = {"out": tmp_path / "out", "block_size": 2, "progress": False}
    result = map_images(Run(sources / "run"), "embed", (str(photos),), **call)
    assert (result.images, result.skipped, result.missing) == (3, 3, 0)
    assert pq.read_table(part_path(tmp_path / "out", 0)).num_rows == 0
    assert pq.read_table(tmp_path / "out")["row"].to_pylist() == [2, 3, 5]
    for path in photos.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(PinxitError, match=r"no image of .*photos can be read: 0\.png"):
        map_images(
            Run(sources / "run"), "embed", (str(photos),), out=tmp_path / "none", progress=False
        )
    assert not (tmp_path / "none").exists()


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(bad=st.sets(st.integers(0, 11), max_size=9), block_size=st.integers(1, 12))
def test_sampled_captions_do_not_depend_on_bad_images(bad, block_size, captioner, tmp_path_factory):
    """An image keeps its number, and so its seed, whichever images beside it are bad."""
    run, expected = captioner
    tmp = tmp_path_factory.mktemp("photos")
    (tmp / "data").mkdir()
    for i, pixels in enumerate(blobs(12).pixels):
        content = b"no image" if i in bad else encode_image(to_pil(pixels))
        (tmp / "data" / f"{i:02d}.png").write_bytes(content)
    run.map(
        "caption", tmp / "data", out=tmp / "out", block_size=block_size, quiet=True,
        temperature=1.0, seed=3,
    )  # fmt: skip
    table = pq.read_table(tmp / "out")
    assert table["row"].to_pylist() == [i for i in range(12) if i not in bad]
    assert table["caption"].to_pylist() == [expected[i] for i in range(12) if i not in bad]


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captioner")
    small = {"width": 16, "heads": 2, "depth": 1, "decoder_depth": 1, "max_text_tokens": 12}
    config = pinxit.Seq2Seq(source="image", target="text", **small)
    run = pinxit.train(config, blobs(30), steps=1, num_evals=1, out=folder / "run", quiet=True)
    rows = run.caption(blobs(12), num_images=12, temperature=1.0, seed=3)
    return run, [row[0].text for row in rows]


def test_a_default_split_is_that_of_loaded_images(sources, tmp_path):
    """Copies are never in different splits: only their pixels show them."""
    run, images = Run(sources / "run"), blobs(90)
    images.pixels[45:] = images.pixels[:45]
    np.savez(tmp_path / "copies.npz", images=images.pixels)
    data = (str(tmp_path / "copies.npz"),)
    map_images(run, "embed", data, out=tmp_path / "out", split="test", progress=False)
    expected = load_for_run(run, data, progress=False).split_indices("test")
    assert pq.read_table(tmp_path / "out")["row"].to_pylist() == expected.tolist()


def test_a_split_of_the_source_is_not_loaded(sources, run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("pinxit.mapping.source.load_for_run", None)
    map_images(
        Run(sources / "run"), "embed", (str(run_folder / "blobs.npz"),), out=tmp_path / "out",
        split="test", progress=False,
    )  # fmt: skip
    assert pq.read_table(tmp_path / "out")["row"].to_pylist() == list(range(90, 120))


def test_pairs_of_images_are_joined(tmp_path):
    images = blobs(20)
    for i in range(20):
        for name, pixels in (("before", images.before[i]), ("after", images.pixels[i])):
            path = tmp_path / "pairs" / f"{i:02d}" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_image(to_pil(pixels)))
    run = make_run(tmp_path / "run", images, steps=5)
    result = map_images(
        run, "embed", (str(tmp_path / "pairs"),), out=tmp_path / "out", progress=False
    )
    assert result.images == 20
    assert pq.read_table(tmp_path / "out")["name"].to_pylist() == [f"{i:02d}" for i in range(20)]


def test_images_that_changed_are_another_set(sources, tmp_path):
    """A replaced image is found by its content, also by a machine with a copy of the source."""
    run, photos = Run(sources / "run"), tmp_path / "photos"
    photos.mkdir()
    for i in range(5):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(photos / f"{i}.png")
    call = {"out": tmp_path / "out", "block_size": 2, "progress": False}
    map_images(run, "embed", (str(photos),), shard="0/2", **call)
    photos = photos.rename(tmp_path / "moved")
    map_images(run, "embed", (str(photos),), **call)
    Image.fromarray(np.full((8, 8), 99, np.uint8)).save(photos / "3.png")
    with pytest.raises(UsageError, match="set of images"):
        map_images(run, "embed", (str(photos),), **call)


def change_byte(file: Path) -> None:
    """Change one byte of an image in a file, which keeps its size."""
    content = bytearray(file.read_bytes())
    content[content.find(b"IDAT") + 12 if b"IDAT" in content else -400] ^= 0x55
    stat = file.stat()
    if file.suffix == ".npz":  # has checksums
        arrays = dict(np.load(file))
        arrays["images"][30, 2, 2] ^= 1
        np.savez(file, **arrays)
    else:
        file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize(
    ("source", "stream"),
    [
        *[(name, "auto") for name in ("folder", "tar", "parquet", "arrays.npz", "images.npy")],
        *[("tar", "on"), ("parquet", "on")],
    ],
)
def test_a_change_of_any_file_is_another_set(
    source, stream, is_large, sources, tmp_path, monkeypatch
):
    if is_large:
        monkeypatch.setattr(record_rows, "MAX_READ_BYTES", 0)
    run, path = Run(sources / "run"), tmp_path / source
    if source == "images.npy":
        np.save(path, blobs(60).pixels)
    else:
        copy = shutil.copytree if (sources / source).is_dir() else shutil.copy2
        copy(sources / source, path)
    options = make_load_options(run.load_options, stream=stream)

    def fingerprint() -> str:
        if stream == "on":
            images = load_stream(str(path), options, progress=False)
            return of_images(images, "all").fingerprint
        return list_rows(str(path), options).known.fingerprint

    before = fingerprint()
    assert fingerprint() == before
    suffixes = {".png", ".tar", ".parquet", ".npz", ".npy"}
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    files = [file for file in files if file.suffix in suffixes]
    for file in files[:: max(1, len(files) // 5)]:
        change_byte(file)
        assert fingerprint() != before, file
        before = fingerprint()


def test_an_output_of_another_way_to_recognize_images_is_refused(sources, tmp_path):
    run, out = Run(sources / "run"), tmp_path / "out"
    call = {"out": out, "progress": False}
    map_images(run, "embed", (str(sources / "folder"),), **call)
    record = json.loads((out / "_map.json").read_text())
    (out / "_map.json").write_text(json.dumps(record | {"fingerprint": 32 * "0"}))
    with pytest.raises(UsageError, match="another call: set of images 0000"):
        map_images(run, "embed", (str(sources / "folder"),), **call)


def test_loaded_images_are_not_decoded_again(sources, tmp_path):
    images = Images(blobs(10).pixels)
    result = map_images(Run(sources / "run"), "embed", images, out=tmp_path / "out", progress=False)
    assert result.images == 10
