"""A training session: the files it writes, and how it ends if it cannot continue."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import math
import os
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pinxit
from pinxit.errors import PinxitError, UsageError
from pinxit.models.vae.model import VAE
from pinxit.runs import Run
from pinxit.training.api import resume, train
from pinxit.training.model_card import write_model_card
from pinxit.training.session import Session
from tests.builders import blobs

TINY = pinxit.VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
SHORT = {"steps": 40, "batch_size": 16, "num_evals": 4, "checkpoint_seconds": 0, "warmup_steps": 5}
SHORT |= {"precision": "fp32"}  # measuring which is faster takes time


def train_tiny(path, images=None, config=TINY, **settings) -> Run:
    images = blobs() if images is None else images
    return train(config, images, out=path, **{"quiet": True, **SHORT, **settings})


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """With all of its previews, however busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pinxit.training.session.FREE_PREVIEW_SECONDS", 600.0)
        return train_tiny(tmp_path_factory.mktemp("runs") / "blobs", tensorboard=True)


def test_a_run_folder_has_all_files(run):
    config = json.loads((run.path / "config.json").read_text())
    assert config["finished"] is True
    assert config["family"] == "vae"
    assert config["model"]["network"] == "mlp", "resolved"
    assert config["training"]["learning_rate"], "resolved"
    assert config["data"]["fingerprint"] == "blobs"
    assert config["trained"]["steps"] == 40
    assert config["trained"]["images_seen"] == 640
    assert config["trained"]["skipped"] == 0
    assert {p.name for p in run.path.iterdir()} == {
        *("config.json", "model.safetensors", "checkpoint", "metrics.csv", "samples", "latents"),
        *("README.md", "tensorboard", "examples.json", ".lock"),
    }
    samples = sorted(p.name for p in (run.path / "samples").iterdir())
    assert samples[:4] == [f"reconstruct-{n:07d}.png" for n in (10, 20, 30, 40)]
    assert samples[4:] == [*(f"step-{n:07d}.png" for n in (10, 20, 30, 40)), "titles.json"]
    assert config["loss_unit"] == config["trained"]["unit"] == "nats per image"
    model = pinxit.load(run.path)
    assert model.sample(3, seed=0).pixels.shape == (3, 8, 8, 1)


def test_metrics_have_validation_losses_at_each_evaluation(run):
    rows = run.metrics()
    assert [row["step"] for row in rows] == list(range(1, 41))
    assert [row["step"] for row in rows if "val_loss" in row] == [10, 20, 30, 40]
    assert all(row["images_seen"] == 16 * row["step"] for row in rows)
    assert rows[-1]["progress"] == 1
    last = rows[-1]
    assert last["elbo"] == pytest.approx(-last["reconstruction"] - last["kl"], abs=1e-3)
    assert rows[-1]["val_loss"] < rows[9]["val_loss"]
    best = run.config["trained"]["best_validation_loss"]
    assert best == pytest.approx(min(r["val_loss"] for r in rows if "val_loss" in r), abs=1e-4)


def test_the_model_card_has_the_main_facts(run):
    card = (run.path / "README.md").read_text()
    for fact in ("blobs", "48 training", "8 x 8", "40 steps", "nats per image", "latent_dim"):
        assert fact in card
    assert "| None |" not in card


def test_the_best_weights_are_saved_not_the_last(tmp_path, monkeypatch):
    losses = iter([5.0, 3.0, 4.0, 3.5])
    saved = []
    monkeypatch.setattr(
        "pinxit.training.session.validate", lambda *_: {"loss": next(losses), "elbo": 0.0}
    )
    original = pinxit.training.session.Session.save_weights
    monkeypatch.setattr(
        "pinxit.training.session.Session.save_weights",
        lambda self, model: (saved.append(self.state.counters.step), original(self, model)),
    )
    run = train_tiny(tmp_path / "run")
    assert saved == [10, 20]
    assert run.config["trained"]["best_validation_loss"] == 3.0


