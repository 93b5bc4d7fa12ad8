"""Muon: singular values near one, the updates of torch's own Muon, AdamW for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.igpt.config import Config as IGPTConfig
from pinxit.models.vae.config import Config as VAEConfig
from pinxit.nn.layers import ResidualConv
from pinxit.training.muon import LR_RATIO, find_hidden_matrices, orthogonalize
from pinxit.training.optimizers import build_optimizer
from pinxit.training.prepare import check_model_settings
from pinxit.training.settings import TrainingSettings
from tests.builders import blobs


def build(config: Any = None) -> Any:
    """A model from seed 0; by default a transformer."""
    config = config or IGPTConfig(width=16, depth=2, heads=2)
    return build_model(config, blobs(), np.arange(48))[0]


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 16, 4), (2, 4, 16)])
def test_orthogonalized_matrices_have_singular_values_near_one(shape, bf16):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    result = orthogonalize(matrices, bf16).float()
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.3, "values near zero grow more slowly"
    assert values.median() > 0.65
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    exact = u @ v
    cosine = (result * exact).sum((1, 2)) / (result.norm(dim=(1, 2)) * exact.norm(dim=(1, 2)))
    assert cosine.min() > 0.95


def torch_optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """torch's own Muon for the hidden matrices and AdamW for the rest."""
    matrices = find_hidden_matrices(model)
    hidden = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in hidden]
    return [
        torch.optim.Muon(matrices, 1e-3 * LR_RATIO, weight_decay=0.01 / LR_RATIO, momentum=0.95),
        torch.optim.AdamW([p for p in rest if p.ndim > 1], 1e-3, weight_decay=0.01),
        torch.optim.AdamW([p for p in rest if p.ndim <= 1], 1e-3, weight_decay=0.0),
    ]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_updates_agree_with_torch(precision):
    torch.manual_seed(0)
    ours, reference, initial = build(), build(), build()
    settings = TrainingSettings(
        optimizer="muon", learning_rate=1e-3, weight_decay=0.01, precision=precision
    )
    optimizer = build_optimizer(ours, settings)
    for group in optimizer.param_groups:  # as the training loop sets them
        group["lr"] = 1e-3 * group.get("lr_ratio", 1.0)
    models = ((ours, [optimizer]), (reference, torch_optimizers(reference)))
    for step in range(3):
        batch = blobs().batch(np.arange(48)[step::3])
        for model, optimizers in models:
            model.loss(batch).total.backward()
            for each in optimizers:
                each.step()
                each.zero_grad()
    expected, start = dict(reference.named_parameters()), dict(initial.named_parameters())
    for name, p in ours.named_parameters():
        update, other = ((q - start[name]).detach().flatten() for q in (p, expected[name]))
        assert torch.cosine_similarity(update, other, 0) > 0.97, f"{name}: torch computes in bf16"
        assert 0.95 < update.norm() / other.norm() < 1.05


def test_a_convolution_is_updated_as_the_matrix_of_its_kernels():
    torch.manual_seed(0)
    conv = ResidualConv(8)
    settings = TrainingSettings(optimizer="muon", learning_rate=0.1, weight_decay=0.0)
    optimizer = build_optimizer(conv, settings)
    weight = find_hidden_matrices(conv)[0]
    before = weight.detach().clone()
    weight.grad = torch.randn(8, 8, 3, 3)
    optimizer.step()
    update = (before - weight.detach()) / 0.1
    expected = orthogonalize(weight.grad.flatten(1)[None])[0]
    assert torch.allclose(update.flatten(1), expected, atol=1e-4)


def test_auto_uses_muon_if_the_model_has_hidden_matrices():
    def num_muon_groups(model, **options):
        groups = build_optimizer(model, TrainingSettings(**options)).param_groups
        return sum(group["muon"] for group in groups)

    counts = [num_muon_groups(build(), optimizer=name) for name in ("auto", "muon", "adamw")]
    assert counts == [1, 1, 0]
    mlp = build(VAEConfig())
    assert num_muon_groups(mlp) == 0
    assert num_muon_groups(build(VAEConfig(network="conv"))) == 1
    with pytest.raises(UsageError, match="needs a model with transformer layers or residual conv"):
        check_model_settings(mlp, TrainingSettings(optimizer="muon"))
    with pytest.raises(UsageError, match="auto, adamw or muon"):
        TrainingSettings(optimizer="sgd")  # type: ignore[arg-type]


def test_every_parameter_is_in_exactly_one_group():
    model = build()
    groups = build_optimizer(model, TrainingSettings()).param_groups
    parameters = [id(p) for group in groups for p in group["params"]]
    assert sorted(parameters) == sorted(id(p) for p in model.parameters())
