"""Flow matching: a known mixture, masks, conditions, the VAE carried along."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch

import pinxit
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.flow import likelihood
from pinxit.models.flow import model as flow_model
from pinxit.models.flow.config import Config
from pinxit.models.flow.density import log_density
from pinxit.models.flow.guidance import evaluation_batch_size, field_with_guidance
from pinxit.models.flow.integrate import integrate, step_times
from pinxit.models.flow.network import Condition, FlowTransformer, init_linear
from pinxit.models.flow.path import interpolate, sample_times, to_data, to_velocity
from pinxit.models.flow.tasks import sample_visible
from pinxit.runs import Run
from pinxit.sampling.latents import interpolate_seeds, interpolate_texts
from tests.builders import blobs, noise_images

WEIGHTS, MEANS, STD = (0.3, 0.7), ((1.5, 1.0), (-1.5, 0.0)), 0.3


def mixture_velocity(x, t):
    """The mean velocity of paths from N(0, I) to the mixture, in closed form.

    Given component k, x_t and z are Gaussian: E[z | x_t, k] = m_k + t s^2 / v (x_t - t m_k) with
    v = (1 - t)^2 + t^2 s^2, and the velocity is (E[z] - x_t) / (1 - t).
    """
    t = t[:, None]
    v = (1 - t) ** 2 + t**2 * STD**2
    log_p, data = [], []
    for weight, mean in zip(WEIGHTS, torch.tensor(MEANS), strict=True):
        away = x - t * mean
        log_p.append(np.log(weight) - 0.5 * (away**2 / v).sum(1))
        data.append(mean + t * STD**2 / v * away)
    share = torch.stack(log_p).softmax(0)
    z = (share[..., None] * torch.stack(data)).sum(0)
    return (z - x) / (1 - t).clamp(min=1e-3)


def test_the_true_field_carries_noise_to_the_mixture_and_back():
    torch.manual_seed(0)
    noise = torch.randn(4_000, 2)
    *_, end = integrate(mixture_velocity, noise, step_times(100), "heun")
    is_first = end.x[:, 0] > 0
    assert is_first.float().mean() == pytest.approx(WEIGHTS[0], abs=0.03)
    for chosen, mean in ((is_first, MEANS[0]), (~is_first, MEANS[1])):
        assert torch.allclose(end.x[chosen].mean(0), torch.tensor(mean), atol=0.05)
        assert torch.allclose(end.x[chosen].std(0), torch.full((2,), STD), atol=0.05)
    *_, start = integrate(mixture_velocity, end.x, step_times(100).flip(0), "heun")
    assert (start.x - noise).abs().mean() < 0.02


def test_heun_is_more_exact_than_euler_with_as_many_evaluations():
    noise = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    ends = {}
    for solver, steps in (("heun", 400), ("heun", 10), ("euler", 19)):
        *_, end = integrate(mixture_velocity, noise, step_times(steps), solver)
        ends[solver, steps] = end.x
    exact = ends["heun", 400]
    heun, euler = ((ends[key] - exact).abs().mean() for key in (("heun", 10), ("euler", 19)))
    assert heun < euler


@pytest.mark.slow
def test_a_network_learns_the_mixture():
    torch.manual_seed(0)
    network = FlowTransformer((2, 1, 1), 32, 2, 1)
    init_linear(network)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    nothing = Condition(torch.zeros(1, 32))
    for _ in range(300):
        first = torch.rand(256, 1) < WEIGHTS[0]
        data = torch.where(first, torch.tensor(MEANS[0]), torch.tensor(MEANS[1]))
        data = (data + STD * torch.randn(256, 2)).view(256, 2, 1, 1)
        noise, t = torch.randn_like(data), sample_times(256, data.device)
        x_t = interpolate(noise, data, t)
        error = network(x_t, t, nothing) - (data - noise)
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        noise = torch.randn(2_000, 2, 1, 1)
        *_, end = integrate(lambda x, t: network(x, t, nothing), noise, step_times(20))
    is_first = end.x[:, 0, 0, 0] > 0
    assert is_first.float().mean() == pytest.approx(WEIGHTS[0], abs=0.06)
    mean = end.x[is_first].mean(0).flatten()
    assert torch.allclose(mean, torch.tensor(MEANS[0]), atol=0.25)


def test_times_are_logit_normal():
    t = sample_times(20_000, torch.device("cpu"), mean=-0.5, std=1.2)
    logit = torch.logit(t)
    assert logit.mean() == pytest.approx(-0.5, abs=0.01)
    assert logit.std() == pytest.approx(1.2, abs=0.02)


def test_predicted_data_and_velocity_agree():
    noise, data, t = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2), torch.rand(5) * 0.9
    x_t = interpolate(noise, data, t)
    assert torch.allclose(to_velocity(data, x_t, t, "data"), data - noise, atol=1e-4)
    assert torch.allclose(to_data(data - noise, x_t, t), data, atol=1e-5)


def test_the_density_is_that_of_the_mixture():
    torch.manual_seed(0)
    first = torch.rand(400, 1) < WEIGHTS[0]
    data = torch.where(first, torch.tensor(MEANS[0]), torch.tensor(MEANS[1]))
    data = data + STD * torch.randn(400, 2)
    logs = [
        np.log(weight) - 0.5 * (((data - mean) / STD) ** 2 + np.log(2 * np.pi * STD**2)).sum(1)
        for weight, mean in zip(WEIGHTS, torch.tensor(MEANS), strict=True)
    ]
    exact = torch.logsumexp(torch.stack(logs), 0)
    # all four signs together: the exact divergence in two dimensions
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    found = [log_density(mixture_velocity, data, e.expand(400, 2), 200)[0] for e in signs]
    assert (torch.stack(found).mean(0) - exact).abs().mean() < 0.05
    random = log_density(mixture_velocity, data, torch.randn(400, 2).sign(), 200)[0]
    assert random.mean().item() == pytest.approx(exact.mean().item(), abs=0.1)


# -- the model ----------------------------------------------------------------------------------


def build(**options):
    options = {"width": 32, "heads": 1, "depth": 2, "text_depth": 1, **options}
    model = build_model(Config(**options), blobs(), np.arange(48))[0]
    with torch.no_grad():  # so that conditions matter without training
        for block in model.network.blocks:
            block.modulation.weight.normal_(std=0.3)
        model.network.out_proj.weight.normal_(std=0.15)
    return model.eval()


TEXTS = [blobs().captions["en"][i] for i in (0, 9)]


def test_guidance_1_equals_none_and_0_ignores_the_text():
    model = build(condition="text")
    plain = model.draw(TEXTS, steps=4, guidance=1)
    nothing = model.conditions.of_nothing(2, model.network)
    condition = model.conditions.of_texts(TEXTS, ["en", "en"], model.network)
    x, t = torch.randn(2, *model.codec.shape), torch.rand(2)
    velocity, without = (model.velocity(x, t, c) for c in (condition, nothing))
    assert torch.equal(field_with_guidance(model.velocity, condition, nothing, 1.0)(x, t), velocity)
    assert torch.equal(field_with_guidance(model.velocity, condition, nothing, 0.0)(x, t), without)
    for scale in (1 + 1e-6, 0.3, 2.5):
        guided = field_with_guidance(model.velocity, condition, nothing, scale)(x, t)
        assert torch.allclose(guided, without + scale * (velocity - without), atol=1e-4)
    ignored = model.draw(TEXTS, steps=4, guidance=0).pixels
    assert np.abs(ignored.astype(int) - model.sample(2, steps=4, guidance=0).pixels).max() <= 1
    other = model.draw(TEXTS[::-1], steps=4, guidance=1)
    assert not np.array_equal(plain.pixels, other.pixels)
    default = model.draw(TEXTS, steps=4)
    assert np.array_equal(default.pixels, model.draw(TEXTS, steps=4, guidance=2).pixels)


@pytest.mark.parametrize("together", [1, 2, 16])
@pytest.mark.parametrize("scale", [1, 3])
def test_an_image_does_not_depend_on_those_beside_it(together, scale, monkeypatch):
    monkeypatch.setattr(flow_model, "evaluation_batch_size", lambda network: together)
    model = build(condition="text")
    texts = ["a", "a red blob at the top left and a green one", "green"]
    options = {"steps": 3, "guidance": scale}
    drawn = model.draw(texts, **options).pixels.astype(int)
    one_by_one = [model.draw([text], start=i, **options) for i, text in enumerate(texts)]
    alone = np.concatenate([image.pixels for image in one_by_one])
    assert np.array_equal(drawn, alone)


@pytest.mark.parametrize(
    ("width", "depth", "positions", "expected"),
    [(128, 6, 64, 1), (192, 6, 256, 1), (96, 4, 64, 2), (32, 2, 64, 16)],
)
def test_large_networks_evaluate_images_alone(width, depth, positions, expected):
    side = int(positions**0.5)
    network = FlowTransformer((4, side, side), width, depth, 1)
    assert evaluation_batch_size(network) == expected


def test_samples_have_the_captions_of_training_images():
    model = build(condition="text")
    assert {text for text, _ in model.conditions.examples.record} <= {
        text for texts in blobs().captions.values() for text in texts
    }
    model.conditions.examples.record = [[TEXTS[0], "en"]]
    drawn = model.draw([TEXTS[0]] * 3, steps=4)
    assert np.array_equal(model.sample(3, steps=4).pixels, drawn.pixels)
    model.conditions.examples.record = [[text, "en"] for text in TEXTS]
    samples = model.sample(12, steps=4, guidance=1)
    by_caption = [model.draw([text] * 12, steps=4, guidance=1).pixels for text in TEXTS]
    is_first = (samples.pixels == by_caption[0]).all((1, 2, 3))
    assert np.array_equal(~is_first, (samples.pixels == by_caption[1]).all((1, 2, 3)))
    assert 0 < is_first.sum() < 12
    assert np.array_equal(model.sample(4, start=8, steps=4, guidance=1).pixels, samples.pixels[8:])


def test_samples_have_the_labels_of_training_images():
    images = blobs()
    labels = np.zeros(len(images), int)
    model = build_model(
        Config(width=32, heads=1, depth=1, condition="label"),
        dataclasses.replace(images, labels=labels, label_names=("a", "b"), captions={}),
        np.arange(48),
    )[0].eval()
    with torch.no_grad():
        model.network.out_proj.weight.normal_(std=0.3)
        model.network.blocks[0].modulation.weight.normal_(std=0.3)
    assert np.array_equal(
        model.sample(3, steps=4).pixels, model.sample(3, steps=4, label="a").pixels
    )
    other = model.sample(3, steps=4, label="b").pixels
    assert not np.array_equal(model.sample(3, steps=4).pixels, other)


def test_a_model_of_captions_has_no_labels():
    with pytest.raises(UsageError, match="trained without labels"):
        build(condition="text").sample(1, label="0")


def test_weights_of_older_runs_load():
    model = build(condition="text")
    state = model.state_dict()
    del state["conditions.examples._extra_state"]
    state["conditions.augmentation.weight"] = torch.ones(32, 6)
    model.load_state_dict(state)
    assert model.conditions.augmentation.weight.sum(1).tolist() == [6.0] * 32
    assert model.conditions.examples.record == []
    samples = model.sample(2, steps=2, guidance=1)
    assert np.array_equal(samples.pixels, model.sample(2, steps=2, guidance=0).pixels)


def test_images_without_captions_are_sampled_by_their_keywords():
    images = blobs()
    few = ["a blob", *[""] * (len(images) - 1)]
    keywords = {"en": [("red", "round", "small", "soft", "blob")] * len(images)}
    images = dataclasses.replace(images, captions={"en": few}, keywords=keywords)
    model, _ = build_model(Config(width=32, heads=1, depth=1), images, np.arange(48))
    assert model.conditions.examples.record[0] == ["a blob", "en"]
    assert model.conditions.examples.record[1] == ["red, round, small, soft", "en"]


def test_images_without_labels_are_generated_by_clusters():
    """Of two kinds of images, each cluster is one of them, in training as when they are found."""
    dark = Images(noise_images(40, 8, 8, 1).pixels // 4)
    pixels = np.concatenate([dark.pixels, 255 - dark.pixels])
    images = Images(pixels[np.random.default_rng(0).permutation(80)])
    config = Config(width=32, heads=1, depth=1, num_clusters=2)
    model, _ = build_model(config, images, np.arange(80), seed=2**40)
    assert model.config.condition == "cluster"
    is_dark = torch.from_numpy(images.pixels.mean((1, 2, 3)) < 128)
    found = model.clusters(model.mean_latents(torch.from_numpy(images.pixels)))
    assert torch.equal(found == found[is_dark][0], is_dark)
    assert model.conditions.examples.record == found.tolist()
    assert not model.label_conditional
    seen = []
    model.conditions.labels.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model.eval().loss(images.batch(np.arange(80)))
    assert torch.equal(seen[0], found)
    with pytest.raises(UsageError, match="trained without labels"):
        model.sample(1, label="0")


@pytest.mark.parametrize(
    ("options", "n", "expected"),
    [
        ({}, 80, "cluster"),
        ({}, 12, "none"),
        ({"condition": "cluster"}, 12, None),
        ({"num_clusters": 1}, 80, "none"),
        ({"num_clusters": 1, "condition": "cluster"}, 80, None),
    ],
)
def test_clusters_need_enough_images(options, n, expected):
    info = noise_images(n, 8, 8, 1).info()
    config = Config(width=32, heads=1, depth=1, **options)
    if expected is not None:
        assert config.resolve(info).condition == expected
        return
    with pytest.raises(UsageError, match="into 2 clusters at least"):
        config.resolve(info)


@pytest.mark.parametrize("n", [3, 40])
def test_few_and_identical_images_have_clusters(n):
    images = Images(np.full((40, 8, 8, 1), 7, np.uint8))
    config = Config(width=32, heads=1, depth=1).resolve(images.info())
    model, _ = build_model(config, images, np.arange(n))
    assert torch.isfinite(model.eval().loss(images.batch(np.arange(8))).total)
    assert len(set(model.conditions.examples.record)) == 1
    assert len(model.sample(2, steps=2)) == 2


def test_completed_images_are_exact_outside_the_mask():
    model, images = build(condition="none"), blobs(5)
    rng = np.random.default_rng(0)
    masks = rng.random(images.pixels.shape[:3]) < 0.4
    masks[3], masks[4] = True, False
    completed = model.complete(images, masks, steps=3)
    assert np.array_equal(completed.pixels[~masks], images.pixels[~masks])
    assert not np.array_equal(completed.pixels[:3], images.pixels[:3])
    assert np.array_equal(completed.pixels[4], images.pixels[4])


def test_strength_0_keeps_the_image_and_1_forgets_it():
    model, images = build(condition="text"), blobs(2)
    kept = model.edit(images, TEXTS, steps=4, strength=0)
    assert np.abs(kept.pixels.astype(int) - images.pixels).max() <= 1
    forgotten = model.edit(images, TEXTS, steps=4, strength=1)
    assert np.array_equal(forgotten.pixels, model.draw(TEXTS, steps=4).pixels)


def test_a_stream_ends_with_the_images():
    model = build(condition="none")
    frames = list(model.sample_stream(20, steps=3))
    assert len(frames) == 2 * 3  # batches of 16
    assert np.array_equal(frames[-1].pixels, model.sample(20, steps=3).pixels)
    assert np.array_equal(frames[-1].pixels[7:9], model.sample(2, start=7, steps=3).pixels)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": 0}, "steps must be between 1 and 1,000"),
        ({"strength": 1.5}, "strength must be between 0 and 1"),
        ({"top_k": 3}, "top-k|top_k"),
    ],
)
def test_parameters_out_of_range_raise(options, reason):
    with pytest.raises(UsageError, match=reason):
        build(condition="none").sample(1, **options)


def color_images(n: int = 40, side: int = 16) -> Images:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (n, 1, 1, 3)) + rng.integers(-20, 20, (n, side, side, 3))
    return Images(base.clip(0, 255).astype(np.uint8), source="colors", fingerprint="colors")


def test_a_flow_carries_its_vae_along(tmp_path):
    images, settings = color_images(), {"steps": 3, "batch_size": 8, "quiet": True}
    vae = pinxit.VAE(latents="grid", width=8, depth=1)
    pinxit.train(vae, images, out=tmp_path / "vae", **settings)
    flow = pinxit.Flow(vae=str(tmp_path / "vae"), width=32, depth=1, heads=1)
    run = pinxit.train(flow, images, out=tmp_path / "flow", **settings)
    shutil.rmtree(tmp_path / "vae")
    model = Run(run.path).load("cpu")
    assert model.codec.shape == (4, 8, 8)
    assert model.sample(2, steps=2).pixels.shape == (2, 16, 16, 3)
    latents = model.mean_latents(torch.from_numpy(images.pixels))
    assert latents.mean((0, 2, 3)).abs().max() < 0.3
    names = [name for name, _ in model.named_parameters()]
    assert not [name for name in names if name.startswith("codec")]


def test_a_vae_that_does_not_fit_is_named(tmp_path):
    images, settings = color_images(), {"steps": 1, "batch_size": 8, "quiet": True}
    pinxit.train(pinxit.VAE(latents="vector"), images, out=tmp_path / "vae", **settings)
    with pytest.raises(UsageError, match="has a vector of latents"):
        pinxit.train(pinxit.Flow(vae=str(tmp_path / "vae")), images, out=tmp_path / "a", **settings)
    with pytest.raises(UsageError, match="need a VAE"):
        Config().resolve(color_images(side=32).info())
    flow = pinxit.Flow(vae=str(tmp_path / "vae"))
    with pytest.raises(UsageError, match="16x16x3"):
        pinxit.train(flow, color_images(side=8), out=tmp_path / "c", **settings)


def test_inversion_returns_the_noise_and_the_image():
    model = build(condition="none", prediction="velocity")
    with torch.no_grad():  # a path that 50 steps follow, to values that 8 bits hold
        model.network.out_proj.weight.mul_(0.5)
    noise = 0.5 * np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)
    images = model.from_noise(noise)
    again = model.from_noise(model.invert(images))
    assert np.abs(again.pixels.astype(int) - images.pixels).mean() < 3
    with pytest.raises(UsageError, match=r"noise must be \[n, 1, 8, 8\]"):
        model.from_noise(noise[:, :, 1:])


@pytest.mark.parametrize("condition", ["none", "label", "cluster", "text"])
def test_interpolation_begins_and_ends_at_the_samples(condition):
    model = build(condition=condition, **({"num_clusters": 3} if condition == "cluster" else {}))
    path = interpolate_seeds(model, (3, 4), steps=3)
    for end, seed in ((0, 3), (-1, 4)):
        sample = model.sample(1, seed=seed).pixels[0].astype(int)
        assert np.abs(path.pixels[end] - sample).max() <= 1
    assert (path.pixels[1] != path.pixels[0]).any()


def test_interpolation_of_captions_begins_and_ends_at_the_drawings():
    model = build(condition="text")
    texts = ("a red dot", "a blue dot")
    path = interpolate_texts(model, texts, 3, seeds=(5, 5))
    for end, text in ((0, texts[0]), (-1, texts[1])):
        drawing = model.draw([text], seed=5).pixels[0].astype(int)
        assert np.abs(path.pixels[end] - drawing).max() <= 1
    with pytest.raises(UsageError, match="no captions"):
        interpolate_texts(build(condition="none"), texts, 3)


def test_the_bound_of_pixels_is_that_of_a_distribution(monkeypatch):
    """Over the 256 images of one pixel: probabilities of at most 1 in all, and not far below."""
    monkeypatch.setattr(likelihood, "NUM_DENSITY_STEPS", 8)
    values = Images(np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1))
    config = Config(condition="none", width=16, heads=1, depth=1)
    model = build_model(config, values, np.arange(256))[0].eval()
    with torch.no_grad():
        model.network.out_proj.bias.fill_(0.3)  # a constant velocity: a shifted normal
    scores = model.score(values, samples=4)
    edges = torch.linspace(-1, 1, 257) - 0.3
    exact = torch.special.ndtr(edges).diff().log().numpy()
    assert np.abs(scores - exact).max() < 0.02
    assert model.eight_bit


def test_the_bound_of_a_model_of_clusters_counts_the_cluster(monkeypatch):
    """The same density in each cluster: the bound is less by -log p of the image's cluster."""
    monkeypatch.setattr(likelihood, "NUM_DENSITY_STEPS", 8)
    values = Images(np.repeat(np.arange(0, 256, 8), 4).astype(np.uint8).reshape(-1, 1, 1, 1))
    models = []
    for condition in ("none", "cluster"):
        config = Config(condition=condition, num_clusters=3, width=16, heads=1, depth=1)
        model = build_model(config, values, np.arange(128))[0].eval()
        torch.nn.init.constant_(model.network.out_proj.bias, 0.3)
        models.append(model)
    less = models[0].score(values) - models[1].score(values)
    share = np.bincount(models[1].conditions.examples.record) / 128
    assert less == pytest.approx(-np.log(share[models[1].conditions.examples.record]), abs=1e-3)


