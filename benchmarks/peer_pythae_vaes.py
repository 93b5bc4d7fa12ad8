"""pythae's models on small grey images, each with the samplers that its documentation names.

    python -m benchmarks.peer_pythae_vaes FOLDER --out OUT --minutes 3 --model vae

Its MLP (784-512-latents) and its defaults: Adam at 1e-4, batches of 64, squared error. `vqvae` has
its residual network for MNIST, 512 codes, and half of the time for the PixelCNN of its sampler. MAF
is trained for half of the time beside that of its VAE; the mixture of 10 Gaussians has no limit.

OUT receives SAMPLER.npy for each sampler, reconstructions.npy of FOLDER/test.npy, and timing.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.peer_process import parse_options, to_float, to_uint8
from benchmarks.peer_pythae_images import CODE_CHANNELS, describe, encode_codes, train_for

MODELS = {  # name: class, and options beside its defaults
    "vae": ("VAE", {}),
    "rae-l2": ("RAE_L2", {}),
    "iwae": ("IWAE", {}),
    "vamp": ("VAMP", {}),
    "vqvae": ("VQVAE", {}),
}
LATENT_DIM = 64
BATCH = 500


def main() -> None:
    """Train a model, sample it in each way, reconstruct, and write the results."""
    import torch

    args = parse_options(__doc__, models=tuple(MODELS))
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    x, test = (to_float(np.load(args.folder / f"{name}.npy")) for name in ("train", "test"))
    train = train_vqvae if args.model == "vqvae" else train_vae
    model, samplers, timing = train(x, args)
    for name, sample in samplers:
        start = time.perf_counter()
        pixels = to_uint8(sample())
        np.save(args.out / f"{name}.npy", pixels)
        timing[f"{name}_seconds"] = time.perf_counter() - start
    np.save(args.out / "reconstructions.npy", reconstruct(model, test))
    timing |= {"version": version("pythae"), "samplers": [name for name, _ in samplers]}
    (args.out / "timing.json").write_text(json.dumps(timing))


Samplers = list[tuple[str, Callable[[], Any]]]


def train_vae(x: np.ndarray, args: argparse.Namespace) -> tuple[Any, Samplers, dict[str, Any]]:
    """Train one of the models with a vector of latents; return its samplers, not fitted yet."""
    from pythae import models  # pyright: ignore[reportMissingImports]

    name, options = MODELS[args.model]
    known = vars(models)
    config = known.get(f"{name}Config") or known[f"{name}_Config"]
    model = known[name](config(input_dim=x.shape[1:], latent_dim=LATENT_DIM, **options))
    stopwatch = train_for(model, x, args.minutes, args)
    return model.eval(), list(_samplers(model, x, args)), describe([stopwatch], len(x), model)


def _samplers(
    model: Any, x: np.ndarray, args: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the samplers of a model: its own prior where it has one, and those fitted afterwards.

    A regularized autoencoder has no prior; a VampPrior is its own.
    """
    import torch
    from pythae import samplers as s  # pyright: ignore[reportMissingImports]

    def draw(sampler: Any) -> Any:
        with torch.no_grad():
            return sampler.sample(num_samples=args.samples)

    def mixture() -> Any:
        config = s.GaussianMixtureSamplerConfig(n_components=10)
        sampler = s.GaussianMixtureSampler(model=model, sampler_config=config)
        with torch.no_grad():
            sampler.fit(train_data=torch.from_numpy(x))
        return draw(sampler)

    def maf() -> Any:
        """The steps of the sampler's own `fit`, which cannot be stopped, for half of the time."""
        sampler = s.MAFSampler(model=model)
        with torch.no_grad():
            z = [model({"data": batch}).z for batch in torch.from_numpy(x).split(BATCH)]
        train_for(sampler.flow_contained_model, torch.cat(z).numpy(), args.minutes / 2, args)
        sampler.maf_model = sampler.flow_contained_model.eval().flow
        sampler.is_fitted = True
        return draw(sampler)

    if args.model == "vamp":
        yield "vamp", lambda: draw(s.VAMPSampler(model=model))
        return
    if args.model != "rae-l2":
        yield "normal", lambda: draw(s.NormalSampler(model=model))
    yield "mixture", mixture
    if args.model in ("vae", "rae-l2"):
        yield "maf", maf


def train_vqvae(x: np.ndarray, args: argparse.Namespace) -> tuple[Any, Samplers, dict[str, Any]]:
    """Train the VQ-VAE, then the PixelCNN of its sampler, each for half of the time."""
    import torch
    from pythae.models import VQVAE, VQVAEConfig  # pyright: ignore[reportMissingImports]
    from pythae.models.nn.benchmarks import mnist  # pyright: ignore[reportMissingImports]
    from pythae.samplers import PixelCNNSampler  # pyright: ignore[reportMissingImports]

    config = VQVAEConfig(input_dim=x.shape[1:], latent_dim=CODE_CHANNELS)
    encoder = mnist.Encoder_ResNet_VQVAE_MNIST(config)
    model = VQVAE(config, encoder=encoder, decoder=mnist.Decoder_ResNet_VQVAE_MNIST(config))
    first = train_for(model, x, args.minutes / 2, args)
    sampler = PixelCNNSampler(model=model.eval())
    second = train_for(sampler.pixelcnn_model, encode_codes(model, x), args.minutes / 2, args)
    sampler.pixelcnn_model.eval()
    sampler.is_fitted = True

    def draw() -> Any:
        with torch.no_grad():
            return sampler.sample(num_samples=args.samples)

    timing = describe([first, second], len(x), model, sampler.pixelcnn_model)
    return model, [("pixelcnn", draw)], timing


def reconstruct(model: Any, test: np.ndarray) -> np.ndarray:
    """Decode the posterior means, which are closer than its `reconstruct` (posterior samples)."""
    import torch

    batches = torch.from_numpy(test).split(BATCH)
    with torch.inference_mode():
        return np.concatenate([to_uint8(model.predict(x).recon_x) for x in batches])


if __name__ == "__main__":
    main()
