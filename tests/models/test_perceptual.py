"""The perceptual loss: its networks are frozen, its gradient right, its weights in the run."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import pinxit
from pinxit.errors import UsageError
from pinxit.models import build_model
from pinxit.models.vae.config import Config
from pinxit.models.vae.lpips import NUMBERS, SLICES, LPIPSNetwork
from pinxit.models.vae.perceptual import LPIPS_SPEC, PerceptualDistance
from pinxit.nn.pixels import to_float
from pinxit.runs import read_tensors
from tests.builders import blobs

TINY = {"latent_dim": 3, "width": 16, "depth": 1, "network": "mlp"}
NETWORKS = ("small", "mae", "lpips")


def lpips_state(seed=0):
    """Random weights under the names of the package `lpips`."""
    generator = torch.Generator().manual_seed(seed)
    state, inputs = {}, 3
    for i, (numbers, widths) in enumerate(zip(NUMBERS, SLICES, strict=True)):
        for number, width in zip(numbers, widths, strict=True):
            weight = torch.randn(width, inputs, 3, 3, generator=generator)
            state[f"net.slice{i + 1}.{number}.weight"] = weight / (3 * inputs**0.5)
            state[f"net.slice{i + 1}.{number}.bias"] = torch.randn(width, generator=generator) / 9
            inputs = width
        weights = torch.rand(1, widths[-1], 1, 1, generator=generator)
        state[f"lin{i}.model.1.weight"] = weights
    return state


def distance_of(network):
    torch.manual_seed(0)
    info = blobs().info()
    if network == "small":
        return PerceptualDistance(None, info)
    if network == "lpips":
        return PerceptualDistance(LPIPS_SPEC, info)
    model = build_model(pinxit.MAE(width=16, depth=2, heads=2), blobs(), np.arange(48))[0]
    spec = {"family": "mae", "config": dataclasses.asdict(model.config)}
    return PerceptualDistance(spec | {"dataset_info": info.to_json()}, info)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_gradient_is_that_of_finite_differences(network):
    """Of noise: in flat images max pooling has no single gradient."""
    is_mae = network == "mae"  # its attention is of float32
    distance = distance_of(network).to(torch.float32 if is_mae else torch.float64)
    x, y = torch.rand(2, 2, 1, 8, 8, dtype=torch.float32 if is_mae else torch.float64)
    x.requires_grad_()
    distance(x, y).sum().backward()
    assert x.grad is not None
    direction = torch.randn_like(x)
    step = 3e-3 if is_mae else 1e-7  # smaller than the distance to a kink of a ReLU
    with torch.no_grad():
        ends = [distance(x + sign * step * direction, y).sum() for sign in (1, -1)]
    expected = (ends[0] - ends[1]) / (2 * step)
    assert abs(float(expected)) > 1e-6
    assert float((x.grad * direction).sum()) == pytest.approx(float(expected), rel=1e-2)


@pytest.mark.parametrize("network", NETWORKS)
def test_equal_images_have_distance_zero_and_others_more(network):
    distance = distance_of(network)
    x, y = to_float(torch.from_numpy(blobs(4).pixels)).split(2)
    assert torch.equal(distance(x, x), torch.zeros(2))
    assert (distance(x, y) > 0).all()
    assert torch.allclose(distance(x, y), distance(y, x))
    assert torch.isfinite(distance(torch.zeros(2, 1, 8, 8), y)).all()


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 64)])
def test_lpips_is_that_of_its_paper_written_out(channels, side):
    """A position at a time, from the state dict under the names of the package."""
    network = LPIPSNetwork()
    state = lpips_state()
    distance = PerceptualDistance(LPIPS_SPEC, blobs().info())
    distance.network = network
    load_lpips(network, state)
    x, y = torch.rand(2, 1, channels, side, side)
    total = 0.0
    features = [vgg(image, state) for image in (x, y)]
    for i, (one, two) in enumerate(zip(*features, strict=True)):
        one, two = (part / part.norm(dim=1, keepdim=True) for part in (one, two))
        weight = state[f"lin{i}.model.1.weight"]
        total += float((weight * (one - two).square()).sum(1).mean())
    assert float(distance(x, y).detach()) == pytest.approx(total, rel=1e-4)


def load_lpips(network, state):
    from pinxit.models.vae.lpips import _convert

    network.load_state_dict(_convert(state))


def vgg(x, state):
    if x.shape[-1] < 64:
        x = F.interpolate(x, scale_factor=64 // x.shape[-1], mode="bilinear")
    shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]])[..., None, None]
    h, outputs = (2 * x.expand(-1, 3, -1, -1) - 1 - shift) / scale, []
    for i, numbers in enumerate(NUMBERS):
        for number in numbers:
            name = f"net.slice{i + 1}.{number}"
            h = F.relu(F.conv2d(h, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))
        outputs.append(h)
        h = F.max_pool2d(h, 2)
    return outputs


def test_training_leaves_the_features_as_they_are_and_trains_the_decoder():
    config = Config(**TINY, perceptual=1.0, ms_ssim=0.1, adversarial=0.5, adversarial_from=0.0)
    model = build_model(config, blobs(), np.arange(48))[0].train()
    assert not model.perceptual.training
    assert not [name for name, _ in model.named_parameters() if name.startswith("perceptual.")]
    before = {name: value.clone() for name, value in model.perceptual.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    values = []
    for step in range(40):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss = model.loss(blobs().batch(np.arange(48)))
        loss.total.backward()
        optimizer.step()
        values.append(float(loss.parts["perceptual"]))
    after = model.perceptual.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert np.mean(values[-5:]) < np.mean(values[:5])


def test_the_term_alone_reaches_the_decoder():
    """Published scripts compute it without gradients: then it changes nothing."""
    from pinxit.models.vae.penalties import Draw, perceptual_term

    model = build_model(Config(**TINY, perceptual=1.0), blobs(), np.arange(48))[0].train()
    x = model.observe(blobs().batch(np.arange(8)))
    z = torch.randn(8, 3, requires_grad=True)
    term = perceptual_term(model, Draw(z, None, x, model.decode_params(z)))
    term.loss.backward()
    assert z.grad is not None
    assert z.grad.abs().max() > 0
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())


def train(folder, images, **options):
    settings = {"steps": 6, "batch_size": 8, "quiet": True}
    return pinxit.train(pinxit.VAE(**TINY, **options), images, out=folder, **settings)


@pytest.fixture(scope="module")
def mae_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features") / "mae"
    config = pinxit.MAE(width=16, depth=2, heads=2, decoder_depth=1)
    return pinxit.train(config, blobs(), out=folder, steps=2, batch_size=8, quiet=True)


def test_a_run_holds_the_features_and_resumes_without_their_run(mae_run, tmp_path):
    images, folder = blobs(), tmp_path / "mae"
    shutil.copytree(mae_run.path, folder)
    run = train(tmp_path / "vae", images, perceptual=0.5, perceptual_features=str(folder))
    weights = read_tensors(folder / "model.safetensors")
    shutil.rmtree(folder)
    kept = run.load().perceptual.network.state_dict()
    assert all(torch.equal(kept[name], weights[name]) for name in weights)
    pinxit.resume(run.path, images, steps=9, quiet=True)
    whole = train_whole(tmp_path / "whole", images, mae_run)
    resumed, whole = (pinxit.load(path).state_dict() for path in (run.path, whole.path))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def train_whole(folder, images, mae_run):
    first = train(folder, images, perceptual=0.5, perceptual_features=str(mae_run.path))
    return pinxit.resume(first.path, images, steps=9, quiet=True)


def test_a_file_of_lpips_weights_is_kept_in_the_run(tmp_path):
    save_file(lpips_state(), tmp_path / "lpips.safetensors")
    torch.save(lpips_state(), tmp_path / "lpips.pth")
    for name in ("lpips.safetensors", "lpips.pth"):
        config = Config(**TINY, perceptual=0.1, perceptual_features=str(tmp_path / name))
        model, fitted = build_model(config, blobs(), np.arange(48))
        assert model.config.perceptual_spec == LPIPS_SPEC
        assert torch.equal(
            fitted["perceptual.network.slices.0.0.weight"], lpips_state()["net.slice1.0.weight"]
        )


@pytest.mark.parametrize(
    ("content", "reason"),
    [({"net.slice1.0.weight": torch.zeros(64, 3, 3, 3)}, "slice1.0.bias"), ({}, "slice1")],
)
def test_a_file_of_other_weights_is_refused(content, reason, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    config = Config(**TINY, perceptual=0.1, perceptual_features=str(file))
    with pytest.raises(UsageError, match=f"no weights of LPIPS.*{reason}"):
        build_model(config, blobs(), np.arange(48))


def test_a_file_that_is_no_file_of_weights_is_refused(tmp_path):
    for name in ("notes.txt", "weights.safetensors", "weights.pth"):
        file = tmp_path / name
        file.write_text("not weights")
        config = Config(**TINY, perceptual=0.1, perceptual_features=str(file))
        with pytest.raises(UsageError, match="no file of weights"):
            build_model(config, blobs(), np.arange(48))


def test_features_of_another_kind_or_size_are_refused(mae_run, tmp_path):
    other = train(tmp_path / "vae", blobs())
    with pytest.raises(UsageError, match="masked autoencoder"):
        train(tmp_path / "a", blobs(), perceptual=0.1, perceptual_features=str(other.path))
    large = blobs(height=12, width=12)
    with pytest.raises(UsageError, match="takes images of 8x8x1"):
        train(tmp_path / "b", large, perceptual=0.1, perceptual_features=str(mae_run.path))
    with pytest.raises(UsageError, match="whose weight is 0"):
        Config(perceptual_features=str(mae_run.path))
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