def test_with_a_standard_normal_prior_the_bound_is_the_vaes(tmp_path):
    images = color_images()
    vae = pinxit.VAE(latents="grid", width=8, depth=1, latent_channels=4)
    run = pinxit.train(vae, images, steps=3, out=tmp_path / "vae", quiet=True)
    config = Config(vae=str(run.path), condition="none", width=16, depth=1, heads=1)
    model = build_model(config, images, np.arange(20), component=pinxit.load(run.path))[0].eval()
    model.codec.mean.zero_()
    model.codec.std.fill_(1.0)
    assert model.score(images[:3], seed=5) == pytest.approx(
        pinxit.load(run.path).score(images[:3], seed=5), rel=1e-4
    )


def test_a_caption_that_helps_to_denoise_chooses_among_candidates():
    model = build(condition="text")
    one = model.draw(TEXTS, steps=3)
    best = model.draw(TEXTS, steps=3, best_of=4)
    captions = model.reader.text.check(TEXTS, None)
    gains = [model._denoising_gain(images, captions) for images in (one, best)]
    assert (gains[1] >= gains[0] - 1e-4).all()
    assert len(list(model.draw_stream(TEXTS, steps=3, best_of=2))) > 1


def test_attention_to_words_is_a_share():
    model = build(condition="text")
    maps = model.token_attention(blobs(2), TEXTS, "en")
    assert maps[0][0].token.strip() == "a"
    total = sum(token.weights for token in maps[0])
    assert total.shape == (8, 8)
    assert (total > 0).all()
    assert (total <= 1 + 1e-5).all()


