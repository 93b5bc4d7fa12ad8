"""A session: what a training leaves behind, and how it ends where it cannot go on."""

from __future__ import annotations

import csv
import errno
import json
import math
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pinxit
from pinxit.errors import PinxitError, UsageError
from pinxit.models.vae.model import VAE
from pinxit.runs import Run
from pinxit.training.api import resume, train
from tests.builders import blobs

TINY = pinxit.VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
SHORT = {"steps": 40, "batch_size": 16, "num_evals": 4, "checkpoint_seconds": 0, "warmup_steps": 5}
SHORT |= {"precision": "fp32"}  # to measure which is faster takes steps of its own


def trained(path, images=None, config=TINY, **settings) -> Run:
    images = blobs() if images is None else images
    return train(config, images, out=path, quiet=True, **{**SHORT, **settings})


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return trained(tmp_path_factory.mktemp("runs") / "blobs")


def test_a_run_folder_holds_everything_a_model_is(run):
    config = json.loads((run.path / "config.json").read_text())
    assert config["finished"] is True
    assert config["family"] == "vae"
    assert config["model"]["network"] == "mlp", "resolved"
    assert config["training"]["learning_rate"], "resolved"
    assert config["data"]["fingerprint"] == "blobs"
    assert config["trained"]["steps"] == 40
    assert config["trained"]["images"] == 640
    assert config["trained"]["skipped"] == 0
    assert {p.name for p in run.path.iterdir()} == {
        *("config.json", "model.safetensors", "checkpoint", "metrics.csv", "samples"),
        *("README.md", "tensorboard"),
    }
    drawn = sorted(p.name for p in (run.path / "samples").iterdir())
    assert drawn[:4] == [f"reconstruct-{n:07d}.png" for n in (10, 20, 30, 40)]
    assert drawn[4:] == [f"step-{n:07d}.png" for n in (10, 20, 30, 40)]
    model = pinxit.load(run.path)
    assert model.sample(3, seed=0).pixels.shape == (3, 8, 8, 1)


def test_metrics_have_a_row_a_report_and_validation_at_the_marks(run):
    rows = run.metrics()
    assert [row["step"] for row in rows] == list(range(1, 41))
    assert [row["step"] for row in rows if "val_loss" in row] == [10, 20, 30, 40]
    assert all(row["images"] == 16 * row["step"] for row in rows)
    assert rows[-1]["progress"] == 1
    last = rows[-1]
    assert last["elbo"] == pytest.approx(-last["reconstruction"] - last["kl"], abs=1e-3)
    assert rows[-1]["val_loss"] < rows[9]["val_loss"]
    best = run.config["trained"]["best_validation_loss"]
    assert best == pytest.approx(min(r["val_loss"] for r in rows if "val_loss" in r), abs=1e-4)


def test_the_card_tells_the_facts(run):
    card = (run.path / "README.md").read_text()
    for fact in ("blobs", "48 training", "8 x 8", "40 steps", "nats per image", "latent_dim"):
        assert fact in card


def test_the_best_weights_are_kept_not_the_last(tmp_path, monkeypatch):
    losses = iter([5.0, 3.0, 4.0, 3.5])
    kept = []
    monkeypatch.setattr(
        "pinxit.training.session.validate", lambda *_: {"loss": next(losses), "elbo": 0.0}
    )
    original = pinxit.training.session.Session.keep
    monkeypatch.setattr(
        "pinxit.training.session.Session.keep",
        lambda self: (kept.append(self.trainer.state.step), original(self)),
    )
    run = trained(tmp_path / "run")
    assert kept == [10, 20]
    assert run.config["trained"]["best_validation_loss"] == 3.0


def test_without_validation_images_the_last_average_is_kept(tmp_path):
    images = blobs()
    images = pinxit.Images(images.pixels, source="x", fingerprint="x")
    run = trained(tmp_path / "run", images)
    state = load_file(run.path / "checkpoint" / "state.safetensors")
    kept = load_file(run.weights)
    assert all(torch.equal(state[f"average.{name}"], kept[name]) for name in kept)
    assert not any("val_loss" in row for row in run.metrics())
    assert run.config["trained"]["best_validation_loss"] is None


def test_minutes_end_by_the_clock_and_the_schedule_with_them(tmp_path):
    run = trained(tmp_path / "run", steps=None, minutes=0.02, warmup_steps=0)
    rows = run.metrics()
    assert 1.2 <= run.config["trained"]["seconds"] < 5
    assert rows[-1]["progress"] >= 1
    # on a busy machine the last step begins well before the end
    assert rows[-1]["learning_rate"] < 0.5 * max(row["learning_rate"] for row in rows)


def spoil(monkeypatch, calls) -> None:
    """The loss of these steps is not a number."""
    original, count = VAE.loss, [0]

    def loss(self, batch, progress=1.0):
        found = original(self, batch, progress)
        count[0] += self.training
        bad = self.training and count[0] in calls
        return found._replace(total=found.total * math.nan) if bad else found

    monkeypatch.setattr(VAE, "loss", loss)


def test_a_loss_that_is_not_finite_is_skipped_counted_and_told(tmp_path, monkeypatch, capsys):
    spoil(monkeypatch, {7, 8, 30})
    run = train(TINY, blobs(), out=tmp_path / "run", **SHORT)
    told = capsys.readouterr().err
    assert "step 7: the loss is not finite; this update is skipped." in told
    assert "step 30: the loss is not finite" in told
    assert run.config["trained"]["skipped"] == 3
    assert run.metrics()[-1]["skipped"] == 3
    assert "loss" not in run.metrics()[6]
    assert all(tensor.isfinite().all() for tensor in load_file(run.weights).values())