def record_evaluations(monkeypatch, losses) -> list[int]:
    """Give each evaluation its loss; returns the steps whose weights are saved."""
    saved, left = [], iter(losses)
    monkeypatch.setattr(
        "pinxit.training.session.validate", lambda *_: {"loss": next(left), "elbo": 0.0}
    )
    monkeypatch.setattr("pinxit.training.session.save_previews", lambda *_: None)
    original = Session.save_weights
    monkeypatch.setattr(
        Session,
        "save_weights",
        lambda self, model: (saved.append(self.state.counters.step), original(self, model)),
    )
    return saved


def test_training_ends_when_the_validation_loss_has_long_stopped_falling(
    tmp_path, monkeypatch, capsys
):
    saved = record_evaluations(monkeypatch, [5.0, 4.0, *(4.0 + i for i in range(1, 19))])
    settings = {**SHORT, "steps": 100, "num_evals": 20, "tensorboard": False}
    run = train(TINY, blobs(), out=tmp_path / "run", **settings)
    assert saved == [5, 10]
    trained = run.config["trained"]
    assert trained["best_step"] == 10
    assert 10 + 100 / 3 <= trained["steps"] <= 50
    assert run.config["finished"] is True
    assert "lowest at step 10, whose weights are kept: training ends" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "settings", "mark"),
    [
        ({"iw_samples": 2, "iw_from": 0.6}, {}, 0.6),
        ({"kl_warmup": 0.5}, {}, 0.5),
        ({"adversarial": 0.5, "adversarial_from": 0.7}, {"keep": "best"}, 0.7),
        ({}, {"augment": "move", "augment_until": 0.8}, 0.8),
    ],
)
def test_training_does_not_end_before_what_is_still_to_change(
    tmp_path, monkeypatch, capsys, options, settings, mark
):
    record_evaluations(monkeypatch, [5.0, 4.0, *(4.0 + i for i in range(1, 19))])
    config = dataclasses.replace(TINY, **options)
    settings = {"steps": 100, "num_evals": 20} | settings
    run = train_tiny(tmp_path / "run", config=config, quiet=False, **settings)
    last = run.config["trained"]["steps"]
    assert min(100, 100 * (mark + 1 / 3)) <= last <= 100
    assert capsys.readouterr().err.count("whose weights are kept: training ends") == (last < 100)


def test_a_run_that_ended_early_goes_on_with_its_last_weights(tmp_path, monkeypatch):
    record_evaluations(monkeypatch, [5.0, 4.0, *(4.0 + i for i in range(1, 40))])
    run = train_tiny(tmp_path / "run", steps=100, num_evals=20)
    assert run.config["trained"]["steps"] < 100
    longer = resume(run, blobs(), quiet=True, steps=120, keep="last")
    assert longer.config["trained"]["steps"] == 120


def test_a_run_killed_before_it_ends_early_ends_at_the_same_step(tmp_path, monkeypatch):
    losses = [5.0, 4.0, *(4.0 + i for i in range(1, 19))]
    settings = {"steps": 100, "num_evals": 20}
    record_evaluations(monkeypatch, losses)
    whole = train_tiny(tmp_path / "whole", **settings)

    def kill(self, *_):
        raise KeyboardInterrupt

    record_evaluations(monkeypatch, losses)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "_finish", kill)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path / "killed", **settings)
    record_evaluations(monkeypatch, losses[-3:])
    resumed = resume(tmp_path / "killed", blobs(), quiet=True)
    assert resumed.config["trained"]["steps"] - whole.config["trained"]["steps"] in (0, 1)
    record_evaluations(monkeypatch, losses)
    longer = resume(tmp_path / "killed", blobs(), quiet=True, steps=300)
    assert longer.config["trained"]["steps"] > 100, "a larger budget goes on"


def test_the_last_weights_are_kept_on_request(tmp_path, monkeypatch):
    saved = record_evaluations(monkeypatch, [3.0, *(4.0 + i for i in range(19))])
    run = train_tiny(tmp_path / "run", steps=100, num_evals=20, keep="last")
    assert saved == list(range(5, 101, 5))
    assert run.config["trained"]["steps"] == 100
    assert run.config["trained"]["best_step"] == 5


