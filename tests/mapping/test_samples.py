"""`pinxit sample --out FOLDER`: each sample once, the same however they are divided, and DATA."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pinxit
from pinxit.data.shards.manifest import read_manifest
from pinxit.errors import PinxitError, UsageError
from pinxit.mapping import samples
from pinxit.mapping.samples import sample_shards
from pinxit.models.generation import GenerationParams
from pinxit.models.saved_state import JsonState
from pinxit.runs import Run
from tests.builders import blobs, make_run

SPEC = samples.SampleSpec(Path(), "", Path(), 40, 40, None, GenerationParams(steps=1), "cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    images = blobs(40)
    make_run(folder / "run", images, steps=5)
    make_run(folder / "other", images, steps=6)
    make_run(folder / "labelled", images, steps=5, condition="label")
    return folder


def read(folder: Path) -> dict[str, bytes]:
    """All files in the shards of a folder, by name; a name that is there twice is an error."""
    files: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.name not in files
                files[member.name] = tar.extractfile(member).read()
    return files


def pixels_of(folder: Path) -> np.ndarray:
    from PIL import Image

    files = {name: data for name, data in read(folder).items() if name.endswith(".png")}
    return np.stack([np.asarray(Image.open(io.BytesIO(files[name]))) for name in sorted(files)])


def test_samples_are_those_of_the_model(runs, tmp_path):
    result = sample_shards(Run(runs / "run"), 50, tmp_path, shard_size=20, progress=False)
    assert (result.images, result.shards, result.computed, result.missing) == (50, 3, 3, 0)
    assert np.array_equal(pixels_of(tmp_path), Run(runs / "run").load().sample(50).pixels[..., 0])
    manifest = read_manifest(tmp_path)
    assert (manifest.finished, manifest.samples, manifest.records) == (True, 50, 50)
    for info in manifest.shards:
        content = (tmp_path / info.name).read_bytes()
        assert (len(content), f"{zlib.crc32(content):08x}") == (info.bytes, info.crc32)
    loaded = pinxit.load_images(tmp_path, progress=False)
    assert len(loaded) == 50
    assert loaded.labels is None
    assert not loaded.skipped


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shard_size=st.integers(5, 60),
    number=st.integers(1, 3),
    batch=st.integers(1, 40),
    name=st.sampled_from(["run", "labelled"]),
    order=st.randoms(use_true_random=False),
)
def test_a_sample_does_not_depend_on_how_samples_are_divided(
    shard_size, number, batch, name, order, runs, tmp_path_factory, monkeypatch
):
    out, expected = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("expected")
    run = Run(runs / name)
    sample_shards(run, 57, expected, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(samples.ImageRows, "batch_size", lambda self: batch)
        shards = list(range(number))
        order.shuffle(shards)
        for index in shards:
            result = sample_shards(
                run, 57, out, shard_size=shard_size, shard=f"{index}/{number}", progress=False
            )
            assert read_manifest(out).finished == (result.missing == 0)
    assert result.missing == 0
    assert read(out) == read(expected)


class Stop(BaseException):
    pass


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(stop=st.integers(1, 50))
def test_an_interrupted_call_goes_on(stop, runs, tmp_path_factory, monkeypatch):
    out, expected = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("expected")
    run, original = Run(runs / "run"), samples.sample_files
    sample_shards(run, 45, expected, shard_size=10, progress=False)
    count = 0

    def write_until(*words):
        nonlocal count
        count += 1
        if count == stop:
            raise Stop
        return original(*words)

    with monkeypatch.context() as patch:
        patch.setattr(samples, "sample_files", write_until)
        if stop <= 45:
            with pytest.raises(Stop):
                sample_shards(run, 45, out, shard_size=10, progress=False)
        else:
            sample_shards(run, 45, out, shard_size=10, progress=False)
    assert not list(out.glob(".*.part")), "nothing half-written"
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    result = sample_shards(run, 45, out, shard_size=10, progress=False)
    assert result.computed == 5 - len(finished)
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())
    assert read(out) == read(expected)
    assert read_manifest(out) == read_manifest(expected)


def test_a_shard_that_the_manifest_does_not_know_is_written_again(runs, tmp_path):
    """As after a kill between the two; a shard that was cut is found by its size."""
    call = {"shard_size": 10, "progress": False}
    sample_shards(Run(runs / "run"), 30, tmp_path, **call)
    before = read(tmp_path)
    (tmp_path / "shard-000001.tar").write_bytes(b"cut")
    record = json.loads((tmp_path / "_shards.json").read_text())
    record |= {"finished": False, "shards": record["shards"][:2]}
    (tmp_path / "_shards.json").write_text(json.dumps(record))
    (tmp_path / ".shard-000002.tar.1-ab.part").write_bytes(b"half")
    assert sample_shards(Run(runs / "run"), 30, tmp_path, **call).computed == 2
    assert read(tmp_path) == before
    assert not list(tmp_path.glob(".*.part"))


def test_labels_are_drawn_for_each_image_and_written(runs, tmp_path):
    run = Run(runs / "labelled")
    sample_shards(run, 200, tmp_path / "all", progress=False)
    loaded = pinxit.load_images(tmp_path / "all", progress=False)
    names = [loaded.label_names[i] for i in loaded.labels]
    counts = [names.count(name) for name in run.info.label_names]
    assert min(counts) > 25  # 50 expected: below it once in 2 million
    files = read(tmp_path / "all")
    own = run.load().sample(200, label="north-east").pixels[..., 0]
    rows = [i for i, name in enumerate(names) if name == "north-east"]
    assert np.array_equal(pixels_of(tmp_path / "all")[rows], own[rows])
    assert files["00000000.cls"].decode() == names[0]
    sample_shards(run, 5, tmp_path / "one", label="north-west", progress=False)
    assert {v for n, v in read(tmp_path / "one").items() if n.endswith(".cls")} == {b"north-west"}
    with pytest.raises(UsageError, match="north"):
        sample_shards(run, 5, tmp_path / "none", label="north", progress=False)
    assert not (tmp_path / "none").exists()


def test_captions_are_written(tmp_path):
    images = blobs(24)
    config = pinxit.Flow(condition="text", width=16, heads=2, depth=1, text_depth=1)
    run = pinxit.train(config, images, steps=1, num_evals=1, out=tmp_path / "run", quiet=True)
    params = GenerationParams(steps=1)
    sample_shards(run, 12, tmp_path / "out", params=params, shard_size=5, progress=False)
    loaded = pinxit.load_images(tmp_path / "out", progress=False)
    known = {text for texts in images.captions.values() for text in texts}
    texts = [" ".join(filter(None, row)) for row in zip(*loaded.captions.values(), strict=True)]
    assert len(texts) == 12
    assert set(texts) <= known
    expected = run.model.captions_of_samples(12, params)
    assert texts == [text for text, _ in expected]
    assert np.array_equal(loaded.pixels, run.model.sample(12, params).pixels)
    assert run.model.captions_of_samples(3, GenerationParams(guidance=0.0)) == []


@pytest.mark.parametrize("guidance", [None, 0.0, 1.5])
@pytest.mark.parametrize("condition", ["none", "label", "cluster", "text"])
def test_shards_of_a_flow_hold_what_it_samples(condition, guidance, tmp_path):
    images = blobs(48)
    labels = np.where(np.arange(48) % 4 == 0, -1, np.minimum(images.labels, 1))
    images = dataclasses.replace(images, labels=labels)
    own = {"text": {"text_depth": 1}, "cluster": {"num_clusters": 3}}.get(condition, {})
    config = pinxit.Flow(condition=condition, width=16, heads=2, depth=1, **own)
    run = pinxit.train(config, images, steps=2, num_evals=1, out=tmp_path / "run", quiet=True)
    params = GenerationParams(steps=1, seed=3, guidance=guidance if condition != "none" else None)
    sample_shards(run, 40, tmp_path / "out", params=params, shard_size=9, progress=False)
    loaded = pinxit.load_images(tmp_path / "out", progress=False)
    assert np.array_equal(loaded.pixels, run.model.sample(40, params).pixels)
    if condition != "label" or guidance == 0:
        assert loaded.labels is None
        return
    found = [loaded.label_names[i] if i >= 0 else None for i in loaded.labels]
    assert found == run.model.labels_of_samples(40, params)
    assert set(found) == {None, *images.label_names[:2]}, "as often as in training"


def test_the_labels_of_a_flow_that_kept_none_have_equal_probability(tmp_path):
    config = pinxit.Flow(condition="label", width=16, heads=2, depth=1)
    run = pinxit.train(config, blobs(24), steps=1, num_evals=1, out=tmp_path / "run", quiet=True)
    model, params = run.model, GenerationParams(steps=1)
    model.conditions.examples = JsonState([])
    assert model.labels_of_samples(3, params) is None
    assert samples._choose_labels(model, SPEC, params, 40).count("north-east") in range(1, 25)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run": "other"}, "samples of run"),
        ({"params": GenerationParams(seed=1)}, "samples of run"),
        ({"params": GenerationParams(temperature=0.5)}, "samples of run"),
        ({"num_images": 41}, "40 images, not 41"),
        ({"shard_size": 11}, "10 images a shard, not 11"),
    ],
)
def test_an_output_of_another_call_is_refused(changes, words, runs, tmp_path):
    def call(run="run", num_images=40, shard_size=10, **options):
        folder = tmp_path / "out"
        options |= {"shard_size": shard_size, "progress": False}
        return sample_shards(Run(runs / run), num_images, folder, **options)

    call(shard="0/2")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UsageError, match=rf"already has other shards \({words}"):
        call(**changes)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_bad_input_is_refused_before_anything_is_made(runs, tmp_path):
    run, out = Run(runs / "run"), tmp_path / "out"
    for options, words in (
        ({"shard": "3/2"}, "shard is 0/2 to 1/2"),
        ({"shard_size": 0}, "shard_size must be 1 or more"),
        ({"num_images": 0}, "num_images must be 1 or more"),
        ({"params": GenerationParams(seed=[1, 2])}, "one seed"),
        ({"params": GenerationParams(top_k=3)}, "top_k"),
        ({"address": "a:1"}, "needs engine ray"),
    ):
        with pytest.raises(UsageError, match=words):
            sample_shards(run, **{"num_images": 5, "out": out, "progress": False, **options})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.png").touch()
    with pytest.raises(UsageError, match="not empty"):
        sample_shards(run, 5, tmp_path / "full", progress=False)
    with pytest.raises(UsageError, match="is a file"):
        sample_shards(run, 5, tmp_path / "full" / "photo.png", progress=False)
    assert not out.exists()


def test_a_model_that_cannot_sample_makes_nothing(tmp_path):
    config = pinxit.ImageTokenizer(patch_size=4, fsq_levels=(4, 4), width=8, depth=1)
    run = pinxit.train(config, blobs(20), steps=1, num_evals=1, out=tmp_path / "run", quiet=True)
    with pytest.raises(PinxitError, match="cannot sample"):
        sample_shards(run, 5, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
