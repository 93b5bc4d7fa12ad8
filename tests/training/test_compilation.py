"""Networks that are compiled while they train, against plain ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pinxit.data.load_options import LoadOptions
from pinxit.errors import UsageError
from pinxit.models import get_family
from pinxit.training import compilation
from pinxit.training.compilation import compile_networks, missing_compiler, pays, plain_networks
from pinxit.training.devices import set_up_fabric
from pinxit.training.loop import create_train_state, train_steps
from pinxit.training.prepare import TrainingData, prepare_training
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "vae-mlp": ("vae", {"network": "mlp", "width": 32}),
    "vae-grid": ("vae", {"latents": "grid", "width": 16, "depth": 1}),
    "mae": ("mae", {"width": 32, "depth": 1, "heads": 2}),
    "flow-label": ("flow", {"width": 32, "depth": 1, "condition": "label"}),
    "flow-text": ("flow", {"width": 32, "depth": 1, "condition": "text", "vocab_size": 300}),
    "flow-shortcuts": ("flow", {"width": 32, "depth": 1, "shortcut_share": 0.25}),
}
COUNTS = {"vae-mlp": 2, "vae-grid": 2, "mae": 3, "flow-label": 1, "flow-text": 2}  # networks


def prepare(name: str, **settings: Any) -> Any:
    """Return the plan of a tiny model."""
    family, options = CASES[name]
    data = TrainingData(blobs(64, 16, 16, 3), LoadOptions(), [])
    options = get_family(family).Config(**options)
    given = {"precision": "fp32", "steps": 100, "batch_size": 16} | settings
    return prepare_training(options, data, TrainingSettings(**given), quiet=True)


def train(name: str, steps: int, **settings: Any) -> list[float]:
    """Train a tiny model and return its losses."""
    plan = prepare(name, **settings)
    state = create_train_state(plan.model, plan.settings, set_up_fabric(plan.settings))
    state.module.train()
    rows = plan.images.split_indices("train")
    loop = train_steps(state, plan.images, rows, plan.settings, lambda c: c.step / 100)
    return [float(next(loop).loss) for _ in range(steps)]


@pytest.mark.parametrize("value", ["yes", ""])
def test_compile_is_one_of_three(value):
    with pytest.raises(UsageError, match="compile is auto, off or on"):
        TrainingSettings(compile=value)


@pytest.mark.parametrize("name", COUNTS)
def test_networks_are_compiled_in_place(name):
    model = prepare(name, device="cpu").model
    names = list(model.state_dict())
    settings = TrainingSettings(compile="on")
    assert compile_networks(model, settings, "cpu") == COUNTS[name]
    assert list(model.state_dict()) == names
    compiled = [part for part in model.modules() if part._compiled_call_impl is not None]
    assert len(compiled) == COUNTS[name]
    with plain_networks(model):
        assert all(part._compiled_call_impl is None for part in model.modules())
    assert all(part._compiled_call_impl is not None for part in compiled)


def test_auto_compiles_for_a_long_training_on_one_gpu_only():
    assert pays(TrainingSettings(minutes=5), "cuda")
    assert pays(TrainingSettings(steps=20_000), "cuda")
    assert not pays(TrainingSettings(minutes=1), "cuda")
    assert not pays(TrainingSettings(steps=100), "cuda")
    assert not pays(TrainingSettings(minutes=60), "cpu")
    assert not pays(TrainingSettings(minutes=60, devices=2), "cuda")
    assert not pays(TrainingSettings(minutes=60, accumulate=4), "cuda")


@pytest.mark.parametrize(("name", "count"), [("vae-grid", 2), ("vae-mlp", 0), ("flow-text", 0)])
def test_auto_compiles_what_was_measured(name, count, monkeypatch):
    monkeypatch.setattr(compilation, "missing_compiler", lambda device: None)
    model = prepare(name, device="cpu").model
    assert compile_networks(model, TrainingSettings(minutes=5, compile="auto"), "cuda") == count


def test_without_a_compiler_networks_stay_as_they_are(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert missing_compiler("cpu") == "there is no C++ compiler"
    assert train("mae", 2, compile="on", device="cpu") == train(
        "mae", 2, compile="off", device="cpu"
    )
    out = capsys.readouterr()
    assert "not compiled: there is no C++ compiler" in out.out + out.err


@pytest.mark.long
@pytest.mark.skipif(missing_compiler("cpu") is not None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ["vae-grid", "mae", "flow-label"])
def test_compiled_networks_train_as_plain_ones(name):
    plain = train(name, 4, compile="off", device="cpu")
    np.testing.assert_allclose(train(name, 4, compile="on", device="cpu"), plain, rtol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", ["vae-mlp", "vae-grid", "mae", "flow-label", "flow-shortcuts"])
def test_compiled_networks_train_as_plain_ones_on_a_gpu(name):
    plain = train(name, 8, compile="off", device="cuda")
    np.testing.assert_allclose(train(name, 8, compile="on", device="cuda"), plain, rtol=2e-3)
