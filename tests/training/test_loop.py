"""The loop: what a step does, and what it refuses to do."""

from __future__ import annotations

import math

import pytest
import torch

from pinxit.training.loop import Counters, train_steps
from pinxit.training.optimizers import build_optimizer
from pinxit.training.schedule import ema_decay_at
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs
from tests.training.trainers import SETTINGS, Regression, steps, trainer


def test_the_loss_falls_to_that_of_the_mean_image():
    model = Regression()
    done = steps(trainer(model), blobs(), 600)
    x = torch.from_numpy(blobs().pixels).flatten(1).float() / 255
    best = x.var(0, correction=0).sum() + 64 * 0.01  # spread of the images, and the noise
    last = sum(float(step.loss) for step in done[-100:]) / 100
    assert float(done[0].loss) > 1.3 * best
    assert last == pytest.approx(float(best), rel=0.05)


def test_steps_tell_what_happened():
    done = steps(trainer(Regression()), blobs(), 10)
    assert [step.number for step in done] == list(range(1, 11))
    assert [step.progress for step in done] == pytest.approx([n / 10 for n in range(1, 11)])
    assert [step.before for step in done] == pytest.approx([n / 10 for n in range(10)])
    assert sum(step.passed(5) for step in done) == 5, "each mark is passed once"
    assert done[-1].passed(5), "the last step passes the last mark"
    assert done[0].unit == "squared error"
    assert not any(step.skipped for step in done)


def test_the_model_is_told_how_far_the_budget_is():
    model = Regression()
    steps(trainer(model), blobs(), 4)
    assert model.seen == [0.0, 0.25, 0.5, 0.75]


def test_the_running_average_is_its_recurrence():
    model, kept = Regression(), []
    run = trainer(model, ema_decay=0.9)
    run.optimizer.register_step_post_hook(lambda *_: kept.append(model.weight.detach().clone()))
    expected = model.weight.detach().double().clone()
    steps(run, blobs(), 30, ema_decay=0.9)
    assert len(kept) == 30
    for step, weight in enumerate(kept):
        decay = ema_decay_at(0.9, step)
        expected = decay * expected + (1 - decay) * weight.double()
    assert torch.allclose(run.average[0].double(), expected, atol=1e-6)


def test_a_step_is_a_function_of_its_number_and_the_weights_alone():
    """Begun at step 5 with the weights, moments and counts of then, all later losses are equal."""
    model = Regression()
    first = trainer(model)
    before = steps(first, blobs(), 5, steps=20)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    moments = [
        {k: v.clone() for k, v in first.optimizer.state[p].items()} for p in model.parameters()
    ]
    torch.manual_seed(12345)  # what else draws in between does not matter
    norm = first.state.norm
    whole = [float(step.loss) for step in _on(first, 5)]
    other = Regression()
    other.load_state_dict(weights)
    second = trainer(other, Counters(step=5, norm=norm))
    for p, kept in zip(other.parameters(), moments, strict=True):
        second.optimizer.state[p] = kept
    assert [float(step.loss) for step in _on(second, 5)] == whole
    assert len(before) == 5


def _on(of, more):
    """So many more steps, of a budget of 100."""
    chosen, images, end = TrainingSettings(**SETTINGS, steps=100), blobs(), of.state.step + more
    rows = images.split_indices("all")
    return list(
        train_steps(of, images, rows, chosen, lambda s: 1.0 if s.step >= end else s.step / 100)
    )


NOT_FINITE = {
    "loss and gradient": lambda total: total * math.nan,
    "gradient alone": lambda total: total + 0 * (total - total.detach()).sqrt(),
    "loss alone": lambda total: total + math.inf,
}


@pytest.mark.parametrize("kind", NOT_FINITE)
def test_an_update_that_is_not_finite_is_skipped_and_counted(kind):
    spoiled = {3, 4, 7}
    model = Regression(
        change=lambda call, total: NOT_FINITE[kind](total) if call in spoiled else total
    )
    run, kept = trainer(model), []
    run.optimizer.register_step_post_hook(lambda *_: kept.append(run.state.step + 1))
    done = steps(run, blobs(), 10)
    assert [step.number for step in done if step.skipped] == [3, 4, 7]
    assert kept == [1, 2, 5, 6, 8, 9, 10]
    assert run.state.skipped == 3
    assert run.state.skipped_in_a_row == 0
    assert all(p.isfinite().all() for p in model.parameters())
    assert all(average.isfinite().all() for average in run.average)


def test_a_wild_gradient_is_cut_to_a_few_times_the_usual_norm():
    model = Regression(change=lambda call, total: total * (1e4 if call == 6 else 1))
    run, norms = trainer(model, grad_clip_factor=4.0), []

    def measure(*_):
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])))

    run.optimizer.register_step_pre_hook(measure)
    done = steps(run, blobs(), 8, grad_clip_factor=4.0)
    assert done[5].norm > 1000 * done[4].norm
    assert norms[5] <= 4.01 * max(norms[:5])
    assert norms[4] == pytest.approx(done[4].norm), "an ordinary one is left as it is"


def test_vectors_and_scalars_do_not_decay():
    groups = build_optimizer(Regression(), TrainingSettings(weight_decay=0.3)).param_groups
    assert [(g["weight_decay"], [p.ndim for p in g["params"]]) for g in groups] == [
        (0.3, [2]),
        (0.0, [1]),
    ]
