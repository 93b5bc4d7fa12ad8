"""A checkpoint restores everything that the next step depends on, whatever the optimizer."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from pinxit.training.checkpoint import load_checkpoint, save_checkpoint
from tests.builders import blobs
from tests.training.fake_model import MeanImageModel, make_state, run_steps


class MatrixModel(MeanImageModel):
    """With a matrix of a hidden layer, which Muon updates."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden = HiddenLayer()

    def loss(self, batch, progress=1.0):
        loss = super().loss(batch, progress)
        extra = self.hidden(batch.pixels.flatten(1).float() / 255).square().sum(1).mean()
        return loss._replace(total=loss.total + extra)


class HiddenLayer(nn.Module):
    hidden_matrices = True

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 8)

    def forward(self, x):
        return self.linear(x)


def snapshot(state):
    """Copies of all tensors, by name, and the counters."""
    tensors = {f"model.{k}": v.clone() for k, v in state.module.state_dict().items()}
    for (name, p), ema in zip(state.module.named_parameters(), state.ema_params, strict=True):
        tensors[f"ema.{name}"] = ema.clone()
        for key, value in state.optimizer.state[p].items():
            tensors[f"{key}.{name}"] = value.clone()
    return tensors, dataclasses.asdict(state.counters)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_all_tensors_and_counters_are_restored(tmp_path, optimizer):
    state = make_state(MatrixModel(), optimizer=optimizer)
    run_steps(state, blobs(), 20, last=6, optimizer=optimizer)
    counters = state.counters
    counters.best_loss, counters.best_step, counters.skipped = 1.5, 4, 2
    counters.seconds, counters.best_seconds, counters.eval_step = 7.5, 3.5, 5
    counters.skipped_in_a_row, counters.eval_seconds = 1, 0.5
    save_checkpoint(tmp_path, state)
    restored = make_state(MatrixModel(), optimizer=optimizer)
    assert load_checkpoint(tmp_path, restored) is None
    tensors, numbers = snapshot(state)
    other_tensors, other_numbers = snapshot(restored)
    assert numbers == other_numbers
    assert all(value not in (0, math.inf) for value in numbers.values()), "each was set"
    assert set(tensors) == set(other_tensors)
    assert any(name.startswith("momentum.") for name in tensors) == (optimizer == "muon")
    for name, tensor in tensors.items():
        assert torch.equal(tensor.float(), other_tensors[name].float()), name


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_steps_after_a_checkpoint_are_those_without_one(tmp_path, optimizer):
    """With gradients that are clipped, so that the running mean of the norms matters."""
    options = {"optimizer": optimizer, "grad_clip_factor": 0.5}
    state = make_state(MatrixModel(), **options)
    run_steps(state, blobs(), 20, last=6, **options)
    save_checkpoint(tmp_path, state)
    restored = make_state(MatrixModel(), **options)
    load_checkpoint(tmp_path, restored)
    expected = [float(step.loss) for step in run_steps(state, blobs(), 20, last=12, **options)]
    losses = [float(step.loss) for step in run_steps(restored, blobs(), 20, last=12, **options)]
    assert losses == expected
    for a, b in zip(state.parameters, restored.parameters, strict=True):
        assert torch.equal(a, b)