def test_euler_takes_half_the_evaluations_and_ends_near():
    model = build(condition="none")
    calls = []
    velocity = model.velocity

    def count(x, t, condition):
        calls.append(len(x))
        return velocity(x, t, condition)

    model.velocity = count
    ends = {}
    for solver in ("heun", "euler"):
        calls.clear()
        ends[solver] = model.sample(2, steps=10, solver=solver).pixels.astype(int), len(calls)
    assert ends["heun"][1] == 19, "the last step has one"
    assert ends["euler"][1] == 10
    assert np.abs(ends["heun"][0] - ends["euler"][0]).mean() < 20


def test_a_model_of_pairs_edits_the_image_it_is_given():
    model, images = build(source="image+text"), blobs(2)
    with torch.no_grad():
        model.network.in_proj.weight.normal_(std=0.5)
    edited = model.edit(images, TEXTS, steps=4)
    assert not np.array_equal(edited.pixels, model.edit(blobs(4)[2:], TEXTS, steps=4).pixels)
    assert not np.array_equal(edited.pixels, model.edit(images, TEXTS[::-1], steps=4).pixels)
    near = model.edit(images, TEXTS, steps=4, strength=0.05).pixels.astype(int)
    assert np.abs(near - images.pixels).mean() < np.abs(edited.pixels - near).mean()
    assert len(model.draw(TEXTS, steps=2)) == 2
    singles = Images(images.pixels, captions={"en": TEXTS})
    with pytest.raises(UsageError, match="trained on pairs of images"):
        build_model(Config(source="image+text"), singles, np.arange(2))


