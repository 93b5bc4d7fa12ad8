"""iGPT: palettes, exact likelihoods, masked prediction, cached decoding against full passes."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.data.masks import half_mask
from pinxit.errors import PinxitError, UsageError
from pinxit.models import build_model
from pinxit.models.igpt import build
from pinxit.models.igpt.config import Config
from pinxit.models.igpt.generate import (
    DECODE_BATCH,
    GenerationInputs,
    decode_cached,
    decode_reference,
    generate,
)
from pinxit.models.tokenizer.config import Config as TokenizerConfig
from pinxit.nn.palette import quantize
from pinxit.nn.pixels import patchify, unpatchify
from pinxit.nn.rng import per_image_uniform
from pinxit.nn.token_sampling import SamplingParams
from tests.builders import blobs

TINY = {"width": 16, "depth": 2, "heads": 2}
VARIANTS = [
    {},
    {"pos_embed": "rotary"},
    {"norm": "layer", "activation": "gelu"},
    {"condition": "label"},
]


def black_and_white(n: int = 96, height: int = 8, width: int = 8) -> Images:
    images = blobs(n, height, width)
    pixels = np.where(images.pixels > 90, 255, 0).astype(np.uint8)
    return dataclasses.replace(images, pixels=pixels)


def tiny_model(images: Images | None = None, **options):
    """A model with random weights whose logits differ clearly."""
    images = images or black_and_white()
    model = build_model(Config(**{**TINY, **options}), images, np.arange(len(images) // 2))[0]
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            generator = torch.Generator().manual_seed(len(name))
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def random_tokens(model, n: int) -> torch.Tensor:
    return torch.randint(model.codec.num_codes, (n, model.network.seq_len))


# -- palettes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("patch_size", [1, 2])
def test_binary_palette_is_exact(patch_size):
    images = black_and_white()
    model = tiny_model(images, patch_size=patch_size)
    assert model.config.palette == "binary"
    assert model.palette_is_exact
    assert model.codec.num_codes == 2 ** (patch_size * patch_size)
    tokens = model.codec.encode(torch.from_numpy(images.pixels.copy()))
    assert tokens.shape == (96, 64 // patch_size**2)
    assert np.array_equal(model.codec.decode(tokens).numpy(), images.pixels)
    assert model.palette_psnr(images) == pytest.approx(np.full(96, 58.92), abs=0.01)


def test_levels_palette_is_exact_only_if_it_has_all_levels():
    images = blobs()
    model = tiny_model(images)
    assert model.config.palette == "levels"
    assert model.palette_is_exact
    coarse = tiny_model(images, palette_size=4)
    assert len(coarse.codec.palette) == 4
    assert not coarse.palette_is_exact
    psnr = coarse.palette_psnr(images).mean()
    assert 10 < psnr < 58
    assert coarse.codec.palette.min() == 0
    assert tiny_model(images, palette_size=16).palette_psnr(images).mean() > psnr


def test_kmeans_palette_depends_on_seed_and_patches_get_nearest_color():
    images = blobs(60, channels=3)
    config = Config(**TINY, palette="kmeans", patch_size=2, palette_size=20)
    first, second, other = (
        build_model(config, images, np.arange(60), seed)[0] for seed in (0, 0, 1)
    )
    assert torch.equal(first.codec.palette, second.codec.palette)
    assert not torch.equal(first.codec.palette, other.codec.palette)
    patches = patchify(torch.from_numpy(images.pixels[:5].copy()), 2)
    distances = [
        [int(((patch.float() - c.float()) ** 2).sum()) for c in first.codec.palette]
        for patch in patches.flatten(0, 1)
    ]
    tokens = quantize(patches, first.codec.palette, "kmeans").flatten().tolist()
    assert all(row[token] == min(row) for row, token in zip(distances, tokens, strict=True))


def test_unpatchify_inverts_patchify():
    pixels = torch.randint(256, (4, 6, 9, 3)).to(torch.uint8)
    assert torch.equal(unpatchify(patchify(pixels, 3), 2, 3), pixels)


def test_kmeans_palette_approximates_images():
    images = blobs(60, channels=3)
    model = build_model(Config(**TINY, patch_size=2, palette_size=64), images, np.arange(60))[0]
    assert model.config.palette == "kmeans"
    assert model.palette_psnr(images).mean() > 25


# -- likelihood ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "patch_size"), [(2, 4, 1), (3, 3, 1), (2, 4, 2)])
@pytest.mark.parametrize("pos_embed", ["learned", "rotary"])
@torch.no_grad()
def test_probabilities_of_all_images_sum_to_one(height, width, patch_size, pos_embed):
    every = np.array(list(itertools.product((0, 255), repeat=height * width)), np.uint8)
    images = Images(every.reshape(-1, height, width, 1), splits=np.zeros(len(every), np.int8))
    model = tiny_model(images, patch_size=patch_size, pos_embed=pos_embed)
    scores = model.score(images)
    assert scores.std() > 0.5
    assert np.exp(scores.astype(np.float64)).sum() == pytest.approx(1, abs=1e-4)


@torch.no_grad()
def test_loss_is_negative_mean_log_likelihood():
    images = black_and_white(40)
    model = tiny_model(images)
    loss = model.loss(images.batch(np.arange(40)))
    assert loss.unit == "nats per image"
    assert loss.total.item() == pytest.approx(-model.score(images).mean(), rel=1e-5)
    assert loss.parts["bits_per_dim"].item() == pytest.approx(
        loss.total.item() / 64 / math.log(2), rel=1e-5
    )


def test_logits_depend_on_earlier_tokens_only():
    model = tiny_model()
    tokens = random_tokens(model, 1)
    with torch.no_grad():
        before = model.network.logits(tokens)
        changed = tokens.clone()
        changed[0, 9] = (changed[0, 9] + 1) % model.codec.num_codes
        after = model.network.logits(changed)
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.equal(before[:, 10], after[:, 10])


def test_dynamic_binarization_samples_by_grey_value_and_scores_by_seed():
    grey = Images(np.full((400, 4, 4, 1), 64, np.uint8), splits=np.zeros(400, np.int8))
    model = build_model(Config(**TINY, binarize="dynamic"), grey, np.arange(400))[0].eval()
    pixels = torch.from_numpy(grey.pixels.copy())
    binarized = model.binarize(pixels)
    assert set(binarized.unique().tolist()) == {0, 255}
    assert (binarized > 0).float().mean().item() == pytest.approx(64 / 255, abs=0.02)
    black = torch.zeros_like(pixels)
    assert torch.equal(model.binarize(black), black)
    assert torch.equal(model.binarize(black + 255), black + 255)
    assert np.array_equal(model.score(grey[:9], seed=1), model.score(grey[:9], seed=1))


@settings(deadline=None, max_examples=25)
@given(arrays(np.uint8, (3, 2, 4, 1)), st.sampled_from(["levels", "kmeans"]))
def test_images_are_held_exactly_if_all_their_patches_occurred_in_training(pixels, palette):
    """A palette is exact of images, not of a model: other images have other values."""
    levels = np.array([0, 60, 128, 255], np.uint8)
    patch_size = 1 if palette == "levels" else 2
    train = levels[np.random.default_rng(0).integers(0, 4, (60, 2, 4, 1))]
    train[0, :, :2, 0] = 60  # at least one patch that is held
    images = Images(train, splits=np.zeros(60, np.int8))
    config = Config(**TINY, palette=palette, patch_size=patch_size)
    model = build_model(config, images, np.arange(60))[0].eval()
    assert model.palette_is_exact
    held = model.holds_exactly(images)
    assert held.all()
    test = Images(np.concatenate([pixels, train[:2]]))
    codes = model.codec.encode(torch.from_numpy(test.pixels))
    expected = (model.codec.decode(codes).numpy() == test.pixels).all((1, 2, 3))
    assert np.array_equal(model.holds_exactly(test), expected)
    assert expected[-2:].all()
    if palette == "levels":
        assert np.array_equal(expected, np.isin(test.pixels, levels).all((1, 2, 3)))


def test_grey_test_images_of_a_black_and_white_model_are_not_held():
    binary = Images(255 * np.random.default_rng(0).integers(0, 2, (50, 4, 4, 1), dtype=np.uint8))
    model = build_model(Config(**TINY), binary, np.arange(50))[0].eval()
    assert model.config.palette == "binary"
    grey = Images(np.full((2, 4, 4, 1), 60, np.uint8))
    assert model.holds_exactly(binary).all()
    assert not model.holds_exactly(grey).any()
    # a model of binarized grey images holds what it observes of them
    mixed = Images(np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8))
    dynamic = build_model(Config(**TINY, binarize="dynamic"), mixed, np.arange(50))[0].eval()
    assert dynamic.holds_exactly(grey).all()


# -- masked objective --------------------------------------------------------------------------


def test_masked_model_does_not_see_masked_tokens():
    model = tiny_model(objective="masked")
    tokens = random_tokens(model, 3)
    mask = torch.rand(tokens.shape) < 0.3
    embeddings = []
    model.network.token_embed.register_forward_hook(
        lambda _, __, out: embeddings.append(out) or out.retain_grad()
    )
    model.network.logits(tokens, None, mask).square().sum().backward()
    gradient = embeddings[0].grad.abs().sum(-1)
    assert gradient[mask].max() == 0
    assert gradient[~mask].min() > 0


def test_score_of_masked_model_raises():
    with pytest.raises(PinxitError, match="no likelihood"):
        tiny_model(objective="masked").score(black_and_white(2))


@torch.no_grad()
def test_masked_model_completes_upper_half_from_lower():
    images = black_and_white(5)
    model = tiny_model(images, objective="masked")
    mask = half_mask(images, "upper")
    completed = model.complete(images, mask, seed=0).pixels
    assert np.array_equal(completed[~mask], images.pixels[~mask])
    other = dataclasses.replace(images, pixels=255 - images.pixels)
    assert not np.array_equal(model.complete(other, mask).pixels[mask], completed[mask])


def test_bert_is_another_name_of_the_masked_objective():
    assert Config(objective="bert") == Config(objective="masked")
    assert tiny_model(objective="bert").config.objective == "masked"


# -- generation ---------------------------------------------------------------------------------


def generation_inputs(model, n: int = DECODE_BATCH, seed: int = 0) -> GenerationInputs:
    seq_len = model.network.seq_len
    tokens = torch.full((n, seq_len), -1)
    tokens[1::2, : seq_len // 2] = 1
    labels = torch.arange(n) % 5 - 1 if model.config.condition == "label" else None
    return GenerationInputs(tokens, labels, per_image_uniform(n, seq_len, seed))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(0.0),
        SamplingParams(),
        SamplingParams(0.7, top_k=3),
        SamplingParams(1.3, top_p=0.8),
    ],
    ids=["greedy", "plain", "top-k", "top-p"],
)
@torch.inference_mode()
def test_cached_decoding_equals_full_forward_passes(options, sampling):
    model = tiny_model(**options)
    network, inputs = model.network, generation_inputs(model)
    *_, cached = decode_cached(network, inputs, sampling)
    reference = decode_reference(network, inputs, sampling)
    # a uniform number within rounding of a boundary may give either token, and others after it
    assert (cached == reference).all(1).float().mean() > 0.9
    if sampling.temperature == 0:
        assert torch.equal(cached, reference)
    known = network.seq_len // 2
    assert torch.equal(cached[1, :known], inputs.tokens[1, :known])


@torch.inference_mode()
def test_sampled_images_follow_model_probabilities():
    every = np.array(list(itertools.product((0, 255), repeat=4)), np.uint8).reshape(-1, 2, 2, 1)
    images = Images(every, splits=np.zeros(16, np.int8))
    model = tiny_model(images, patch_size=1)
    p = np.exp(model.score(images).astype(np.float64))
    white = model.sample(4096, seed=0).pixels.reshape(-1, 4) > 127
    counts = np.bincount(white @ np.array([8, 4, 2, 1]), minlength=16)
    chi2 = ((counts - 4096 * p) ** 2 / (4096 * p)).sum()
    assert chi2 < 37.7, "chi-squared, 15 degrees of freedom: p = 0.001"


def test_sample_stream_yields_row_by_row_and_ends_with_sample():
    model = tiny_model()
    grown = list(model.sample_stream(3, seed=2))
    assert len(grown) == model.rows
    for row, image in enumerate(grown[:-1], 1):
        below = image.pixels[:, row * model.patch_size :]
        assert (below == 128).all()
        assert np.array_equal(
            image.pixels[:, : row * model.patch_size], grown[-1].pixels[:, : row * model.patch_size]
        )
    assert np.array_equal(grown[-1].pixels, model.sample(3, seed=2).pixels)


def test_start_skips_the_first_images():
    model = tiny_model()
    assert np.array_equal(
        model.sample(7, seed=1).pixels[4:], model.sample(3, seed=1, start=4).pixels
    )


def test_label_changes_images_and_unknown_label_raises():
    model = tiny_model(condition="label")
    one, two = (model.sample(8, label=name).pixels for name in ("north-west", "south-east"))
    assert not np.array_equal(one, two)
    with pytest.raises(UsageError, match="no label 'east'"):
        model.sample(2, label="east")
    with pytest.raises(UsageError, match="without labels"):
        tiny_model().sample(2, label="north-west")


def test_top_k_and_top_p_keep_most_likely_tokens_and_at_least_one():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    assert torch.allclose(
        SamplingParams(top_k=2).compute_filtered_weights(logits), torch.tensor([0.625, 0.375, 0, 0])
    )
    assert (SamplingParams(top_p=0.79).compute_filtered_weights(logits) > 0).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert (SamplingParams(top_p=0.81).compute_filtered_weights(logits) > 0).tolist() == [
        True,
        True,
        True,
        False,
    ]
    assert (SamplingParams(top_p=1e-6).compute_filtered_weights(logits) > 0).tolist() == [
        True,
        False,
        False,
        False,
    ]
    u = torch.linspace(0, 0.9999, 1000)
    tokens = SamplingParams().sample(logits.expand(1000, 4), u)
    assert torch.allclose(
        tokens.bincount(minlength=4) / 1000, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.002
    )
    for options in ({"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}, {"temperature": -1}):
        with pytest.raises(UsageError):
            SamplingParams(**options)


@torch.inference_mode()
def test_known_tokens_are_not_generated():
    network = tiny_model().network
    tokens = torch.zeros(3, network.seq_len, dtype=torch.long)
    inputs = GenerationInputs(tokens, None, per_image_uniform(3, network.seq_len, 0))
    *_, generated = generate(network, inputs, SamplingParams())
    assert torch.equal(generated, tokens)


# -- features -----------------------------------------------------------------------------------


def test_embed_returns_any_layer():
    model, images = tiny_model(), black_and_white(5)
    layers = model.hidden_states(images)
    assert layers.shape == (3, 5, 16)
    assert np.array_equal(model.embed(images), layers[1])
    assert np.array_equal(model.embed(images, layer=2), layers[2])
    with pytest.raises(UsageError, match="layer must be 0 to 2"):
        model.embed(images, layer=3)


# -- against transformers ----------------------------------------------------------------------


@torch.no_grad()
def test_network_equals_transformers_image_gpt():
    peers = pytest.importorskip("benchmarks.peer_transformers")
    pytest.importorskip("transformers")
    model = tiny_model()
    peer = peers.to_image_gpt(model).eval()
    tokens = random_tokens(model, 4)
    start = torch.full((4, 1), model.codec.num_codes)
    theirs = peer(input_ids=torch.cat((start, tokens[:, :-1]), 1)).logits
    ours = model.network.logits(tokens)
    assert ours.std() > 0.5
    assert torch.allclose(ours, theirs, atol=1e-5)


# -- training and errors ----------------------------------------------------------------------


@pytest.mark.slow
def test_trained_model_beats_independent_pixels():
    images = black_and_white(1200)
    rows = np.arange(900)
    model = build_model(Config(patch_size=2, width=32, depth=2), images, rows)[0].train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(150):
        optimizer.zero_grad()
        model.loss(images.batch(rows[step % 6 :: 6])).total.backward()
        optimizer.step()
    p_white = (images.pixels[rows] > 127).mean(0).clip(1e-3, 1 - 1e-3)
    test = images[900:]
    independent = (
        np.where(test.pixels > 127, np.log(p_white), np.log(1 - p_white)).sum((1, 2, 3)).mean()
    )
    assert model.eval().score(test).mean() > 0.6 * independent


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"patch_size": 3},
            "patch_size 3 does not divide images of 8 x 8; these do and fit: 1, 2, 4, 8",
        ),
        ({"mask_ratio": 1.0}, "between 0 and 1"),
        ({"mask_ratio": 0}, "between 0 and 1"),
        ({"width": 16, "heads": 3}, "does not divide width"),
        ({"palette_size": 1}, "at least 2"),
        ({"palette": "binary", "patch_size": 4}, "2\\^16 entries"),
        ({"palette": "levels", "patch_size": 2}, "--patch-size 1 and --color grey"),
        ({"palette": "kmeans", "binarize": "dynamic"}, "needs --palette binary"),
        ({"palette": "binary", "patch_size": 1, "palette_size": 7}, "has 2 entries, not 7"),
    ],
)
def test_invalid_options_raise(options, message):
    with pytest.raises(UsageError, match=message):
        Config(**options).resolve(blobs().info())


def test_palette_larger_than_distinct_patches_raises():
    images = black_and_white()
    with pytest.raises(UsageError, match="--palette-size 300 is above the"):
        build_model(Config(palette="kmeans", patch_size=2, palette_size=300), images, np.arange(48))


def test_too_many_tokens_names_patch_sizes_that_fit():
    info = DatasetInfo(96, 64, 64, 3)
    with pytest.raises(UsageError, match=r"4,096 tokens, .* Patch sizes that fit: 2, 4, 8"):
        Config(patch_size=1).resolve(info)
    with pytest.raises(UsageError, match="smaller --size"):
        Config().resolve(DatasetInfo(96, 251, 257, 1))


@pytest.mark.parametrize(
    ("info", "patch_size", "palette"),
    [
        (DatasetInfo(96, 8, 8, 1), 1, "levels"),
        (DatasetInfo(96, 28, 28, 1), 2, "kmeans"),
        (DatasetInfo(96, 28, 28, 1, binary_fraction=1.0), 2, "binary"),
        (DatasetInfo(96, 32, 32, 3), 2, "kmeans"),
        (DatasetInfo(96, 64, 64, 3), 4, "kmeans"),
    ],
)
def test_default_patch_size_and_palette_depend_on_images(info, patch_size, palette):
    config = Config().resolve(info)
    assert (config.patch_size, config.palette) == (patch_size, palette)


def test_build_without_images_has_initial_palette():
    model = build(Config(**TINY, palette="kmeans", patch_size=2, palette_size=32), blobs().info())
    assert model.codec.palette.shape == (32, 4)
    assert not model.palette_is_exact


def test_image_tokenizer_replaces_palette():
    config = TokenizerConfig(patch_size=2, fsq_levels=(4, 4), width=8, depth=1)
    tokenizer = build_model(config, blobs(), np.arange(48))[0].eval()
    small = {"width": 16, "depth": 1, "heads": 1}
    model = build_model(
        Config(image_tokenizer="runs/any", **small), blobs(), np.arange(48), component=tokenizer
    )[0]
    model.eval()
    assert (model.config.patch_size, model.config.palette_size) == (2, 16)
    assert not model.palette_is_exact
    pixels = torch.from_numpy(blobs(3).pixels.copy())
    codes = tokenizer.tokenize(blobs(3))
    assert np.array_equal(model.codec.encode(pixels).numpy(), codes.reshape(3, -1))
    assert np.array_equal(
        model.codec.decode(model.codec.encode(pixels)), tokenizer.detokenize(codes).pixels
    )
    assert model.sample(2).pixels.shape == (2, 8, 8, 1)
    images, mask = blobs(3), np.zeros((3, 8, 8), bool)
    mask[:, 4:] = True
    completed = model.complete(images, mask, seed=1)
    assert np.array_equal(completed.pixels[:, :4], images.pixels[:, :4])
    other = dataclasses.replace(
        images, pixels=np.where(mask[..., None], 9, images.pixels).astype(np.uint8)
    )
    assert np.array_equal(model.complete(other, mask, seed=1).pixels, completed.pixels)
    loaded = build(model.config, model.info)
    loaded.load_state_dict(model.state_dict())
    assert np.array_equal(loaded.eval().sample(2).pixels, model.sample(2).pixels)
    with pytest.raises(UsageError, match="replaces the palette"):
        Config(image_tokenizer="runs/any", palette="binary").resolve(model.info)
