"""Muon: directions of singular values near one, torch's own updates, AdamW for the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.igpt.config import Config
from pinxit.models.vae.config import Config as VAE
from pinxit.nn.layers import ResidualConv
from pinxit.training.muon import FASTER, hidden_matrices, orthogonal
from pinxit.training.optimizers import build_optimizer
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs


def model():
    return build_model(Config(width=16, depth=2, heads=2), blobs(), np.arange(48))[0]


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 16, 4), (2, 4, 16)])
def test_singular_values_are_near_one_and_directions_stay(shape, bf16):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    found = orthogonal(matrices, bf16).float()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3, "those that were near zero are on their way"
    assert values.median() > 0.65
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    nearest = u @ v
    cosine = (found * nearest).sum((1, 2)) / (found.norm(dim=(1, 2)) * nearest.norm(dim=(1, 2)))
    assert cosine.min() > 0.95


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_are_those_of_torch(precision):
    torch.manual_seed(0)
    ours, theirs, start = model(), model(), model()  # of one seed
    settings = TrainingSettings(
        optimizer="muon", learning_rate=1e-3, weight_decay=0.01, precision=precision
    )
    mine = build_optimizer(ours, settings)
    for group in mine.param_groups:  # as the loop sets them
        group["lr"] = 1e-3 * group.get("faster", 1.0)
    matrices = hidden_matrices(theirs)
    known = {id(p) for p in matrices}
    rest = [p for p in theirs.parameters() if id(p) not in known]
    others = [
        torch.optim.Muon(matrices, 1e-3 * FASTER, weight_decay=0.01 / FASTER, momentum=0.95),
        torch.optim.AdamW([p for p in rest if p.ndim > 1], 1e-3, weight_decay=0.01),
        torch.optim.AdamW([p for p in rest if p.ndim <= 1], 1e-3, weight_decay=0.0),
    ]
    for step in range(3):
        batch = blobs().batch(np.arange(48)[step::3])
        for one, optimizers in ((ours, [mine]), (theirs, others)):
            one.loss(batch).total.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
    pairs, began = dict(theirs.named_parameters()), dict(start.named_parameters())
    for name, p in ours.named_parameters():
        moved, peer = ((q - began[name]).detach().flatten() for q in (p, pairs[name]))
        assert torch.cosine_similarity(moved, peer, 0) > 0.97, f"{name}: torch's are of bf16"
        assert 0.95 < moved.norm() / peer.norm() < 1.05


def test_a_convolution_turns_as_the_matrix_of_its_kernels():
    torch.manual_seed(0)
    conv = ResidualConv(8)
    settings = TrainingSettings(optimizer="muon", learning_rate=0.1, weight_decay=0.0)
    optimizer = build_optimizer(conv, settings)
    before = conv.conv1.weight.detach().clone()
    conv.conv1.weight.grad = torch.randn(8, 8, 3, 3)
    optimizer.step()
    moved = (before - conv.conv1.weight.detach()) / 0.1
    wanted = orthogonal(conv.conv1.weight.grad.flatten(1)[None])[0]
    assert torch.allclose(moved.flatten(1), wanted, atol=1e-4)


def test_auto_takes_it_where_there_are_such_layers_and_nowhere_else():
    def kinds(one, **options):
        return sum(
            group["muon"]
            for group in build_optimizer(one, TrainingSettings(**options)).param_groups
        )

    assert [kinds(model(), optimizer=name) for name in ("auto", "muon", "adamw")] == [1, 1, 0]
    vae = build_model(VAE(), blobs(), np.arange(48))[0]
    assert kinds(vae) == 0
    assert kinds(build_model(VAE(network="conv"), blobs(), np.arange(48))[0]) == 1
    with pytest.raises(UsageError, match="has neither"):
        kinds(vae, optimizer="muon")
    with pytest.raises(UsageError, match="auto, adamw or muon"):
        TrainingSettings(optimizer="sgd")  # type: ignore[arg-type]


def test_every_parameter_is_in_one_group():
    one = model()
    groups = build_optimizer(one, TrainingSettings()).param_groups
    parameters = [id(p) for group in groups for p in group["params"]]
    assert sorted(parameters) == sorted(id(p) for p in one.parameters())
