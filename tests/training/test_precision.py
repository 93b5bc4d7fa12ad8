"""Precision is chosen by measuring, and what must be exact stays in fp32."""

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


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"), [(1.0, 0.4, "bf16"), (1.0, 100.0, "fp32"), (1.0, 1.0, "fp32")]
)
def test_the_faster_is_taken_and_fp32_where_there_is_nothing_to_win(
    monkeypatch, fp32, bf16, chosen
):
    seconds = {torch.float32: fp32, torch.bfloat16: bf16}
    monkeypatch.setattr(precision, "seconds_of_product", lambda side, dtype, **_: seconds[dtype])
    assert precision.measure_precision("cpu") == chosen
    assert precision.measure_precision("mps") == "fp32"


@pytest.mark.parametrize("product_bf16", [0.1, 1.5])
@pytest.mark.parametrize(("model_bf16", "chosen"), [(0.5, "bf16"), (2.0, "fp32")])
def test_of_a_model_its_own_step_decides(monkeypatch, product_bf16, model_bf16, chosen):
    """A small model may be slower in bf16 although products are faster, and a small product of
    bf16 may seem slower where a model's are not."""
    seconds = {torch.float32: 1.0, torch.bfloat16: product_bf16}
    monkeypatch.setattr(precision, "seconds_of_product", lambda side, dtype, **_: seconds[dtype])
    assert precision.measure_precision("cpu", lambda bf16: model_bf16 if bf16 else 1.0) == chosen


def test_where_bf16_is_emulated_no_step_is_tried_in_it(monkeypatch):
    seconds = {torch.float32: 1.0, torch.bfloat16: 100.0}
    monkeypatch.setattr(precision, "seconds_of_product", lambda side, dtype, **_: seconds[dtype])
    tried = []
    assert precision.measure_precision("cpu", lambda bf16: tried.append(bf16) or 0.0) == "fp32"
    assert not tried


def test_what_the_machine_does_for_a_moment_does_not_decide(monkeypatch):
    monkeypatch.setattr(precision, "seconds_of_product", lambda *_, **__: 1.0)
    times = {True: iter([9.0, 1.0]), False: iter([2.0, 2.0])}
    assert precision.measure_precision("cpu", lambda bf16: next(times[bf16])) == "bf16"


def test_to_measure_a_step_changes_neither_the_model_nor_chance():
    images = blobs()
    config = VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
    model, _ = build_model(config, images, np.arange(48))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    for bf16 in (False, True):
        assert precision.seconds_of_step(model, images.batch(np.arange(8)), bf16) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_slow_product_is_not_repeated(monkeypatch):
    """bf16 without hardware for it may be a hundred times slower."""
    calls, product = [], torch.matmul
    monkeypatch.setattr(torch, "matmul", lambda a, b: calls.append(1) or product(a, b))
    precision.seconds_of_product(64, torch.float32, repeats=5, most=1e-9)
    assert len(calls) == 1
    precision.seconds_of_product(64, torch.float32, repeats=5, most=10.0)
    assert len(calls) == 6


def test_it_is_chosen_once_for_a_run_whatever_a_later_measurement_says(tmp_path, monkeypatch):
    """The two may be as fast as each other; weights of both are not those of one."""
    config = VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
    monkeypatch.setattr(devices, "measure_precision", lambda *_: "fp32")
    run = train(config, blobs(), out=tmp_path / "run", steps=2, quiet=True)
    assert run.config["training"]["precision"] == "fp32"
    measured = []
    monkeypatch.setattr(devices, "measure_precision", lambda *_: measured.append(1) or "bf16")
    run = resume(run, blobs(), steps=4, quiet=True)
    assert run.config["training"]["precision"] == "fp32"
    assert not measured


def test_in_bf16_weights_moments_and_averages_stay_fp32(tmp_path):
    config = VAE(latent_dim=2, width=16, depth=1, likelihood="bernoulli")
    products = []

    def seen(module, inputs, output):
        if isinstance(module, torch.nn.Linear) and module.training:
            products.append(output.dtype)

    handle = torch.nn.modules.module.register_module_forward_hook(seen)
    run = train(config, blobs(), out=tmp_path / "run", steps=3, precision="bf16", quiet=True)
    handle.remove()
    assert set(products) == {torch.bfloat16}
    state = load_file(run.path / "checkpoint" / "state.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert all(row["loss"] > 0 for row in run.metrics())