def test_the_loss_without_penalties_chooses_no_weights_of_an_adversarial_run(tmp_path):
    """It is the lowest before the term takes effect, whose pictures are the blurry ones."""
    kept = {}
    for options in ({"adversarial": 0.5}, {"ms_ssim": 0.1}, {}):
        config = dataclasses.replace(TINY, **options)
        run = train_tiny(tmp_path / f"run{len(kept)}", config=config, steps=4)
        kept[tuple(options)] = run.config["training"]["keep"]
        row = run.metrics()[-1]
        assert ("unpenalized_loss" in row) == bool(options)
        if "ms_ssim" in options:
            total = row["unpenalized_loss"] + 0.1 * run.info.dims * row["ms_ssim"]
            assert row["loss"] == pytest.approx(total, rel=1e-4)
    assert kept == {("adversarial",): "last", ("ms_ssim",): "best", (): "best"}


def test_without_validation_images_the_last_average_is_saved(tmp_path):
    images = blobs()
    images = pinxit.Images(images.pixels, source="x", fingerprint="x")
    run = train_tiny(tmp_path / "run", images)
    state = load_file(run.path / "checkpoint" / "state.safetensors")
    weights = load_file(run.weights_path)
    assert all(torch.equal(state[f"ema.{name}"], weights[name]) for name in weights)
    assert not any("val_loss" in row for row in run.metrics())
    assert run.config["trained"]["best_validation_loss"] is None


def test_a_budget_of_minutes_ends_by_the_clock_and_so_does_the_schedule(tmp_path):
    run = train_tiny(tmp_path / "run", steps=None, minutes=0.02, warmup_steps=0)
    rows = run.metrics()
    assert 1.2 <= run.config["trained"]["seconds"] < 5
    assert rows[-1]["progress"] >= 1
    # on a busy machine the last step begins well before the end
    assert rows[-1]["learning_rate"] < 0.5 * max(row["learning_rate"] for row in rows)


def make_loss_nan(monkeypatch, calls) -> None:
    """The loss of these training steps is NaN."""
    original, count = VAE.loss, [0]

    def loss(self, batch, progress=1.0):
        result = original(self, batch, progress)
        count[0] += self.training
        bad = self.training and count[0] in calls
        return result._replace(total=result.total * math.nan) if bad else result

    monkeypatch.setattr(VAE, "loss", loss)


def test_a_loss_that_is_not_finite_is_skipped_counted_and_reported(tmp_path, monkeypatch, capsys):
    make_loss_nan(monkeypatch, {7, 8, 30})
    run = train(TINY, blobs(), out=tmp_path / "run", **SHORT)
    err = capsys.readouterr().err
    assert "step 7: the loss is not finite; update skipped." in err
    assert "step 30: the loss is not finite" in err
    assert run.config["trained"]["skipped"] == 3
    assert run.metrics()[-1]["skipped"] == 3
    assert "loss" not in run.metrics()[6]
    assert all(tensor.isfinite().all() for tensor in load_file(run.weights_path).values())


def test_too_many_skipped_updates_stop_training_after_a_good_checkpoint(tmp_path, monkeypatch):
    make_loss_nan(monkeypatch, range(13, 1000))
    with pytest.raises(PinxitError, match="5 updates in a row, up to step 17") as error:
        train_tiny(tmp_path / "run", max_skipped_updates=5)
    assert error.value.exit_code == 1
    state = load_file(tmp_path / "run" / "checkpoint" / "state.safetensors")
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert pinxit.load(tmp_path / "run"), "the weights of the last evaluation"
    monkeypatch.undo()
    assert resume(tmp_path / "run", blobs(), quiet=True).config["finished"] is True


