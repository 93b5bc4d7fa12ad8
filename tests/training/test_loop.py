"""The training loop: what a step does, and which updates it skips."""

from __future__ import annotations

import math

import pytest
import torch
from lightning_fabric import Fabric

from pinxit.training.loop import Counters, StepResult, _optimizer_step, create_train_state
from pinxit.training.optimizers import build_optimizer
from pinxit.training.schedule import ema_decay_at
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs
from tests.training.fake_model import SETTINGS, MeanImageModel, make_state, run_steps


def test_loss_falls_to_that_of_the_mean_image():
    steps = run_steps(make_state(MeanImageModel()), blobs(), 600)
    x = torch.from_numpy(blobs().pixels).flatten(1).float() / 255
    best = x.var(0, correction=0).sum() + 64 * 0.01  # variance of the images and of the noise
    last = sum(float(step.loss) for step in steps[-100:]) / 100
    assert float(steps[0].loss) > 1.3 * best
    assert last == pytest.approx(float(best), rel=0.05)


def test_steps_report_number_progress_and_unit():
    steps = run_steps(make_state(MeanImageModel()), blobs(), 10)
    assert [step.step for step in steps] == list(range(1, 11))
    assert [step.progress for step in steps] == pytest.approx([n / 10 for n in range(1, 11)])
    assert [step.progress_before for step in steps] == pytest.approx([n / 10 for n in range(10)])
    assert sum(step.crosses(5) for step in steps) == 5, "each mark is crossed once"
    assert steps[-1].crosses(5), "the last step crosses the last mark"
    assert steps[0].unit == "squared error"
    assert not any(step.skipped for step in steps)


def test_model_gets_the_progress_of_the_budget():
    model = MeanImageModel()
    run_steps(make_state(model), blobs(), 4)
    assert model.progress == [0.0, 0.25, 0.5, 0.75]


def test_moving_average_follows_its_recurrence():
    model, weights = MeanImageModel(), []
    state = make_state(model, ema_decay=0.9)
    state.optimizer.register_step_post_hook(
        lambda *_: weights.append(model.weight.detach().clone())
    )
    expected = model.weight.detach().double().clone()
    run_steps(state, blobs(), 30, ema_decay=0.9)
    assert len(weights) == 30
    for step, weight in enumerate(weights):
        decay = ema_decay_at(0.9, step)
        expected = decay * expected + (1 - decay) * weight.double()
    assert torch.allclose(state.ema_params[0].double(), expected, atol=1e-6)


def test_a_step_depends_on_its_number_and_the_state_only():
    """Restarted at step 5 with the weights, moments and counters of then, all losses are equal."""
    model = MeanImageModel()
    state = make_state(model)
    first = run_steps(state, blobs(), 100, last=5)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    moments = [
        {k: v.clone() for k, v in state.optimizer.state[p].items()} for p in model.parameters()
    ]
    mean_grad_norm = state.counters.mean_grad_norm
    torch.manual_seed(12345)  # the generator's state before does not matter
    expected = [float(step.loss) for step in run_steps(state, blobs(), 100, last=10)]
    other = MeanImageModel()
    other.load_state_dict(weights)
    restarted = make_state(other, Counters(step=5, mean_grad_norm=mean_grad_norm))
    for p, values in zip(other.parameters(), moments, strict=True):
        restarted.optimizer.state[p] = values
    steps = run_steps(restarted, blobs(), 100, last=10)
    assert [float(step.loss) for step in steps] == expected
    assert len(first) == 5


NOT_FINITE = {
    "loss and gradient": lambda total: total * math.nan,
    "gradient alone": lambda total: total + 0 * (total - total.detach()).sqrt(),
    "loss alone": lambda total: total + math.inf,
}


@pytest.mark.parametrize("kind", NOT_FINITE)
def test_updates_that_are_not_finite_are_skipped_and_counted(kind):
    def spoil(call, total):
        return NOT_FINITE[kind](total) if call in {3, 4, 7} else total

    model = MeanImageModel(spoil=spoil)
    state, updated = make_state(model), []
    state.optimizer.register_step_post_hook(lambda *_: updated.append(state.counters.step + 1))
    steps = run_steps(state, blobs(), 10)
    assert [step.step for step in steps if step.skipped] == [3, 4, 7]
    assert updated == [1, 2, 5, 6, 8, 9, 10]
    assert state.counters.skipped == 3
    assert state.counters.skipped_in_a_row == 0
    assert all(p.isfinite().all() for p in model.parameters())
    assert all(ema.isfinite().all() for ema in state.ema_params)


