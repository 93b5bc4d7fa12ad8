"""Image tokens: rounding, codes and back, codebooks that live."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.tokenizer.config import Config
from pinxit.models.tokenizer.model import perplexity
from pinxit.models.tokenizer.quantizers import FSQ, VQ
from tests.builders import blobs


def small(**options):
    options = {"width": 16, "depth": 1, **options}
    return build_model(Config(**options), blobs(), np.arange(48))[0].eval()


@given(levels=st.lists(st.integers(3, 9), min_size=1, max_size=4).map(tuple))
def test_every_code_is_a_vector_and_every_vector_that_code(levels):
    fsq = FSQ(levels)
    codes = torch.arange(np.prod(levels))
    vectors = fsq.vectors(codes)
    assert len({tuple(v) for v in vectors.tolist()}) == len(codes)
    digits = (vectors * (fsq.levels // 2)).round().long() + fsq.levels // 2
    assert torch.equal((digits * fsq.places).sum(-1), codes)


@given(
    levels=st.lists(st.integers(3, 9), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 9),
)
def test_rounding_gives_the_vector_of_its_code(levels, seed):
    fsq = FSQ(levels)
    z = 4 * torch.randn(50, len(levels), generator=torch.Generator().manual_seed(seed))
    found = fsq(z)
    assert torch.allclose(found.vectors, fsq.vectors(found.codes), atol=1e-5)
    assert found.codes.min() >= 0
    assert found.codes.max() < np.prod(levels)


@given(levels=st.lists(st.integers(3, 9), min_size=1, max_size=4).map(tuple))
def test_noise_moves_one_number_by_one_level_and_leaves_the_code(levels):
    fsq = FSQ(levels, noise=1.0).train()
    z = 3 * torch.randn(200, len(levels))
    found, quiet = fsq(z), fsq.eval()(z)
    assert torch.equal(found.codes, quiet.codes)
    steps = ((found.vectors - quiet.vectors) * (fsq.levels // 2)).round().abs()
    assert (steps.sum(-1) <= 1).all(), "an outermost level may stay"
    assert steps.sum() > 50
    assert (found.vectors.abs() <= 1 + 1e-6).all()


def test_every_level_can_be_reached():
    fsq = FSQ((8, 5))
    line = torch.linspace(-9, 9, 400)
    z = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    assert len(fsq(z).codes.unique()) == 40


def test_gradients_pass_the_rounding_as_if_it_were_not_there():
    fsq, z = FSQ((5, 5)), torch.tensor([[0.3, -0.2]], requires_grad=True)
    fsq(z).vectors.sum().backward()
    through = z.grad.clone()
    z.grad = None
    (fsq.bounded(z) / (fsq.levels // 2)).sum().backward()
    assert torch.allclose(through, z.grad)


def test_vq_takes_the_nearest_code():
    vq = VQ(7, 3).eval()
    z = torch.randn(40, 3)
    slow = [int(np.argmin([float((one - c).square().sum()) for c in vq.codebook])) for one in z]
    assert vq(z).codes.tolist() == slow


def test_the_codebook_follows_the_vectors_and_dead_codes_are_revived():
    torch.manual_seed(0)
    vq = VQ(8, 2).train()
    centres = torch.tensor(list(itertools.product((-5.0, 0.0, 5.0), (-5.0, 5.0))))
    vq.codebook.copy_(torch.cat([centres + 1, torch.full((2, 2), 100.0)]))  # two far from all
    vq.counts.fill_(1.0)
    vq.sums.copy_(vq.codebook)
    for _ in range(600):
        vq(centres[torch.randint(6, (64,))] + 0.1 * torch.randn(64, 2))
    assert (torch.cdist(centres, vq.codebook).amin(1) < 0.3).all(), "codes follow the vectors"
    assert (torch.cdist(vq.codebook, centres).amin(1) < 0.3).all(), "no code is left far away"


@pytest.mark.parametrize("kind", ["fsq", "vq"])
def test_tokens_decode_to_the_reconstruction(kind):
    model, images = small(quantizer=kind, patch_size=2, codebook_size=32), blobs(9)
    tokens = model.tokenize(images)
    assert tokens.shape == (9, 4, 4)
    assert tokens.max() < model.vocab_size
    made = model.detokenize(tokens).pixels
    assert np.array_equal(made, model.reconstruct(images).pixels)
    assert np.array_equal(tokens[3:5], model.tokenize(images[3:5]))


@pytest.mark.parametrize("kind", ["fsq", "vq"])
def test_it_learns_to_reconstruct(kind):
    torch.manual_seed(0)
    model = small(quantizer=kind, patch_size=2, codebook_size=64).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    batch = blobs().batch(np.arange(48))
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(batch).total.backward()
        optimizer.step()
    model.eval()
    test = blobs().split("test")
    wrong = test.pixels.astype(float) - model.reconstruct(test).pixels
    flat = test.pixels.astype(float) - test.pixels.mean()
    assert (wrong**2).mean() < 0.15 * (flat**2).mean()


def test_perplexity_counts_codes_as_if_used_evenly():
    assert perplexity(torch.arange(8), 20) == pytest.approx(8)
    assert perplexity(torch.zeros(8, dtype=torch.long), 20) == pytest.approx(1)


def test_what_cannot_be_is_refused():
    info = blobs().info()
    with pytest.raises(UsageError, match="does not divide images of 8 x 8; these do: 1, 2, 4, 8"):
        Config(patch_size=3).resolve(info)
    with pytest.raises(UsageError, match="fsq_levels are 3 or more"):
        Config(fsq_levels=(8, 1))
    model = small(patch_size=2)
    with pytest.raises(UsageError, match="tokens are"):
        model.detokenize(np.zeros((1, 8, 8), int))
    with pytest.raises(UsageError, match="numbers from 0 to 999"):
        model.detokenize(np.full((1, 4, 4), 1000))
    with pytest.raises(UsageError, match="takes images of 8x8x1"):
        model.tokenize(blobs(2, 16, 16))
