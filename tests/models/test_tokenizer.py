"""The image tokenizer: quantization, codes to vectors and back, and the codebook's updates."""

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
def test_codes_and_vectors_are_one_to_one(levels):
    fsq = FSQ(levels)
    codes = torch.arange(np.prod(levels))
    vectors = fsq.dequantize(codes)
    assert len({tuple(v) for v in vectors.tolist()}) == len(codes)
    digits = (vectors * (fsq.levels // 2)).round().long() + fsq.levels // 2
    assert torch.equal((digits * fsq.basis).sum(-1), codes)


@given(
    shift=st.floats(-100, 100),
    scale=st.floats(0.01, 100),
    dtype=st.sampled_from([torch.bfloat16, torch.float16]),
    seed=st.integers(0, 99),
)
def test_codes_are_those_of_the_nearest_vectors_in_any_precision(shift, scale, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    vq = VQ(64, 4).eval()
    vq.codebook.copy_(scale * torch.randn(64, 4, generator=generator) + shift)
    z = scale * torch.randn(200, 4, generator=generator) + shift
    codes = vq.nearest(z)
    with torch.autocast("cpu", dtype):
        assert torch.equal(vq.nearest(z), codes)
        assert torch.equal(vq(z[None]).codes[0], codes)
    distances = torch.cdist(z.double(), vq.codebook.double())
    excess = distances.gather(1, codes[:, None])[:, 0] - distances.amin(1)
    assert (excess < 1e-3 * scale).all()


@given(
    levels=st.lists(st.integers(3, 9), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 9),
)
def test_quantized_vectors_are_those_of_their_codes(levels, seed):
    fsq = FSQ(levels)
    z = 4 * torch.randn(50, len(levels), generator=torch.Generator().manual_seed(seed))
    quantized = fsq(z)
    assert torch.allclose(quantized.vectors, fsq.dequantize(quantized.codes), atol=1e-5)
    assert quantized.codes.min() >= 0
    assert quantized.codes.max() < np.prod(levels)


@given(levels=st.lists(st.integers(3, 9), min_size=1, max_size=4).map(tuple))
def test_noise_shifts_one_dimension_by_one_level_and_keeps_the_code(levels):
    fsq = FSQ(levels, noise=1.0).train()
    z = 3 * torch.randn(200, len(levels))
    noisy, exact = fsq(z), fsq.eval()(z)
    assert torch.equal(noisy.codes, exact.codes)
    steps = ((noisy.vectors - exact.vectors) * (fsq.levels // 2)).round().abs()
    assert (steps.sum(-1) <= 1).all(), "a shift beyond the outermost level is clamped"
    assert steps.sum() > 50
    assert (noisy.vectors.abs() <= 1 + 1e-6).all()


def test_every_level_is_reachable():
    fsq = FSQ((8, 5))
    line = torch.linspace(-9, 9, 400)
    z = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    assert len(fsq(z).codes.unique()) == 40


def test_gradients_are_straight_through():
    fsq, z = FSQ((5, 5)), torch.tensor([[0.3, -0.2]], requires_grad=True)
    fsq(z).vectors.sum().backward()
    straight_through = z.grad.clone()
    z.grad = None
    (fsq.bound(z) / (fsq.levels // 2)).sum().backward()
    assert torch.allclose(straight_through, z.grad)


def test_vq_returns_the_nearest_code():
    vq = VQ(7, 3).eval()
    z = torch.randn(40, 3)
    expected = [int(np.argmin([float((v - c).square().sum()) for c in vq.codebook])) for v in z]
    assert vq(z).codes.tolist() == expected


def test_codebook_follows_the_vectors_and_dead_codes_are_reset():
    torch.manual_seed(0)
    vq = VQ(8, 2).train()
    centers = torch.tensor(list(itertools.product((-5.0, 0.0, 5.0), (-5.0, 5.0))))
    vq.codebook.copy_(torch.cat([centers + 1, torch.full((2, 2), 100.0)]))  # two are far away
    vq.counts.fill_(1.0)
    vq.sums.copy_(vq.codebook)
    for _ in range(600):
        vq(centers[torch.randint(6, (64,))] + 0.1 * torch.randn(64, 2))
    assert (torch.cdist(centers, vq.codebook).amin(1) < 0.3).all(), "codes follow the vectors"
    assert (torch.cdist(vq.codebook, centers).amin(1) < 0.3).all(), "dead codes are reset"


def test_vq_codebook_is_the_ratio_of_moving_averages():
    """N = 0.99 N + 0.01 n, m = 0.99 m + 0.01 sum, e = m / N (van den Oord 2017, app. A.1)."""
    vq = VQ(2, 1).train()
    vq.codebook.copy_(torch.tensor([[0.0], [10.0]]))
    vq.counts.fill_(2.0)
    vq.sums.copy_(2 * vq.codebook)
    counts, sums = [2.0, 2.0], [0.0, 20.0]
    for batch in ([1.0, 2.0, 11.0], [-1.0, 9.0, 9.0]):
        vq(torch.tensor(batch)[:, None])
        for code, vectors in enumerate(([v for v in batch if v < 5], [v for v in batch if v > 5])):
            counts[code] = 0.99 * counts[code] + 0.01 * len(vectors)
            sums[code] = 0.99 * sums[code] + 0.01 * sum(vectors)
    assert vq.counts.tolist() == pytest.approx(counts)
    expected = [total / count for total, count in zip(sums, counts, strict=True)]
    assert vq.codebook[:, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("quantizer", ["fsq", "vq"])
def test_tokens_decode_to_the_reconstruction(quantizer):
    model, images = small(quantizer=quantizer, patch_size=2, codebook_size=32), blobs(9)
    tokens = model.tokenize(images)
    assert tokens.shape == (9, 4, 4)
    assert tokens.max() < model.vocab_size
    pixels = model.detokenize(tokens).pixels
    assert np.array_equal(pixels, model.reconstruct(images).pixels)
    assert np.array_equal(tokens[3:5], model.tokenize(images[3:5]))


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", ["fsq", "vq"])
def test_training_improves_reconstruction(quantizer):
    torch.manual_seed(0)
    model = small(quantizer=quantizer, patch_size=2, codebook_size=64).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    batch = blobs().batch(np.arange(48))
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(batch).total.backward()
        optimizer.step()
    model.eval()
    test = blobs().split("test")
    error = test.pixels.astype(float) - model.reconstruct(test).pixels
    deviation = test.pixels.astype(float) - test.pixels.mean()
    assert (error**2).mean() < 0.15 * (deviation**2).mean()


def test_perplexity_is_the_effective_number_of_codes():
    assert perplexity(torch.arange(8), 20) == pytest.approx(8)
    assert perplexity(torch.zeros(8, dtype=torch.long), 20) == pytest.approx(1)


def test_invalid_options_and_tokens_are_rejected():
    info = blobs().info()
    with pytest.raises(UsageError, match="does not divide images of 8 x 8; these do: 1, 2, 4, 8"):
        Config(patch_size=3).resolve(info)
    with pytest.raises(UsageError, match="fsq_levels must be 3 or more"):
        Config(fsq_levels=(8, 1))
    model = small(patch_size=2)
    with pytest.raises(UsageError, match="tokens must be"):
        model.detokenize(np.zeros((1, 8, 8), int))
    with pytest.raises(UsageError, match="between 0 and 999"):
        model.detokenize(np.full((1, 4, 4), 1000))
    with pytest.raises(UsageError, match="takes images of 8x8x1"):
        model.tokenize(blobs(2, 16, 16))
