"""iGPT: palettes that hold, probabilities that sum to one, fast steps equal to slow ones."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from pinxit.data.batch import DatasetInfo
from pinxit.data.images import Images
from pinxit.data.masks import half_mask
from pinxit.errors import PinxitError, UsageError
from pinxit.models import build_model
from pinxit.models.igpt import build
from pinxit.models.igpt.config import Config
from pinxit.models.igpt.generate import AT_ONCE, Asked, filling, painting, painting_slowly
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


def tiny(images: Images | None = None, **options):
    images = images or black_and_white()
    made = build_model(Config(**{**TINY, **options}), images, np.arange(len(images) // 2))[0]
    with torch.no_grad():  # weights that matter: fresh ones give all colours about the same chance
        for name, parameter in made.named_parameters():
            generator = torch.Generator().manual_seed(len(name))
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return made.eval()


# -- palettes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("patch_size", [1, 2])
def test_black_and_white_is_lossless(patch_size):
    images = black_and_white()
    model = tiny(images, patch_size=patch_size)
    assert model.config.palette == "binary"
    assert model.palette_is_exact
    assert len(model.palette) == 2 ** (patch_size * patch_size)
    tokens = model.tokens_of(torch.from_numpy(images.pixels.copy()))
    assert tokens.shape == (96, 64 // patch_size**2)
    assert np.array_equal(model.images_of(tokens).numpy(), images.pixels)
    assert model.palette_psnr(images) == math.inf


def test_few_grey_levels_are_lossless_and_many_are_not():
    images = blobs()
    model = tiny(images)
    assert model.config.palette == "levels"
    assert model.palette_is_exact
    few = tiny(images, palette_size=4)
    assert len(few.palette) == 4
    assert not few.palette_is_exact
    assert 10 < few.palette_psnr(images) < 60
    assert few.palette.min() == 0
    assert tiny(images, palette_size=16).palette_psnr(images) > few.palette_psnr(images)


def test_clusters_are_repeatable_by_seed_and_the_nearest_is_taken():
    images = blobs(60, channels=3)
    config = Config(**TINY, palette="kmeans", patch_size=2, palette_size=20)
    first, second, other = (
        build_model(config, images, np.arange(60), seed)[0] for seed in (0, 0, 1)
    )
    assert torch.equal(first.palette, second.palette)
    assert not torch.equal(first.palette, other.palette)
    blocks = patchify(torch.from_numpy(images.pixels[:5].copy()), 2)
    slow = [
        [int(((patch_size.float() - c.float()) ** 2).sum()) for c in first.palette]
        for patch_size in blocks.flatten(0, 1)
    ]
    found = quantize(blocks, first.palette, "kmeans").flatten().tolist()
    assert all(row[token] == min(row) for row, token in zip(slow, found, strict=True))


def test_blocks_and_pixels_are_inverses():
    pixels = torch.randint(256, (4, 6, 9, 3)).to(torch.uint8)
    assert torch.equal(unpatchify(patchify(pixels, 3), 2, 3), pixels)


def test_a_clustered_palette_is_near_the_images():
    images = blobs(60, channels=3)
    model = build_model(Config(**TINY, patch_size=2, palette_size=64), images, np.arange(60))[0]
    assert model.config.palette == "kmeans"
    assert model.palette_psnr(images) > 25


# -- likelihood ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "patch_size"), [(2, 4, 1), (3, 3, 1), (2, 4, 2)])
@pytest.mark.parametrize("pos_embed", ["learned", "rotary"])
@torch.no_grad()
def test_the_probabilities_of_all_images_sum_to_one(height, width, patch_size, pos_embed):
    every = np.array(list(itertools.product((0, 255), repeat=height * width)), np.uint8)
    images = Images(every.reshape(-1, height, width, 1), splits=np.zeros(len(every), np.int8))
    model = tiny(images, patch_size=patch_size, pos_embed=pos_embed)
    scores = model.score(images)
    assert scores.std() > 0.5
    assert np.exp(scores.astype(np.float64)).sum() == pytest.approx(1, abs=1e-4)


@torch.no_grad()
def test_the_loss_is_minus_the_mean_score():
    images = black_and_white(40)
    model = tiny(images)
    loss = model.loss(images.batch(np.arange(40)))
    assert loss.unit == "nats per image"
    assert loss.total.item() == pytest.approx(-model.score(images).mean(), rel=1e-5)
    assert loss.parts["bits_per_dim"].item() == pytest.approx(
        loss.total.item() / 64 / math.log(2), rel=1e-5
    )


def test_a_token_s_scores_see_only_those_before_it():
    model = tiny()
    tokens = torch.randint(len(model.palette), (1, model.seq_len))
    with torch.no_grad():
        before = model.logits(tokens)
        changed = tokens.clone()
        changed[0, 9] = (changed[0, 9] + 1) % len(model.palette)
        after = model.logits(changed)
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.equal(before[:, 10], after[:, 10])


def test_dynamic_binarization_draws_by_grey_and_scores_by_seed():
    grey = Images(np.full((400, 4, 4, 1), 64, np.uint8), splits=np.zeros(400, np.int8))
    model = build_model(Config(**TINY, binarize="dynamic"), grey, np.arange(400))[0].eval()
    pixels = torch.from_numpy(grey.pixels.copy())
    seen = model.observed(pixels)
    assert set(seen.unique().tolist()) == {0, 255}
    assert (seen > 0).float().mean().item() == pytest.approx(64 / 255, abs=0.02)
    black = torch.zeros_like(pixels)
    assert torch.equal(model.observed(black), black)
    assert torch.equal(model.observed(black + 255), black + 255)
    assert np.array_equal(model.score(grey[:9], seed=1), model.score(grey[:9], seed=1))


# -- BERT ---------------------------------------------------------------------------------------


def test_bert_never_sees_the_hidden_tokens():
    model = tiny(objective="masked")
    tokens = torch.randint(len(model.palette), (3, model.seq_len))
    hidden = torch.rand(tokens.shape) < 0.3
    seen = []
    model.embedding.register_forward_hook(lambda _, __, out: seen.append(out) or out.retain_grad())
    model.logits(tokens, None, hidden).square().sum().backward()
    gradient = seen[0].grad.abs().sum(-1)
    assert gradient[hidden].max() == 0
    assert gradient[~hidden].min() > 0


def test_bert_has_no_likelihood_and_says_so():
    with pytest.raises(PinxitError, match="no likelihood"):
        tiny(objective="masked").score(black_and_white(2))


@torch.no_grad()
def test_bert_sees_both_sides_and_completes_any_part():
    images = black_and_white(5)
    model = tiny(images, objective="masked")
    missing = half_mask(images, "upper")
    made = model.complete(images, missing, seed=0).pixels
    assert np.array_equal(made[~missing], images.pixels[~missing])
    other = dataclasses.replace(images, pixels=255 - images.pixels)
    assert not np.array_equal(model.complete(other, missing).pixels[missing], made[missing])


# -- generation ---------------------------------------------------------------------------------


def asked(model, n: int = AT_ONCE, seed: int = 0) -> Asked:
    known = torch.full((n, model.seq_len), -1)
    known[1::2, : model.seq_len // 2] = 1
    labels = torch.arange(n) % 5 - 1 if model.config.condition == "label" else None
    return Asked(known, labels, per_image_uniform(n, model.seq_len, seed))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize(
    "chances",
    [
        SamplingParams(0.0),
        SamplingParams(),
        SamplingParams(0.7, top_k=3),
        SamplingParams(1.3, top_p=0.8),
    ],
    ids=["greedy", "plain", "top-k", "top-p"],
)
@torch.inference_mode()
def test_fast_steps_paint_what_whole_passes_paint(options, chances):
    model = tiny(**options)
    wanted = asked(model)
    *_, fast = painting(model, wanted, chances)
    slow = painting_slowly(model, wanted, chances)
    # a chance that falls on a boundary to within rounding may go either way; then all after it
    assert (fast == slow).all(1).float().mean() > 0.9
    if chances.temperature == 0:
        assert torch.equal(fast, slow)
    assert torch.equal(fast[1, : model.seq_len // 2], wanted.known[1, : model.seq_len // 2])


@torch.inference_mode()
def test_sampled_images_have_the_model_s_distribution():
    every = np.array(list(itertools.product((0, 255), repeat=4)), np.uint8).reshape(-1, 2, 2, 1)
    images = Images(every, splits=np.zeros(16, np.int8))
    model = tiny(images, patch_size=1)
    p = np.exp(model.score(images).astype(np.float64))
    made = model.sample(4096, seed=0).pixels.reshape(-1, 4) > 127
    counts = np.bincount(made @ np.array([8, 4, 2, 1]), minlength=16)
    chi2 = ((counts - 4096 * p) ** 2 / (4096 * p)).sum()
    assert chi2 < 37.7, "15 degrees of freedom: above it once in a thousand seeds"


def test_rows_come_one_after_another_and_the_last_is_the_sample():
    model = tiny()
    grown = list(model.sample_stream(3, seed=2))
    assert len(grown) == model.rows
    for row, image in enumerate(grown[:-1], 1):
        below = image.pixels[:, row * model.patch_size :]
        assert (below == 128).all()
        assert np.array_equal(
            image.pixels[:, : row * model.patch_size], grown[-1].pixels[:, : row * model.patch_size]
        )
    assert np.array_equal(grown[-1].pixels, model.sample(3, seed=2).pixels)


def test_sampling_from_a_start_is_the_same_images():
    model = tiny()
    assert np.array_equal(
        model.sample(7, seed=1).pixels[4:], model.sample(3, seed=1, start=4).pixels
    )


def test_a_label_changes_the_image_and_an_unknown_one_is_refused():
    model = tiny(condition="label")
    one, two = (model.sample(8, label=name).pixels for name in ("north-west", "south-east"))
    assert not np.array_equal(one, two)
    with pytest.raises(UsageError, match="no label 'east'"):
        model.sample(2, label="east")
    with pytest.raises(UsageError, match="without labels"):
        tiny().sample(2, label="north-west")


def test_chances_keep_the_likeliest_and_never_none():
    scores = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    assert torch.allclose(
        SamplingParams(top_k=2).filtered_probs(scores), torch.tensor([0.625, 0.375, 0, 0])
    )
    assert (SamplingParams(top_p=0.79).filtered_probs(scores) > 0).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert (SamplingParams(top_p=0.81).filtered_probs(scores) > 0).tolist() == [
        True,
        True,
        True,
        False,
    ]
    assert (SamplingParams(top_p=1e-6).filtered_probs(scores) > 0).tolist() == [
        True,
        False,
        False,
        False,
    ]
    chance = torch.linspace(0, 0.9999, 1000)
    picked = SamplingParams().sample(scores.expand(1000, 4), chance)
    assert torch.allclose(
        picked.bincount(minlength=4) / 1000, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.002
    )
    for options in ({"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}, {"temperature": -1}):
        with pytest.raises(UsageError):
            SamplingParams(**options)


@torch.inference_mode()
def test_what_is_known_is_never_asked_for():
    model = tiny()
    known = torch.zeros(3, model.seq_len, dtype=torch.long)
    *_, last = filling(
        model, Asked(known, None, per_image_uniform(3, model.seq_len, 0)), SamplingParams()
    )
    assert torch.equal(last, known)


# -- features -----------------------------------------------------------------------------------


def test_features_come_from_every_layer():
    model, images = tiny(), black_and_white(5)
    layers = model.hidden_states(images)
    assert layers.shape == (3, 5, 16)
    assert np.array_equal(model.embed(images), layers[1])
    assert np.array_equal(model.embed(images, layer=2), layers[2])
    with pytest.raises(UsageError, match="numbered 0 to 2"):
        model.embed(images, layer=3)


# -- the paper's own ----------------------------------------------------------------------------


@torch.no_grad()
def test_the_network_is_that_of_transformers():
    peers = pytest.importorskip("benchmarks.peer_transformers")
    pytest.importorskip("transformers")
    model = tiny()
    peer = peers.to_image_gpt(model).eval()
    tokens = torch.randint(len(model.palette), (4, model.seq_len))
    first = torch.full((4, 1), len(model.palette))
    theirs = peer(input_ids=torch.cat((first, tokens[:, :-1]), 1)).logits
    ours = model.logits(tokens)
    assert ours.std() > 0.5
    assert torch.allclose(ours, theirs, atol=1e-5)


# -- learning and refusing ----------------------------------------------------------------------


def test_it_learns_more_than_each_pixel_s_own_chance():
    images = black_and_white(1200)
    rows = np.arange(900)
    model = build_model(Config(patch_size=2, width=32, depth=2), images, rows)[0].train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(150):
        optimizer.zero_grad()
        model.loss(images.batch(rows[step % 6 :: 6])).total.backward()
        optimizer.step()
    ones = (images.pixels[rows] > 127).mean(0).clip(1e-3, 1 - 1e-3)
    test = images[900:]
    alone = np.where(test.pixels > 127, np.log(ones), np.log(1 - ones)).sum((1, 2, 3)).mean()
    assert model.eval().score(test).mean() > 0.6 * alone


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch_size": 3}, "does not divide images of 8 x 8; these do and fit: 1, 2, 4, 8"),
        ({"mask_ratio": 1.0}, "between 0 and 1"),
        ({"mask_ratio": 0}, "between 0 and 1"),
        ({"width": 16, "heads": 3}, "does not divide width"),
        ({"palette_size": 1}, "at least 2"),
        ({"palette": "binary", "patch_size": 4}, "2\\^16 colours"),
        ({"palette": "levels", "patch_size": 2}, "single grey pixels"),
        ({"palette": "kmeans", "binarize": "dynamic"}, "goes with --palette binary"),
        ({"palette": "binary", "patch_size": 1, "palette_size": 7}, "has 2 colours, not 7"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(options, words):
    with pytest.raises(UsageError, match=words):
        Config(**options).resolve(blobs().info())


def test_more_colours_than_the_images_have_are_refused():
    images = black_and_white()
    with pytest.raises(UsageError, match="--palette-size 300 is above the"):
        build_model(Config(palette="kmeans", patch_size=2, palette_size=300), images, np.arange(48))


def test_an_image_larger_than_the_context_says_what_fits():
    info = DatasetInfo(96, 64, 64, 3)
    with pytest.raises(UsageError, match=r"4,096 tokens; .* Blocks that fit: 2, 4, 8"):
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
def test_block_and_palette_are_chosen_from_the_images(info, patch_size, palette):
    config = Config().resolve(info)
    assert (config.patch_size, config.palette) == (patch_size, palette)


def test_a_family_without_images_builds_with_a_palette_of_its_own():
    model = build(Config(**TINY, palette="kmeans", patch_size=2, palette_size=32), blobs().info())
    assert model.palette.shape == (32, 4)
    assert not model.palette_is_exact


def test_the_codes_of_a_tokenizer_in_place_of_a_palette():
    config = TokenizerConfig(patch_size=2, fsq_levels=(4, 4), width=8, depth=1)
    tokenizer = build_model(config, blobs(), np.arange(48))[0].eval()
    small = {"width": 16, "depth": 1, "heads": 1}
    model = build_model(
        Config(image_tokenizer="runs/any", **small), blobs(), np.arange(48), tokenizer=tokenizer
    )[0]
    model.eval()
    assert (model.config.patch_size, model.config.palette_size) == (2, 16)
    assert not model.palette_is_exact
    pixels = torch.from_numpy(blobs(3).pixels.copy())
    codes = tokenizer.tokenize(blobs(3))
    assert np.array_equal(model.tokens_of(pixels).numpy(), codes.reshape(3, -1))
    assert np.array_equal(
        model.images_of(model.tokens_of(pixels)), tokenizer.detokenize(codes).pixels
    )
    assert model.sample(2).pixels.shape == (2, 8, 8, 1)
    images, missing = blobs(3), np.zeros((3, 8, 8), bool)
    missing[:, 4:] = True
    made = model.complete(images, missing, seed=1)
    assert np.array_equal(made.pixels[:, :4], images.pixels[:, :4])
    other = dataclasses.replace(
        images, pixels=np.where(missing[..., None], 9, images.pixels).astype(np.uint8)
    )
    assert np.array_equal(model.complete(other, missing, seed=1).pixels, made.pixels)
    again = build(model.config, model.info)
    again.load_state_dict(model.state_dict())
    assert np.array_equal(again.eval().sample(2).pixels, model.sample(2).pixels)
    with pytest.raises(UsageError, match="place of a palette"):
        Config(image_tokenizer="runs/any", palette="binary").resolve(model.info)
