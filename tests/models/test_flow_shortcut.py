"""Large steps that are learned: few of them must end where many small ones do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pinxit
from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.flow.config import Config
from pinxit.models.flow.integrate import integrate, step_times
from pinxit.models.flow.network import Condition, FlowTransformer, init_linear
from pinxit.models.flow.path import interpolate, sample_times
from pinxit.models.flow.shortcut import (
    MAX_LEVEL,
    StepCounts,
    level_of,
    sample_steps,
    two_half_steps,
)
from tests.builders import blobs

MEANS = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
WIDTH = 32


def sample_data(n: int) -> torch.Tensor:
    return (MEANS[torch.randint(0, 2, (n,))] + 0.2 * torch.randn(n, 2)).view(n, 2, 1, 1)


def learn(shortcuts: bool, steps: int = 600):
    torch.manual_seed(0)
    network, counts = FlowTransformer((2, 1, 1), WIDTH, 2, 1), StepCounts(WIDTH)
    init_linear(network)
    optimizer = torch.optim.AdamW([*network.parameters(), *counts.parameters()], 3e-3)

    def field_of(condition):
        return lambda x, t: network(x, t, condition)

    for _ in range(steps):
        data, nothing = sample_data(128), Condition(torch.zeros(128, WIDTH))
        noise, t = torch.randn_like(data), sample_times(128, data.device)
        x_t = interpolate(noise, data, t)
        loss = (network(x_t, t, nothing) - (data - noise)).square().mean()
        if shortcuts:
            level, start = sample_steps(128, data.device)
            x = interpolate(noise, data, start)
            target = two_half_steps(field_of, counts, nothing, x, start, level)
            ahead = field_of(counts.add_to(nothing, level))(x, start)
            loss = loss + (ahead - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return field_of, counts


def distance_to_modes(x: torch.Tensor) -> float:
    return float(torch.cdist(x.view(-1, 2), MEANS).amin(1).mean())


@pytest.mark.long
def test_one_learned_step_lands_where_one_of_euler_does_not():
    field_of, counts = learn(shortcuts=True)
    noise = torch.randn(1_000, 2, 1, 1, generator=torch.Generator().manual_seed(1))
    nothing = Condition(torch.zeros(1_000, WIDTH))
    learned = counts.add_to(nothing, torch.zeros(1_000, dtype=torch.long))
    with torch.no_grad():
        ends = {
            name: list(integrate(field_of(condition), noise, step_times(1), "euler"))[-1].x
            for name, condition in (("euler", nothing), ("shortcut", learned))
        }
    assert distance_to_modes(ends["euler"]) > 1.0, "the mean of both modes"
    assert distance_to_modes(ends["shortcut"]) < 0.5
    share = (ends["shortcut"][:, 0] > 0).float().mean()
    assert share == pytest.approx(0.5, abs=0.12)


def test_steps_begin_where_others_end():
    level, start = sample_steps(2_000, torch.device("cpu"))
    assert set(level.tolist()) == set(range(MAX_LEVEL + 1))
    position = start * 2.0**level
    assert torch.equal(position, position.round())
    assert ((start >= 0) & (start < 1)).all()


def test_the_numbers_of_steps_are_powers_of_two():
    assert [level_of(2**k) for k in range(MAX_LEVEL + 1)] == list(range(MAX_LEVEL + 1))
    for count in (3, 6, 2 ** (MAX_LEVEL + 1)):
        with pytest.raises(UsageError, match="1, 2, 4"):
            level_of(count)


def test_a_run_draws_in_few_steps(tmp_path):
    config = Config(condition="text", width=32, depth=1, text_depth=1, shortcut_share=0.25)
    run = pinxit.train(config, blobs(), out=tmp_path / "run", steps=3, batch_size=8, quiet=True)
    model = pinxit.load(run.path)
    calls, velocity = [], model.velocity

    def count(*args):
        calls.append(1)
        return velocity(*args)

    model.velocity = count
    images = model.draw(["a red blob"], solver="shortcut", guidance=1)
    assert len(calls) == 4
    assert np.array_equal(
        images.pixels, model.draw(["a red blob"], solver="shortcut", guidance=1).pixels
    )
    with pytest.raises(UsageError, match="1, 2, 4"):
        model.sample(1, solver="shortcut", steps=5)
    with pytest.raises(UsageError, match="strength"):
        model.edit(images, ["a red blob"], solver="shortcut")


def test_a_run_without_them_says_so():
    model = build_model(Config(width=32, depth=1), blobs(), np.arange(48))[0]
    with pytest.raises(UsageError, match="--shortcut-share"):
        model.sample(1, solver="shortcut")