def test_existing_files_are_not_overwritten(run, tmp_path):
    with pytest.raises(UsageError, match=r"already holds a run.*--overwrite.*\n.*--resume"):
        train_tiny(run.path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not a run folder"):
        train_tiny(tmp_path / "photos")
    with pytest.raises(UsageError, match="exists and is not a run folder"):
        train_tiny(tmp_path / "photos" / "a.txt")
    (tmp_path / "empty").mkdir()
    assert train_tiny(tmp_path / "empty", steps=2).path == tmp_path / "empty"


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PinxitError, match="cannot write to"):
        train_tiny(tmp_path / "file" / "run")


def test_a_full_disk_is_an_error_and_the_run_can_be_resumed_later(tmp_path, monkeypatch):
    writes, fsync = [0], os.fsync

    def fail_when_full(number):
        writes[0] += 1
        if writes[0] > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(number)

    monkeypatch.setattr(os, "fsync", fail_when_full)
    with pytest.raises(PinxitError, match=r"No space left on device.*\n.*pinxit train --resume"):
        train_tiny(tmp_path / "run")
    assert not list((tmp_path / "run").rglob(".*.part")), "no partial file is left"
    monkeypatch.undo()
    assert resume(tmp_path / "run", blobs(), quiet=True).config["finished"] is True
    whole = train_tiny(tmp_path / "whole")
    assert whole.weights_path.read_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()


def test_runs_that_cannot_be_resumed_are_rejected(run, tmp_path):
    with pytest.raises(UsageError, match="is finished"):
        resume(run.path, blobs())
    with pytest.raises(UsageError, match="no such folder"):
        resume(tmp_path / "nothing")
    with pytest.raises(UsageError, match="was trained on images of 8x8x1"):
        resume(run.path, blobs(height=10), steps=50)
    with pytest.raises(UsageError, match=r"no source 'blobs'[^\n]*\n.*have moved: --data"):
        resume(run.path, steps=50)
    assert Run(run.path).config["finished"] is True


def test_changed_images_are_detected_and_can_be_passed_again(tmp_path):
    folder = tmp_path / "photos"
    for i, image in enumerate(blobs(24)):
        pinxit.Images(image[None]).save(folder / f"{i}.png")
    run = train_tiny(tmp_path / "run", str(folder), steps=5)
    fingerprint = run.config["data"]["fingerprint"]
    pinxit.Images(255 - blobs(1).pixels).save(folder / "new.png")
    with pytest.raises(UsageError, match=r"have changed since.*\n.*--data"):
        resume(run.path, steps=10, quiet=True)
    resumed = resume(run.path, str(folder), steps=10, quiet=True)
    assert resumed.config["trained"]["steps"] == 10
    assert resumed.config["data"]["fingerprint"] != fingerprint
    assert resume(run.path, steps=12, quiet=True).config["training"]["steps"] == 12


def test_a_list_of_files_is_loaded_again_on_resume(tmp_path):
    files = [pinxit.Images(p[None]).save(tmp_path / f"{i}.png") for i, p in enumerate(blobs(12))]
    run = train_tiny(tmp_path / "run", files, steps=3)
    assert resume(run.path, steps=6, quiet=True).config["trained"]["steps"] == 6


