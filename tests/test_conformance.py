"""The suite that every family passes the day its file arrives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from pinxit.errors import PinxitError, UsageError
from pinxit.models import build_model, family_of, get_family, list_families
from pinxit.models.abilities import ABILITIES, abilities, require
from pinxit.models.config import config_from_dict
from pinxit.models.protocols import Model
from pinxit.models.vae.config import Config as AnyConfig
from tests.builders import blobs

FAMILIES = list_families()


def configs_of(name):
    """Those that between them can do all that a family can."""
    module = get_family(name)
    return module.variants() if hasattr(module, "variants") else (module.Config(),)


def fresh(config):
    return build_model(config, blobs(), np.arange(48))[0]


def told(config):
    number = configs_of(family_of(config)).index(config)
    return family_of(config) + (f"-{number}" if number else "")


CONFIGS = [config for name in FAMILIES for config in configs_of(name)]


@pytest.fixture(params=FAMILIES, scope="module")
def module(request):
    return get_family(request.param)


@pytest.fixture(params=CONFIGS, ids=told)
def config(request):
    return request.param


@pytest.fixture(params=CONFIGS, ids=told, scope="module")
def model(request):
    return fresh(request.param)


def of_all_that(ability):
    """For every configuration of which the model has an ability."""
    able = [config for config in CONFIGS if ability in abilities(fresh(config))]
    return pytest.mark.parametrize("model", able, ids=told, indirect=True)


def test_there_are_families():
    assert "vae" in FAMILIES


def test_states_what_it_is(module):
    assert module.__doc__
    assert any(digit.isdigit() for digit in module.__doc__), "names the paper with its year"
    assert dataclasses.is_dataclass(module.Config)
    assert module.Config.__dataclass_params__.frozen
    assert set(module.ABILITIES) <= set(ABILITIES)


def test_is_a_model_with_the_abilities_it_states(model):
    module = get_family(family_of(model.config))
    assert isinstance(model, Model)
    assert isinstance(model, torch.nn.Module)
    assert abilities(model)
    assert set(abilities(model)) <= set(module.ABILITIES)


def test_a_familys_models_have_all_abilities_it_states(module):
    configs = configs_of(module.__name__.split(".")[-1])
    assert {name for config in configs for name in abilities(fresh(config))} == set(
        module.ABILITIES
    )


def test_resolved_configuration_has_no_open_choice_and_survives_json(module):
    import json

    config = module.Config().resolve(blobs().info())
    assert "auto" not in dataclasses.asdict(config).values()
    record = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from_dict(module.Config, record) == config
    assert config.resolve(blobs().info()) == config


def test_unknown_key_suggests_the_near_one(module):
    name = dataclasses.fields(module.Config)[0].name
    with pytest.raises(UsageError, match=f"Did you mean '{name}'"):
        config_from_dict(module.Config, {name + "s": 1})


def test_every_option_says_what_it_is(module):
    """A comment beside or above each field is its help text."""
    import inspect

    lines = inspect.getsource(module.Config).splitlines()
    for field in dataclasses.fields(module.Config):
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{field.name}:"))
        assert "#" in lines[at] or "#" in lines[at - 1], f"{field.name} has no help"


def test_loss_is_a_finite_scalar_with_named_parts_and_a_unit(model):
    loss = model.loss(blobs().batch(np.arange(16)))
    assert loss.total.shape == ()
    assert loss.total.isfinite()
    assert loss.parts
    assert all(part.shape == () and not part.requires_grad for part in loss.parts.values())
    assert loss.unit


def test_every_parameter_learns_within_two_steps(config):
    """The second step reaches what stands behind layers that begin at zero."""
    model = fresh(config).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        model.loss(blobs().batch(np.arange(32))).total.backward()
        optimizer.step()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert not still


def test_loss_falls(config):
    model, images = fresh(config).train(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for step in range(60):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss = model.loss(images.batch(np.arange(48))).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_the_same_chance_gives_the_same_loss(model):
    batch = blobs().batch(np.arange(16))
    torch.manual_seed(7)
    first = model.loss(batch).total
    torch.manual_seed(7)
    assert torch.equal(first, model.loss(batch).total)


def test_saved_and_loaded_it_gives_the_same(model):
    module = get_family(family_of(model.config))
    other = module.build(
        config_from_dict(module.Config, dataclasses.asdict(model.config)), model.info
    )
    other.load_state_dict(load(save(model.state_dict())))  # all that is kept is a tensor
    batch = blobs().batch(np.arange(16))
    losses = []
    for each in (model, other):
        torch.manual_seed(7)
        losses.append(each.loss(batch).total)
    assert torch.equal(*losses)


@of_all_that("sample")
def test_sampling_is_repeatable_and_image_7_is_the_same_in_any_batch(model):
    many = model.sample(70, seed=0).pixels
    assert many.shape == (70, *blobs().pixels.shape[1:])
    assert np.array_equal(many, model.sample(70, seed=0).pixels)
    assert np.array_equal(many[:8], model.sample(8, seed=0).pixels)
    assert not np.array_equal(many[:8], model.sample(8, seed=1).pixels)
    for n in (0, -3):
        with pytest.raises(UsageError, match="at least 1"):
            model.sample(n)
    for temperature in (-0.5, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="temperature"):
            model.sample(2, temperature=temperature)


@of_all_that("reconstruct")
def test_reconstruction_is_deterministic_and_of_the_same_shape(model):
    images = blobs()
    all_of_them = model.reconstruct(images).pixels
    assert all_of_them.shape == images.pixels.shape
    assert np.array_equal(all_of_them[5:9], model.reconstruct(images[5:9]).pixels)


@of_all_that("encode")
def test_encoding_is_deterministic_and_decodes(model):
    images = blobs()
    posterior = model.encode(images)
    assert posterior.mean.shape == posterior.std.shape
    assert (posterior.std > 0).all()
    assert np.array_equal(posterior.mean[3:4], model.encode(images[3:4]).mean)
    assert len(model.decode(posterior.mean[:5])) == 5


@of_all_that("embed")
def test_embedding_is_one_vector_an_image(model):
    vectors = model.embed(blobs())
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == len(blobs())
    assert np.array_equal(vectors[2:4], model.embed(blobs()[2:4]))


@of_all_that("score")
def test_scores_are_finite_and_do_not_depend_on_neighbours(model):
    scores = model.score(blobs())
    assert scores.shape == (len(blobs()),)
    assert np.isfinite(scores).all()
    assert np.array_equal(scores[:4], model.score(blobs()[:4]))


def missing_corners(images):
    """Another rectangle is missing of each image, at least half a side."""
    missing = np.zeros(images.pixels.shape[:3], bool)
    for i in range(len(images)):
        missing[i, i % 4 :, (i // 4) % 4 :] = True
    return missing


@of_all_that("complete")
def test_completing_keeps_what_is_known_and_paints_the_rest(model):
    images = blobs()
    missing = missing_corners(images)
    made = model.complete(images, missing, seed=0)
    assert made.pixels.dtype == np.uint8
    assert made.pixels.shape == images.pixels.shape
    assert np.array_equal(made.pixels[~missing], images.pixels[~missing])
    assert not np.array_equal(made.pixels[missing], images.pixels[missing])


@of_all_that("complete")
def test_completing_is_repeatable_and_does_not_see_the_neighbours_nor_what_is_missing(model):
    images = blobs()
    missing = missing_corners(images)
    made = model.complete(images, missing, seed=3).pixels
    assert np.array_equal(made[:5], model.complete(images[:5], missing[:5], seed=3).pixels)
    hidden = dataclasses.replace(images, pixels=np.where(missing[..., None], 77, images.pixels))
    assert np.array_equal(made, model.complete(hidden, missing, seed=3).pixels)


@of_all_that("complete")
def test_completing_everything_and_nothing(model):
    images = blobs(5)
    everything = np.ones(images.pixels.shape[:3], bool)
    assert model.complete(images, everything, seed=0).pixels.shape == images.pixels.shape
    assert np.array_equal(model.complete(images, ~everything).pixels, images.pixels)


@of_all_that("complete")
def test_a_mask_of_another_shape_is_refused(model):
    with pytest.raises(UsageError, match="mask"):
        model.complete(blobs(5), np.ones((5, 4, 4), bool))
    with pytest.raises(UsageError, match="mask"):
        model.complete(blobs(5), np.ones((4, 8, 8), bool))


CAPTIONS = ["a blob at the top left", "une tache en bas à droite", "a blob", "en haut", "top right"]


@of_all_that("draw")
def test_drawing_is_repeatable_and_does_not_see_the_other_captions(model):
    made = model.draw(CAPTIONS, seed=1).pixels
    assert made.shape == (5, *blobs().pixels.shape[1:])
    assert np.array_equal(made[:2], model.draw(CAPTIONS[:2], seed=1).pixels)
    assert np.array_equal(made[3:], model.draw(CAPTIONS[3:], seed=1, start=3).pixels)
    assert not np.array_equal(made, model.draw(CAPTIONS, seed=2).pixels)
    *_, last = model.draw_stream(CAPTIONS, seed=1)
    assert np.array_equal(last.pixels, made)


@of_all_that("draw")
def test_drawing_refuses_what_cannot_be(model):
    for wrong, reason in (
        ([""], "empty"),
        ([], "nothing to draw"),
        (["blob " * 300], "pieces"),
    ):
        with pytest.raises(UsageError, match=reason):
            model.draw(wrong)
    with pytest.raises(UsageError, match=r"no language 'de'.*en, fr"):
        model.draw(["ein Fleck"], language="de")
    with pytest.raises(UsageError, match="guidance"):
        model.draw(CAPTIONS, guidance=-1)
    with pytest.raises(UsageError, match="temperature"):
        model.draw(CAPTIONS, temperature=float("nan"))


@of_all_that("edit")
def test_editing_is_repeatable_and_does_not_see_the_neighbours(model):
    images = blobs(5)
    made = model.edit(images, CAPTIONS, seed=1).pixels
    assert made.shape == images.pixels.shape
    assert np.array_equal(made[:2], model.edit(images[:2], CAPTIONS[:2], seed=1).pixels)
    with pytest.raises(UsageError, match="5 images and 2 instructions"):
        model.edit(images, CAPTIONS[:2])


@of_all_that("caption")
def test_captions_are_ranked_and_do_not_depend_on_neighbours(model):
    images = blobs(5)
    found = model.caption(images, language="fr", num_beams=3, num_captions=2)
    assert [len(texts) for texts in found] == [2] * 5
    assert all(isinstance(said.text, str) and said.log_prob < 0 for row in found for said in row)
    few = model.caption(images[1:3], language="fr", num_beams=3, num_captions=2)
    assert [[said.text for said in row] for row in few] == [
        [said.text for said in row] for row in found[1:3]
    ]
    with pytest.raises(UsageError, match="no language 'de'"):
        model.caption(images, language="de")


@of_all_that("translate")
def test_translating_gives_one_text_for_each(model):
    found = model.translate(["a blob", "a blob at the top"], source="en", target="fr")
    assert len(found) == 2
    assert all(said.log_prob < 0 for said in found)
    with pytest.raises(UsageError, match="no language 'de'"):
        model.translate(["a blob"], source="en", target="de")


@of_all_that("elbo")
def test_elbo_is_below_the_importance_weighted_bounds(model):
    images = blobs(96)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        x = model.observe(images.batch(np.arange(96)), generator)
        elbo = model.elbo(x, None, generator)
        weights = model.log_weights(x, None, 50, generator)
    one = -(elbo.distortion + elbo.rate.sum(1)).mean()
    fifty = (weights.logsumexp(1) - np.log(50)).mean()
    assert one < fifty


def test_what_a_model_cannot_do_names_the_families_that_can():
    class Nothing:
        config = AnyConfig()

    with pytest.raises(PinxitError, match=r"cannot sample; these families can: .*vae"):
        require(Nothing(), "sample")