def test_any_number_of_positions_is_visible():
    torch.manual_seed(0)
    known = sample_visible(4_000, (4, 5), torch.device("cpu"))
    assert known.shape == (4_000, 1, 4, 5)
    counts = known.flatten(1).sum(1)
    assert set(counts.tolist()) == set(range(1, 20))
    assert counts.float().mean() == pytest.approx(10, abs=0.3)
    edges = (known[..., 1:] != known[..., :-1]).flatten(1).float().mean(1)
    assert edges[1::2].mean() < 0.8 * edges[::2].mean(), "every second mask is of rectangles"


@pytest.mark.slow
def test_what_is_visible_is_continued():
    """Images of one color each: what is missing is as bright as what is visible."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (64, 1, 1, 1)).astype(np.uint8)
    images = Images(np.tile(values, (1, 4, 4, 1)), source="plain", fingerprint="plain")
    mask = np.zeros((64, 4, 4), bool)
    mask[:, :, 2:] = True
    errors = {}
    for share in (0.0, 0.5):
        config = Config(condition="none", width=32, depth=2, heads=1, mask_share=share)
        torch.manual_seed(0)
        model = build_model(config, images, np.arange(64))[0].train()
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
        for _ in range(150):
            optimizer.zero_grad()
            model.loss(images.batch(rng.integers(0, 64, 32))).total.backward()
            optimizer.step()
        completed = model.eval().complete(images, mask, steps=8).pixels.astype(int)
        errors[share] = np.abs(completed - images.pixels)[mask].mean()
    assert errors[0.5] < 20
    assert errors[0.5] < 0.7 * errors[0.0]