def test_resumed_metrics_drop_rows_after_the_checkpoint(tmp_path):
    run = train_tiny(tmp_path / "run", steps=20)
    whole = (run.path / "metrics.csv").read_text()
    rows = whole.splitlines()
    later = rows[-1].replace("20,", "21,", 1)
    (run.path / "metrics.csv").write_text("\n".join([*rows, later, "22,352,1.2"]))
    resume(run.path, blobs(), steps=22, quiet=True)
    with (run.path / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [int(row["step"]) for row in table] == list(range(1, 23))
    assert (run.path / "metrics.csv").read_text().startswith(whole)


def test_the_model_card_holds_no_path(tmp_path):
    run = train_tiny(tmp_path / "secret-owner" / "my run", steps=2)
    card = (run.path / "README.md").read_text("utf-8")
    assert "secret-owner" not in card
    assert "pinxit sample 'my run' -n 64" in card
    assert "pinxit.load('my run')" in card
    config = {**run.config, "data": {**run.config["data"], "source": "/home/anna/cats"}}
    config["model"] = {**config["model"], "latent_dim": "/home/anna/runs/vae"}
    write_model_card(run, config)
    card = (run.path / "README.md").read_text("utf-8")
    assert "anna" not in card
    assert "| latent_dim | vae |" in card


def test_tensorboard_has_the_same_curves(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"), {"scalars": 0}).Reload()
    values = {event.step: event.value for event in events.Scalars("loss")}
    expected = {row["step"]: row["loss"] for row in run.metrics()}
    assert values == pytest.approx(expected, rel=1e-5)
    assert len(events.Scalars("val_elbo")) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_a_path_that_tensorboard_cannot_write_to_is_said(tmp_path, capsys):
    settings = {**SHORT, "steps": 2, "tensorboard": True}
    run = train(TINY, blobs(), out=tmp_path / os.fsdecode(b"run-\xff"), **settings)
    assert "no curves for TensorBoard" in capsys.readouterr().err
    assert not (run.path / "tensorboard").exists()
    train(TINY, blobs(), out=tmp_path / "run", **settings)
    assert "TensorBoard" not in capsys.readouterr().err


def test_tensorboard_drops_points_after_the_checkpoint(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from pinxit.training.tensorboard_log import TensorBoardLog

    first = TensorBoardLog(tmp_path, 0)
    for step in range(1, 8):
        first.append({"loss": 100.0 + step}, step)
    first.close()
    second = TensorBoardLog(tmp_path, 4)  # resumed at step 4
    for step in range(5, 10):
        second.append({"loss": 200.0 + step}, step)
    second.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    points = [(event.step, event.value) for event in events.Scalars("loss")]
    assert points == [(n, 100.0 + n) for n in range(1, 5)] + [(n, 200.0 + n) for n in range(5, 10)]


def test_a_model_that_cannot_sample_trains_without_grids(tmp_path, monkeypatch):
    for name in ("CanSample", "CanReconstruct"):
        monkeypatch.setattr(f"pinxit.training.previews.{name}", type(name, (), {}))
    run = train_tiny(tmp_path / "run", steps=4)
    assert not (run.path / "samples").exists()
    assert run.weights_path.is_file()


def test_training_restores_the_signal_handlers(tmp_path):
    import signal

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train_tiny(tmp_path / "run", steps=2)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_training_does_not_change_the_images(tmp_path):
    images = blobs()
    train_tiny(tmp_path / "run", images, steps=3)
    assert np.array_equal(images.pixels, blobs().pixels)


def test_overwrite_replaces_a_run_once_the_new_one_is_in_place(tmp_path):
    path = tmp_path / "run"
    train_tiny(path, steps=3)
    (path / "evaluation.json").write_text("{}")
    with pytest.raises(UsageError, match="no source 'blob'"):
        train_tiny(path, "blob", steps=3, overwrite=True)
    assert (path / "evaluation.json").is_file(), "invalid arguments leave the old run"
    run = train_tiny(path, steps=5, overwrite=True)
    assert run.config["trained"]["steps"] == 5
    assert not (path / "evaluation.json").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["run"], "no temporary folder is left"


def test_overwrite_replaces_a_run_of_an_older_format(tmp_path):
    run = Run(tmp_path / "run")
    run.write("config.json", {"format": 1, "family": "vae"})
    assert train_tiny(run.path, steps=2, overwrite=True).config["finished"] is True


def test_overwrite_never_replaces_a_folder_that_is_not_a_run(tmp_path):
    for content in ("not JSON", "[]", '{"name": "a web page"}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UsageError, match="exists and is not a run folder"):
            train_tiny(tmp_path, steps=2, overwrite=True)
        assert (tmp_path / "config.json").read_text() == content


def test_overwrite_of_an_empty_or_missing_folder_creates_a_run(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        run = train_tiny(tmp_path / name, steps=2, overwrite=True)
        assert run.weights_path.is_file()


def test_a_failed_overwrite_keeps_the_old_run(tmp_path, monkeypatch):
    path = tmp_path / "run"
    train_tiny(path, steps=3)

    def fail(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PinxitError, match="No space left on device"):
        train_tiny(path, steps=5, overwrite=True)
    assert Run(path).config["trained"]["steps"] == 3
    assert pinxit.load(path)


def test_a_dry_run_returns_the_cost_and_writes_nothing(tmp_path, capsys):
    estimate = train(TINY, blobs(), out=tmp_path / "run", dry_run=True, **SHORT)
    assert estimate.steps == 40
    assert estimate.images_per_second > 0
    assert estimate.plan.config.latent_dim == 2
    assert "48 training images of 8 x 8, grey; vae with" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_summary_counts_one_image_in_the_singular(tmp_path, capsys):
    train(TINY, blobs()[:1], out=tmp_path / "run", dry_run=True, **SHORT)
    assert "1 training image of 8 x 8, grey" in capsys.readouterr().err


def test_training_prints_a_summary_unless_quiet(tmp_path, capsys):
    train(TINY, blobs(), out=tmp_path / "loud", **{**SHORT, "steps": 2})
    err = capsys.readouterr().err
    assert err.splitlines()[0] == "captions: 96 of 96 images, en 96, fr 96; labels: 4 classes"
    assert err.splitlines()[1] == "48 images: expect copies and mixtures of them"
    assert err.splitlines()[2].startswith("48 training images of 8 x 8, grey; vae with")
    assert "latent_dim 2, width 16, depth 1, likelihood bernoulli, batch_size 16" in err
    train_tiny(tmp_path / "quiet", steps=2)
    assert capsys.readouterr() == ("", "")


def test_captions_that_are_cut_are_counted(tmp_path, capsys):
    images = blobs()
    captions = {"en": [*["a blob"] * (len(images) - 2), "a " * 20, "a blob " * 15]}
    images = dataclasses.replace(images, captions=captions)
    config = pinxit.Seq2Seq(source="text", target="image", max_text_tokens=16, width=16, depth=1)
    train(config, images, out=tmp_path / "run", **{**SHORT, "steps": 1})
    err = capsys.readouterr().err
    assert "2 captions of 96 longer than 16 tokens: the rest is not used" in err


def test_training_ends_with_the_verdict(tmp_path, capsys):
    train(TINY, blobs(), out=tmp_path / "short", **{**SHORT, "steps": 2})
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("verdict: undertrained: trained for 2 steps (0.7 epochs) only; only 48")
    assert last.endswith(f"(pinxit train --resume {tmp_path / 'short'} --minutes N).")


def test_sample_grids_that_take_long_are_left_out_but_the_last(tmp_path, monkeypatch, capsys):
    saved = []
    monkeypatch.setattr(
        "pinxit.training.session.save_previews", lambda model, run, step, images: saved.append(step)
    )
    monkeypatch.setattr("pinxit.training.session.FREE_PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr("pinxit.training.session.MAX_EVAL_FRACTION", 0.0)
    run = train(TINY, blobs(), out=tmp_path / "run", **{**SHORT, "num_evals": 4})
    steps = run.config["trained"]["steps"]
    assert saved == [steps // 4, steps]
    output = capsys.readouterr()
    assert (output.out + output.err).count("some are left out") == 1
    evaluated = [row for row in run.metrics() if "val_loss" in row]
    assert len(evaluated) == 4  # the validation loss is measured as often as before


@pytest.mark.parametrize("quiet", [False, True])
def test_a_training_says_what_it_trains_unless_quiet(tmp_path, capsys, quiet):
    train(TINY, blobs(), out=tmp_path / "run", quiet=quiet, **{**SHORT, "steps": 2})
    summary = "48 training images of"
    assert (summary in " ".join(capsys.readouterr().err.split())) == (not quiet)


def test_a_batch_larger_than_the_training_images_is_said_to_be_smaller(tmp_path, capsys):
    run = train_tiny(tmp_path / "run", steps=1, batch_size=1000, quiet=False)
    most = run.info.num_images
    assert f"batches of {most} images, not 1000" in capsys.readouterr().err
    assert run.config["training"]["batch_size"] == most
