"""The conformance suite: every family in `pinxit.models` passes it, without an edit here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from pinxit.errors import PinxitError, UsageError
from pinxit.models import build_model, family_of, get_family, list_families
from pinxit.models.abilities import ABILITIES, abilities, require, with_article
from pinxit.models.config import config_from_dict
from pinxit.models.protocols import Model
from pinxit.models.vae.config import Config as VAEConfig
from pinxit.training.augmentation import KINDS, augment_batch
from tests.builders import blobs

FAMILIES = list_families()


def configs_of(name):
    """Configurations that together have all abilities of a family."""
    module = get_family(name)
    return module.variants() if hasattr(module, "variants") else (module.Config(),)


def build_fresh(config):
    return build_model(config, blobs(), np.arange(48))[0]


def config_id(config):
    variant = configs_of(family_of(config)).index(config)
    return family_of(config) + (f"-{variant}" if variant else "")


CONFIGS = [config for name in FAMILIES for config in configs_of(name)]


@pytest.fixture(params=FAMILIES, scope="module")
def module(request):
    return get_family(request.param)


@pytest.fixture(params=CONFIGS, ids=config_id)
def config(request):
    return request.param


@pytest.fixture(params=CONFIGS, ids=config_id, scope="module")
def model(request):
    return build_fresh(request.param)


def parametrize_models_with(ability):
    """Run a test for every configuration whose model has the ability."""
    configs = [config for config in CONFIGS if ability in abilities(build_fresh(config))]
    return pytest.mark.parametrize("model", configs, ids=config_id, indirect=True)


def test_families_are_found():
    assert "vae" in FAMILIES


def test_family_states_paper_config_and_abilities(module):
    assert module.__doc__
    assert any(digit.isdigit() for digit in module.__doc__), "no year of a paper"
    assert dataclasses.is_dataclass(module.Config)
    assert module.Config.__dataclass_params__.frozen
    assert module.PUBLIC_NAME.isidentifier()
    assert set(module.ABILITIES) <= set(ABILITIES)


def test_model_has_only_abilities_that_its_family_states(model):
    module = get_family(family_of(model.config))
    assert isinstance(model, Model)
    assert isinstance(model, torch.nn.Module)
    assert abilities(model)
    assert set(abilities(model)) <= set(module.ABILITIES)


def test_configs_of_a_family_together_have_all_its_abilities(module):
    configs = configs_of(module.__name__.split(".")[-1])
    assert {name for config in configs for name in abilities(build_fresh(config))} == set(
        module.ABILITIES
    )


def test_resolved_config_has_no_auto_and_survives_json(module):
    import json

    config = module.Config().resolve(blobs().info())
    assert "auto" not in dataclasses.asdict(config).values()
    record = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from_dict(module.Config, record) == config
    assert config.resolve(blobs().info()) == config


def test_unknown_key_suggests_a_similar_one(module):
    name = dataclasses.fields(module.Config)[0].name
    with pytest.raises(UsageError, match=f"Did you mean '{name}'"):
        config_from_dict(module.Config, {name + "s": 1})


def test_every_option_has_a_help_comment(module):
    """The comment beside or above a field is its help text."""
    import inspect

    lines = inspect.getsource(module.Config).splitlines()
    for field in dataclasses.fields(module.Config):
        row = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{field.name}:"))
        assert "#" in lines[row] or "#" in lines[row - 1], f"{field.name} has no help"


def test_loss_is_a_finite_scalar_with_named_parts_and_a_unit(model):
    loss = model.loss(blobs().batch(np.arange(16)))
    assert loss.total.shape == ()
    assert loss.total.isfinite()
    assert loss.parts
    assert all(part.shape == () and not part.requires_grad for part in loss.parts.values())
    assert loss.unit


def test_every_parameter_changes_within_three_steps(config):
    """Layers after a zero-initialized one get a gradient from the second step on."""
    model = build_fresh(config).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        batch = augment_batch(blobs().batch(np.arange(32)), KINDS)
        model.loss(batch).total.backward()
        optimizer.step()
    unchanged = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert not unchanged


def test_loss_decreases(config):
    model, images = build_fresh(config).train(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batch_size = 12 if family_of(config) in ("igpt", "seq2seq") else 48  # their steps are slow
    losses = []
    for step in range(60 if family_of(config) == "vae" else 30):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss = model.loss(images.batch(np.arange(batch_size))).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_loss_is_deterministic_for_a_seed(model):
    batch = blobs().batch(np.arange(16))
    torch.manual_seed(7)
    first = model.loss(batch).total
    torch.manual_seed(7)
    assert torch.equal(first, model.loss(batch).total)


def test_saved_and_loaded_model_has_the_same_loss(model):
    module = get_family(family_of(model.config))
    other = module.build(
        config_from_dict(module.Config, dataclasses.asdict(model.config)), model.info
    )
    other.load_state_dict(load(save(model.state_dict())))  # safetensors: tensors only
    batch = blobs().batch(np.arange(16))
    losses = []
    for trained in (model, other):
        torch.manual_seed(7)
        losses.append(trained.loss(batch).total)
    assert torch.equal(*losses)


@parametrize_models_with("sample")
def test_samples_depend_on_seed_and_index_only(model):
    pixels = model.sample(70, seed=0).pixels
    assert pixels.shape == (70, *blobs().pixels.shape[1:])
    assert np.array_equal(pixels[62:], model.sample(8, seed=0, start=62).pixels)
    assert np.array_equal(pixels[:8], model.sample(8, seed=0).pixels)
    assert not np.array_equal(pixels[:8], model.sample(8, seed=1).pixels)
    for n in (0, -3):
        with pytest.raises(UsageError, match="at least 1"):
            model.sample(n)
    for temperature in (-0.5, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="temperature"):
            model.sample(2, temperature=temperature)


@parametrize_models_with("reconstruct")
def test_reconstructions_are_deterministic_and_independent(model):
    images = blobs()
    pixels = model.reconstruct(images).pixels
    assert pixels.shape == images.pixels.shape
    assert np.array_equal(pixels[5:9], model.reconstruct(images[5:9]).pixels)


@parametrize_models_with("encode")
def test_encoding_is_deterministic_and_decodes(model):
    images = blobs()
    posterior = model.encode(images)
    assert posterior.mean.shape == posterior.std.shape
    assert (posterior.std > 0).all()
    assert np.array_equal(posterior.mean[3:4], model.encode(images[3:4]).mean)
    assert len(model.decode(posterior.mean[:5])) == 5


@parametrize_models_with("embed")
def test_embed_returns_one_vector_per_image(model):
    vectors = model.embed(blobs())
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == len(blobs())
    assert np.array_equal(vectors[2:4], model.embed(blobs()[2:4]))


@parametrize_models_with("score")
def test_scores_are_finite_and_independent(model):
    images = blobs(20)
    scores = model.score(images)
    assert scores.shape == (20,)
    assert np.isfinite(scores).all()
    assert np.array_equal(scores[:4], model.score(images[:4]))


def corner_masks(images):
    """Mask the lower right rectangle of each image, in several sizes."""
    mask = np.zeros(images.pixels.shape[:3], bool)
    for i in range(len(images)):
        mask[i, i % 4 :, (i // 4) % 4 :] = True
    return mask


@parametrize_models_with("complete")
def test_completion_changes_masked_pixels_only(model):
    images = blobs(20)
    mask = corner_masks(images)
    completed = model.complete(images, mask, seed=0)
    assert completed.pixels.dtype == np.uint8
    assert completed.pixels.shape == images.pixels.shape
    assert np.array_equal(completed.pixels[~mask], images.pixels[~mask])
    assert not np.array_equal(completed.pixels[mask], images.pixels[mask])


@parametrize_models_with("complete")
def test_completion_depends_on_seed_and_known_pixels_only(model):
    images = blobs(20)
    mask = corner_masks(images)
    completed = model.complete(images, mask, seed=3).pixels
    assert np.array_equal(completed[:5], model.complete(images[:5], mask[:5], seed=3).pixels)
    changed = dataclasses.replace(images, pixels=np.where(mask[..., None], 77, images.pixels))
    assert np.array_equal(completed, model.complete(changed, mask, seed=3).pixels)


@parametrize_models_with("complete")
def test_completion_of_full_and_empty_masks(model):
    images = blobs(5)
    full_mask = np.ones(images.pixels.shape[:3], bool)
    assert model.complete(images, full_mask, seed=0).pixels.shape == images.pixels.shape
    assert np.array_equal(model.complete(images, ~full_mask).pixels, images.pixels)


@parametrize_models_with("complete")
def test_mask_of_another_shape_raises(model):
    with pytest.raises(UsageError, match="mask"):
        model.complete(blobs(5), np.ones((5, 4, 4), bool))
    with pytest.raises(UsageError, match="mask"):
        model.complete(blobs(5), np.ones((4, 8, 8), bool))


CAPTIONS = ["a blob at the top left", "une tache en bas à droite", "a blob", "en haut", "top right"]


@parametrize_models_with("draw")
def test_drawn_images_depend_on_seed_and_own_caption_only(model):
    pixels = model.draw(CAPTIONS, seed=1).pixels
    assert pixels.shape == (5, *blobs().pixels.shape[1:])
    assert np.array_equal(pixels[:2], model.draw(CAPTIONS[:2], seed=1).pixels)
    assert np.array_equal(pixels[3:], model.draw(CAPTIONS[3:], seed=1, start=3).pixels)
    assert not np.array_equal(pixels, model.draw(CAPTIONS, seed=2).pixels)
    *_, last = model.draw_stream(CAPTIONS, seed=1)
    assert np.array_equal(last.pixels, pixels)


@parametrize_models_with("draw")
def test_invalid_draw_options_raise(model):
    for wrong, reason in (
        ([""], "empty"),
        ([], "nothing to draw"),
        (["blob " * 300], "at most"),
    ):
        with pytest.raises(UsageError, match=reason):
            model.draw(wrong)
    with pytest.raises(UsageError, match=r"no language 'de'.*en, fr"):
        model.draw(["ein Fleck"], language="de")
    with pytest.raises(UsageError, match="guidance"):
        model.draw(CAPTIONS, guidance=-1)
    with pytest.raises(UsageError, match="temperature"):
        model.draw(CAPTIONS, temperature=float("nan"))


@parametrize_models_with("edit")
def test_edits_depend_on_seed_and_own_image_only(model):
    images = blobs(5)
    pixels = model.edit(images, CAPTIONS, seed=1).pixels
    assert pixels.shape == images.pixels.shape
    assert np.array_equal(pixels[:2], model.edit(images[:2], CAPTIONS[:2], seed=1).pixels)
    with pytest.raises(UsageError, match="5 images and 2 instructions"):
        model.edit(images, CAPTIONS[:2])


@parametrize_models_with("caption")
def test_captions_are_independent_of_other_images(model):
    images = blobs(5)
    captions = model.caption(images, language="fr", num_beams=3, num_captions=2)
    assert [len(texts) for texts in captions] == [2] * 5
    assert all(
        isinstance(caption.text, str) and caption.log_prob < 0
        for row in captions
        for caption in row
    )
    subset = model.caption(images[1:3], language="fr", num_beams=3, num_captions=2)
    assert [[caption.text for caption in row] for row in subset] == [
        [caption.text for caption in row] for row in captions[1:3]
    ]
    with pytest.raises(UsageError, match="no language 'de'"):
        model.caption(images, language="de")


@parametrize_models_with("translate")
def test_translate_returns_one_text_per_input(model):
    translations = model.translate(["a blob", "a blob at the top"], source="en", target="fr")
    assert len(translations) == 2
    assert all(text.log_prob < 0 for text in translations)
    with pytest.raises(UsageError, match="no language 'de'"):
        model.translate(["a blob"], source="en", target="de")


@parametrize_models_with("elbo")
def test_elbo_is_below_importance_weighted_bound(model):
    images = blobs(96)
    seeds = range(96)
    with torch.no_grad():
        x = model.observe(images.batch(np.arange(96)), seeds)
        elbo = model.elbo(x, None, seeds)
        weights = model.log_weights(x, None, 50, seeds)
    bound_1 = -(elbo.distortion + elbo.rate.sum(1)).mean()
    bound_50 = (weights.logsumexp(1) - np.log(50)).mean()
    assert bound_1 < bound_50


def test_missing_ability_names_families_that_have_it():
    class WithoutAbilities:
        config = VAEConfig()

    with pytest.raises(PinxitError, match=r"cannot sample; these families can: .*vae"):
        require(WithoutAbilities(), "sample")


def test_an_ability_that_other_models_of_a_family_have_is_missing_for_a_reason(model):
    family = family_of(model.config)
    for ability in set(get_family(family).ABILITIES) - set(abilities(model)):
        with pytest.raises(PinxitError) as error:
            require(model, ability)
        assert "families can" not in str(error.value), "its own is among them"
        assert f"this {family} run can" in str(error.value)


@pytest.mark.parametrize(("family", "text"), [("vae", "a vae"), ("mae", "an mae"),
    ("igpt", "an igpt"), ("tokenizer", "a tokenizer"), ("seq2seq", "a seq2seq")])  # fmt: skip
def test_families_have_the_right_article(family, text):
    assert with_article(family) == text


@pytest.mark.parametrize(
    ("family", "ability", "texts"),
    [
        ("mae", "encode", ["an mae run cannot interpolate or traverse latents", "can: vae"]),
        ("tokenizer", "sample", ["a tokenizer run cannot sample", "--image-tokenizer RUN"]),
        ("vae", "draw", ["a vae run cannot draw; these families can: flow, seq2seq."]),
    ],
)
def test_error_for_a_missing_ability_is_in_the_words_of_the_user(family, ability, texts):
    class WithoutAbilities:
        config = get_family(family).Config()

    with pytest.raises(PinxitError) as error:
        require(WithoutAbilities(), ability)
    assert all(text in str(error.value) for text in texts)
    assert len(str(error.value).splitlines()) <= 2
