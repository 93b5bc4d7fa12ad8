"""Invalid settings, and the defaults that depend on data and model."""

from __future__ import annotations

import pytest

from pinxit.data.batch import DatasetInfo
from pinxit.errors import UsageError
from pinxit.training.api import train
from pinxit.training.settings import TrainingSettings, default_batch_size, default_learning_rate
from tests.builders import blobs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0}, "minutes must be above 0"),
        ({"minutes": -1.0}, "minutes must be above 0"),
        ({"minutes": float("nan")}, "minutes must be above 0"),
        ({"steps": 0}, "steps must be above 0"),
        ({"epochs": -3}, "epochs must be above 0"),
        ({"batch_size": 0}, "batch_size must be above 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": float("inf")}, "learning_rate must be above 0"),
        ({"devices": 0}, "devices must be above 0"),
        ({"num_evals": 0}, "num_evals must be above 0"),
        ({"max_skipped_updates": 0}, "max_skipped_updates must be above 0"),
        ({"warmup_steps": -1}, "warmup_steps must be 0 or more"),
        ({"grad_clip_factor": -0.5}, "grad_clip_factor must be 0 or more"),
        ({"weight_decay": float("nan")}, "weight_decay must be 0 or more"),
        ({"ema_decay": 1.0}, "ema_decay must be at least 0 and below 1"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"precision": "fp16"}, "precision is auto, fp32 or bf16, not 'fp16'"),
        ({"minutes": 5, "steps": 100}, "give one budget, not minutes and steps"),
        ({"steps": 5, "epochs": 1}, "give one budget, not steps and epochs"),
    ],
)
def test_invalid_settings_are_rejected(options, message):
    with pytest.raises(UsageError, match=message):
        TrainingSettings(**options)


def test_an_unknown_setting_suggests_the_nearest_one(tmp_path):
    with pytest.raises(UsageError, match=r"no 'learning_rat'\. Did you mean 'learning_rate'"):
        train("vae", blobs(), out=tmp_path / "run", learning_rat=1e-3)
    assert not (tmp_path / "run").exists()


def test_budget_in_seconds_and_steps():
    assert TrainingSettings().seconds == 300
    assert TrainingSettings(minutes=0.5).seconds == 30
    assert TrainingSettings(steps=7).seconds is None
    assert TrainingSettings(steps=7).total_steps(1000, 10) == 7
    assert TrainingSettings(epochs=1.5).total_steps(1000, 64) == 24, "1,500 images, rounded up"
    assert TrainingSettings(minutes=1).total_steps(1000, 10) is None


def test_batch_size_grows_with_the_number_of_images_and_shrinks_with_their_size():
    sizes = [default_batch_size(DatasetInfo(n, 28, 28, 1)) for n in (10, 1_000, 30_000, 1_000_000)]
    assert sizes == [10, 64, 128, 256]
    assert default_batch_size(DatasetInfo(1_000_000, 256, 256, 3)) == 32


def test_learning_rate_falls_with_the_number_of_parameters():
    assert default_learning_rate(10_000) == 2e-3
    assert default_learning_rate(8_000_000) == 1e-3


def test_one_kind_of_augmentation_needs_no_tuple():
    assert TrainingSettings(augment="off") == TrainingSettings(augment=("off",))
    with pytest.raises(UsageError, match="augment is auto, strong, off, or some of"):
        TrainingSettings(augment="mirror")
