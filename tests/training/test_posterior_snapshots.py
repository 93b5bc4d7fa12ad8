"""Snapshots of the posterior while a model trains."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import pinxit
from pinxit.errors import PinxitError
from pinxit.runs import Run
from pinxit.sampling.latents import gaussian_kl
from pinxit.training.posterior_snapshots import (
    MARKS,
    crosses_mark,
    drop_snapshots_after,
    has_snapshots,
    read_snapshots,
    save_snapshot,
)
from tests.builders import blobs, build_vae

SMALL = {"network": "mlp", "latent_dim": 4, "width": 16, "depth": 1}


@given(st.lists(st.floats(0.0, 1.0), max_size=300))
def test_a_training_has_at_most_a_snapshot_for_each_mark(fractions):
    fractions = [0.0, *sorted(fractions), 1.0]
    crossed = [crosses_mark(a, b) for a, b in itertools.pairwise(fractions)]
    assert sum(crossed) < len(MARKS)  # the first one is taken before training
    last = next(b for a, b in itertools.pairwise(fractions) if a < b == 1.0)
    assert crosses_mark(0.99 * last, last)


def test_a_snapshot_holds_the_posterior_in_a_plane_through_the_prior_mean(tmp_path):
    model, images = build_vae(), blobs()
    save_snapshot(model, Run(tmp_path), 7, images)
    (snapshot,) = read_snapshots(Run(tmp_path))
    posterior = model.encode(images)
    assert snapshot.step == 7
    assert np.array_equal(snapshot.label, images.labels)
    assert snapshot.rate == pytest.approx(float(gaussian_kl(posterior).sum(1).mean()), rel=1e-5)
    # an orthonormal basis of the plane, recovered from the coordinates
    basis = np.linalg.lstsq(posterior.mean, snapshot.mean, rcond=None)[0].T
    assert np.allclose(basis @ basis.T, np.eye(2), atol=1e-4)
    expected = np.einsum("id,nd,jd->nij", basis, posterior.std**2, basis)
    assert np.allclose(snapshot.covariance, expected, atol=1e-4)


def test_models_without_a_posterior_to_compare_with_n_0_i_have_no_snapshots():
    assert has_snapshots(build_vae())
    assert not has_snapshots(build_vae(prior="flow"))
    assert not has_snapshots(build_vae(posterior="deterministic"))
    assert not has_snapshots(torch.nn.Linear(1, 1))


def train(out, **options):
    config = pinxit.VAE(**SMALL)
    return pinxit.train(config, blobs(), out=out, batch_size=16, quiet=True, **options)


def test_a_training_keeps_a_snapshot_for_each_mark_and_drops_later_ones(tmp_path):
    run = Run(train(tmp_path / "run", steps=40).path)
    steps = [snapshot.step for snapshot in read_snapshots(run)]
    assert len(steps) == len(MARKS)
    assert (steps[0], steps[-1]) == (0, 40)
    drop_snapshots_after(run, 20)
    assert [s.step for s in read_snapshots(run)] == [step for step in steps if step <= 20]


def write(run, step, **changes):
    tensors = {"mean": torch.zeros(3, 2), "covariance": torch.eye(2).repeat(3, 1, 1)}
    tensors |= {"rate": torch.zeros(1), "label": torch.zeros(3, dtype=torch.int64)} | changes
    folder = run.path / "latents"
    folder.mkdir(exist_ok=True)
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(tensors, folder / f"step-{step:07d}.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": torch.zeros(3, 3)},
        {"mean": torch.full((3, 2), float("nan"))},
        {"label": None},
        {"rate": torch.zeros(0)},
        {"label": torch.zeros(0, dtype=torch.int64)},
        {"more": torch.zeros(1)},
        {"label": torch.zeros(3)},
        {"mean": torch.zeros(3, 2, dtype=torch.bfloat16)},
    ],
)
def test_damaged_snapshots_are_refused(tmp_path, changes):
    write(Run(tmp_path), 1)
    assert len(read_snapshots(Run(tmp_path))) == 1
    write(Run(tmp_path), 2, **changes)
    with pytest.raises(PinxitError, match="damaged"):
        read_snapshots(Run(tmp_path))


def test_snapshots_of_other_images_are_refused(tmp_path):
    write(Run(tmp_path), 1)
    write(Run(tmp_path), 2, label=torch.ones(3, dtype=torch.int64))
    with pytest.raises(PinxitError, match="different images"):
        read_snapshots(Run(tmp_path))


def test_other_files_are_no_snapshots_and_many_are_thinned_out(tmp_path):
    run = Run(tmp_path)
    for step in range(0, 400, 10):
        write(run, step)
    for name in ("step-x.safetensors", "step-.safetensors", ".step-0000001.safetensors.3.part"):
        (tmp_path / "latents" / name).write_bytes(b"")
    steps = [snapshot.step for snapshot in read_snapshots(run)]
    assert len(steps) == len(MARKS)
    assert (steps[0], steps[-1]) == (0, 390)
    (tmp_path / "latents" / "step-0000000.safetensors").write_bytes(b"damaged")
    with pytest.raises(PinxitError, match="damaged"):
        read_snapshots(run)
