"""Precision is chosen by measurement, and the training state stays in fp32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pinxit import VAE
from pinxit.models import build_model
from pinxit.training import devices, precision
from pinxit.training.api import resume, train
from tests.builders import blobs

TINY = VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")


@pytest.fixture
def set_matmul_seconds(monkeypatch):
    """Replace the measured seconds of a matrix product."""

    def replace(fp32: float, bf16: float) -> None:
        seconds = {torch.float32: fp32, torch.bfloat16: bf16}
        monkeypatch.setattr(precision, "time_matmul", lambda side, dtype, **_: seconds[dtype])

    return replace


@pytest.mark.parametrize(
    ("fp32", "bf16", "expected"), [(1.0, 0.4, "bf16"), (1.0, 100.0, "fp32"), (1.0, 1.0, "fp32")]
)
def test_without_a_model_the_faster_matrix_product_decides(
    set_matmul_seconds, fp32, bf16, expected
):
    set_matmul_seconds(fp32, bf16)
    assert precision.measure_precision("cpu") == expected
    assert precision.measure_precision("mps") == "fp32"


@pytest.mark.parametrize("matmul_bf16", [0.1, 1.5])
@pytest.mark.parametrize(("step_bf16", "expected"), [(0.5, "bf16"), (2.0, "fp32")])
def test_the_time_of_the_models_step_decides(set_matmul_seconds, matmul_bf16, step_bf16, expected):
    """Casts may make a small model slower in bf16 although products are faster, and a small
    product may be slower in bf16 although the model is faster."""
    set_matmul_seconds(1.0, matmul_bf16)
    assert precision.measure_precision("cpu", lambda bf16: step_bf16 if bf16 else 1.0) == expected


def test_no_step_is_timed_if_bf16_is_emulated(set_matmul_seconds):
    set_matmul_seconds(1.0, 100.0)
    timed = []
    assert precision.measure_precision("cpu", lambda bf16: timed.append(bf16) or 0.0) == "fp32"
    assert not timed


def test_a_momentary_load_of_the_machine_does_not_decide(set_matmul_seconds):
    set_matmul_seconds(1.0, 1.0)
    times = {True: iter([9.0, 1.0]), False: iter([2.0, 2.0])}
    assert precision.measure_precision("cpu", lambda bf16: next(times[bf16])) == "bf16"


def test_timing_a_step_changes_neither_the_model_nor_the_random_state():
    images = blobs()
    model, _ = build_model(TINY, images, np.arange(48))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    for bf16 in (False, True):
        assert precision.time_step(model, images.batch(np.arange(8)), bf16) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_slow_matrix_product_is_not_repeated(monkeypatch):
    """Emulated bf16 may be a hundred times slower."""
    calls, matmul = [], torch.matmul
    monkeypatch.setattr(torch, "matmul", lambda a, b: calls.append(1) or matmul(a, b))
    precision.time_matmul(64, torch.float32, repeats=5, max_seconds=1e-9)
    assert len(calls) == 1
    precision.time_matmul(64, torch.float32, repeats=5, max_seconds=10.0)
    assert len(calls) == 6


def test_a_resumed_run_keeps_its_precision(tmp_path, monkeypatch):
    """Resuming in another precision would give other weights."""
    monkeypatch.setattr(devices, "measure_precision", lambda *_: "fp32")
    run = train(TINY, blobs(), out=tmp_path / "run", steps=2, quiet=True)
    assert run.config["training"]["precision"] == "fp32"
    measured = []
    monkeypatch.setattr(devices, "measure_precision", lambda *_: measured.append(1) or "bf16")
    run = resume(run, blobs(), steps=4, quiet=True)
    assert run.config["training"]["precision"] == "fp32"
    assert not measured


def test_in_bf16_weights_moments_and_averages_stay_in_fp32(tmp_path):
    dtypes = []

    def record_dtype(module, inputs, output):
        if isinstance(module, torch.nn.Linear) and module.training:
            dtypes.append(output.dtype)

    handle = torch.nn.modules.module.register_module_forward_hook(record_dtype)
    run = train(TINY, blobs(), out=tmp_path / "run", steps=3, precision="bf16", quiet=True)
    handle.remove()
    assert set(dtypes) == {torch.bfloat16}
    state = load_file(run.path / "checkpoint" / "state.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert all(row["loss"] > 0 for row in run.metrics())
