"""Training on a stream: as on images in memory, resumed exactly, divided over processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import pinxit
from pinxit.data.images import Images
from pinxit.data.load import load_images
from pinxit.data.shards.write import shard
from pinxit.errors import PinxitError
from pinxit.models import family_of, list_families
from pinxit.training.session import Session
from tests.builders import blobs
from tests.training import groups
from tests.training.test_divided_batches import CONFIGS

TINY = pinxit.VAE(latent_dim=4, network="mlp", width=16, depth=1)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """96 blobs with labels and captions in 8 shards."""
    folder = tmp_path_factory.mktemp("shards")
    file = folder / "blobs"
    file.mkdir()
    images = blobs()
    for i in range(len(images)):
        images[i].save(file / f"{i}.png")
        (file / f"{i}.en.txt").write_text(images.captions["en"][i])
        (file / f"{i}.fr.txt").write_text(images.captions["fr"][i])
    shard(file, folder / "out", per_shard=12, quiet=True)
    return folder / "out"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))


def load(shards: Path, **options: Any) -> Images:
    return load_images(shards, progress=False, **({"stream": "on", "stream_window": 3} | options))


def train(config: Any, images: Any, out: Path, **options: Any):
    return pinxit.train(config, images, out=out, quiet=True, seed=0, **options)


STREAM = {"stream": "on", "stream_window": 3}


@pytest.mark.slow
@pytest.mark.parametrize("step", [7, *(pytest.param(k, marks=pytest.mark.long) for k in (1, 20))])
def test_a_resumed_training_has_the_weights_of_an_uninterrupted_one(
    shards, tmp_path, step, monkeypatch
):
    settings = {"steps": 26, "batch_size": 13, **STREAM}
    expected = load_file(train(TINY, str(shards), tmp_path / "whole", **settings).weights_path)
    train_step = Session._record_unit

    def stop(self, result):
        train_step(self, result)
        if result.step == step:
            self.stop_requested = True

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_record_unit", stop)
        with pytest.raises(KeyboardInterrupt):
            train(TINY, str(shards), tmp_path / "run", **settings)
    run = pinxit.resume(tmp_path / "run", quiet=True)
    for name, tensor in load_file(run.weights_path).items():
        assert (tensor == expected[name]).all(), name


def test_epochs_are_of_all_training_images(shards, tmp_path):
    images = load(shards)
    run = train(TINY, images, tmp_path / "run", epochs=2, batch_size=10)
    total = images.stream.count("train")
    assert run.config["dataset_info"]["num_images"] == total
    assert run.config["trained"]["steps"] == -(-2 * total // 10)
    assert (
        pinxit.train(TINY, images, epochs=2, batch_size=10, dry_run=True, quiet=True).steps
        == (run.config["trained"]["steps"])
    )


@pytest.mark.long
def test_every_family_trains_on_a_stream(shards, tmp_path):
    images = load(shards)
    assert {family_of(config) for config in CONFIGS.values()} == set(list_families())
    for name, config in CONFIGS.items():
        run = train(config, images, tmp_path / name, steps=2, batch_size=8)
        assert run.config["finished"], name
        assert run.load() is not None


def test_changed_shards_are_noticed_when_a_training_is_resumed(shards, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    run = train(TINY, str(copy), tmp_path / "run", steps=3, batch_size=8, **STREAM)
    file = copy / "shard-000003.tar"
    file.write_bytes(file.read_bytes()[:-20_000])
    with pytest.raises(PinxitError, match="have changed"):
        pinxit.resume(run, steps=6, quiet=True)


def test_a_shard_that_is_removed_ends_the_training_with_its_name(shards, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    images = load(copy)
    (copy / "shard-000003.tar").unlink()
    with pytest.raises(PinxitError, match=r"shard-000003.tar is not there any more"):
        train(TINY, images, tmp_path / "run", epochs=1, batch_size=8)


@pytest.mark.long
def test_two_processes_train_on_the_batches_of_one(shards, tmp_path):
    settings = {"steps": 5, "batch_size": 13, **STREAM}
    whole = {**groups.SETTINGS, **settings}
    expected = pinxit.train(TINY, str(shards), out=tmp_path / "whole", **whole)
    jobs = [(TINY, str(shards), str(tmp_path / "divided"), settings)]
    codes = groups.run_group(groups.train_all, (jobs,), tmp_path, 2)
    assert codes == [0, 0], groups.logs(tmp_path)
    own = load_file(tmp_path / "divided" / "model.safetensors")
    for name, tensor in load_file(expected.weights_path).items():
        np.testing.assert_allclose(own[name], tensor, atol=2e-4, rtol=1e-3, err_msg=name)