def test_too_many_in_a_row_stop_with_the_last_good_checkpoint_kept(tmp_path, monkeypatch):
    spoil(monkeypatch, range(13, 1000))
    with pytest.raises(PinxitError, match="5 updates in a row, up to step 17") as error:
        trained(tmp_path / "run", max_skipped_updates=5)
    assert error.value.exit_code == 1
    state = load_file(tmp_path / "run" / "checkpoint" / "state.safetensors")
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert pinxit.load(tmp_path / "run"), "the weights of the evaluation before"
    monkeypatch.undo()
    assert resume(tmp_path / "run", blobs(), quiet=True).config["finished"] is True


def test_nothing_that_is_there_is_overwritten(run, tmp_path):
    with pytest.raises(UsageError, match="holds a run already and is never overwritten"):
        trained(run.path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already and is no run"):
        trained(tmp_path / "photos")
    with pytest.raises(UsageError, match="is there already"):
        trained(tmp_path / "photos" / "a.txt")
    (tmp_path / "empty").mkdir()
    assert trained(tmp_path / "empty", steps=2).path == tmp_path / "empty"


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PinxitError, match="cannot write to"):
        trained(tmp_path / "file" / "run")


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(tmp_path, monkeypatch):
    writes, fsync = [0], os.fsync

    def full(number):
        writes[0] += 1
        if writes[0] > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PinxitError, match=r"No space left on device.*pinxit train --resume"):
        trained(tmp_path / "run")
    assert not list((tmp_path / "run").rglob(".*.part")), "no half of a file stays"
    monkeypatch.undo()
    assert resume(tmp_path / "run", blobs(), quiet=True).config["finished"] is True
    whole = trained(tmp_path / "whole")
    assert whole.weights.read_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()


def test_resuming_a_run_is_refused_where_it_makes_no_sense(run, tmp_path):
    with pytest.raises(UsageError, match="is finished"):
        resume(run.path, blobs())
    with pytest.raises(UsageError, match="there is no such folder"):
        resume(tmp_path / "nothing")
    with pytest.raises(UsageError, match="learned from images of 8x8x1"):
        resume(run.path, blobs(height=10), steps=50)
    with pytest.raises(UsageError, match=r"no source 'blobs'[^\n]*\n.*have moved: --data"):
        resume(run.path, steps=50)
    assert Run(run.path).config["finished"] is True


def test_images_that_have_changed_are_seen_and_may_be_given(tmp_path):
    folder = tmp_path / "photos"
    for i, image in enumerate(blobs(24)):
        pinxit.Images(image[None]).save(folder / f"{i}.png")
    made = trained(tmp_path / "run", str(folder), steps=5)
    pinxit.Images(255 - blobs(1).pixels).save(folder / "new.png")
    with pytest.raises(UsageError, match=r"have changed since.*\n.*--data"):
        resume(made.path, steps=10, quiet=True)
    again = resume(made.path, str(folder), steps=10, quiet=True)
    assert again.config["trained"]["steps"] == 10
    assert again.config["data"]["fingerprint"] != made.config["data"]["fingerprint"]
    assert resume(made.path, steps=12, quiet=True).config["training"]["steps"] == 12


def test_several_files_are_found_again(tmp_path):
    files = [pinxit.Images(p[None]).save(tmp_path / f"{i}.png") for i, p in enumerate(blobs(12))]
    made = trained(tmp_path / "run", files, steps=3)
    assert resume(made.path, steps=6, quiet=True).config["trained"]["steps"] == 6


def test_resumed_metrics_are_cut_back_to_the_checkpoint(tmp_path):
    run = trained(tmp_path / "run", steps=20)
    whole = (run.path / "metrics.csv").read_text()
    rows = whole.splitlines()
    later = rows[-1].replace("20,", "21,", 1)
    (run.path / "metrics.csv").write_text("\n".join([*rows, later, "22,352,1.2"]))
    resume(run.path, blobs(), steps=22, quiet=True)
    with (run.path / "metrics.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [int(row["step"]) for row in found] == list(range(1, 23))
    assert (run.path / "metrics.csv").read_text().startswith(whole)


def test_tensorboard_reads_the_same_curves(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run.path / "tensorboard"), {"scalars": 0}).Reload()
    seen = {event.step: event.value for event in read.Scalars("loss")}
    expected = {row["step"]: row["loss"] for row in run.metrics()}
    assert seen == pytest.approx(expected, rel=1e-5)
    assert len(read.Scalars("val_elbo")) == 4


def test_tensorboard_forgets_what_an_earlier_session_wrote_beyond_its_checkpoint(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from pinxit.training.metrics_log import EventFile

    first = EventFile(tmp_path, 0)
    for step in range(1, 8):
        first.add({"loss": 100.0 + step}, step)
    first.close()
    second = EventFile(tmp_path, 4)  # went on from step 4
    for step in range(5, 10):
        second.add({"loss": 200.0 + step}, step)
    second.close()
    read = EventAccumulator(str(tmp_path)).Reload()
    found = [(event.step, event.value) for event in read.Scalars("loss")]
    assert found == [(n, 100.0 + n) for n in range(1, 5)] + [(n, 200.0 + n) for n in range(5, 10)]


def test_a_model_that_cannot_sample_trains_without_grids(tmp_path, monkeypatch):
    monkeypatch.setattr("pinxit.training.previews.abilities", lambda model: ())
    run = trained(tmp_path / "run", steps=4)
    assert not (run.path / "samples").exists()
    assert run.weights.is_file()


def test_training_leaves_the_signals_as_they_were(tmp_path):
    import signal

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    trained(tmp_path / "run", steps=2)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_images_are_not_changed_by_training(tmp_path):
    images = blobs()
    trained(tmp_path / "run", images, steps=3)
    assert np.array_equal(images.pixels, blobs().pixels)