def test_large_gradients_are_clipped_to_a_multiple_of_the_mean_norm():
    model = MeanImageModel(spoil=lambda call, total: total * (1e4 if call == 6 else 1))
    state, norms = make_state(model, grad_clip_factor=4.0), []

    def measure(*_):
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])))

    state.optimizer.register_step_pre_hook(measure)
    steps = run_steps(state, blobs(), 8, grad_clip_factor=4.0)
    assert steps[5].grad_norm > 1000 * steps[4].grad_norm
    assert norms[5] <= 4.01 * max(norms[:5])
    assert norms[4] == pytest.approx(steps[4].grad_norm), "an ordinary gradient is not clipped"


def test_vectors_and_scalars_have_no_weight_decay():
    groups = build_optimizer(MeanImageModel(), TrainingSettings(weight_decay=0.3)).param_groups
    assert [(g["weight_decay"], [p.ndim for p in g["params"]]) for g in groups] == [
        (0.3, [2]),
        (0.0, [1]),
    ]


@pytest.mark.parametrize(("factor", "expected"), [(5.0, 4.0), (3.0, 3.0), (0.5, 0.5)])
def test_clipping_begins_at_the_stated_multiple_of_the_mean_norm(factor, expected):
    """`factor` times the mean norm is the norm of the gradient, `expected` after clipping at 4."""
    model = MeanImageModel()
    state = make_state(model, Counters(mean_grad_norm=2.0), grad_clip_factor=4.0)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    for p in model.parameters():
        p.grad *= factor * 2.0 / norm
    norms = []
    state.optimizer.register_step_pre_hook(
        lambda *_: norms.append(
            float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]))
        )
    )
    options = TrainingSettings(grad_clip_factor=4.0, batch_size=8, learning_rate=0.01)
    _optimizer_step(state, factor * 2.0, options)
    assert norms == pytest.approx([expected * 2.0])


def test_the_learning_rate_of_a_step_is_that_of_each_group_of_parameters():
    """Muon's rate is 7 times AdamW's: the ratio that a group has is kept in every step."""
    state = make_state(MeanImageModel())
    (group, *_) = state.optimizer.param_groups
    group["lr_ratio"] = 7.0
    rates = []
    state.optimizer.register_step_pre_hook(
        lambda *_: rates.append([group["lr"] for group in state.optimizer.param_groups])
    )
    steps = run_steps(state, blobs(), 3)
    for step, (first, *others) in zip(steps, rates, strict=True):
        assert first == pytest.approx(7 * step.learning_rate)
        assert others == pytest.approx([step.learning_rate] * len(others))


class OneOfTwoProcesses(Fabric):
    """Fabric as in one of two processes; sums over processes are recorded."""

    def __init__(self, rank: int) -> None:
        super().__init__(accelerator="cpu")
        self.rank, self.reduced = rank, []

    @property
    def world_size(self) -> int:
        return 2

    @property
    def global_rank(self) -> int:
        return self.rank

    def all_reduce(self, data, group=None, reduce_op="mean"):
        self.reduced.append((float(data), reduce_op))
        return torch.tensor(42.0)


class DrawRecorder(MeanImageModel):
    """Records the random numbers and the images of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[torch.Tensor] = []
        self.pixels: list[torch.Tensor] = []
        self.losses: list[float] = []

    def loss(self, batch, progress=1.0):
        self.draws.append(torch.rand(4))
        self.pixels.append(batch.pixels.clone())
        loss = super().loss(batch, progress)
        self.losses.append(float(loss.total))
        return loss


def run_process(rank: int) -> tuple[DrawRecorder, OneOfTwoProcesses, list[StepResult]]:
    model, fabric = DrawRecorder(), OneOfTwoProcesses(rank)
    state = create_train_state(model, TrainingSettings(**SETTINGS), fabric)
    return model, fabric, run_steps(state, blobs(), 3)


def test_each_process_draws_its_own_noise_for_its_own_share_of_the_batch():
    (first, *_), (second, *_) = run_process(0), run_process(1)
    for a, b in zip(first.draws, second.draws, strict=True):
        assert not torch.equal(a, b)
    for a, b in zip(first.pixels, second.pixels, strict=True):
        assert a.shape == b.shape == (4, 8, 8, 1)
        assert not torch.equal(a, b)
    again, *_ = run_process(1)
    assert all(map(torch.equal, again.draws, second.draws)), "and the same ones every time"


def test_the_loss_of_a_step_is_the_mean_over_the_whole_batch():
    """The sum of the losses of the processes, each times its share of the batch."""
    model, fabric, steps = run_process(0)
    assert [float(step.loss) for step in steps] == [42.0] * 3
    assert [op for _, op in fabric.reduced] == ["sum"] * 3
    values = [value for value, _ in fabric.reduced]
    assert values == pytest.approx([loss / 2 for loss in model.losses])
