"""pythae's VAE and VQ-VAE on images of 32 x 32 or 64 x 64, with its networks for these sizes.

The default network of pythae is an MLP; for such images it has residual networks, made for CIFAR-10
and CelebA (`pythae.models.nn.benchmarks`). Its trainer has its default settings (Adam at 1e-4,
batches of 64) and is stopped by a callback after the time.

`vae` has 256 latents at 32 x 32 and 64 at 64 x 64, and its z are sampled from a mixture of 10
Gaussians, fitted afterwards. `vqvae` has 512 codes, its default; half of the time trains it, and
half the PixelCNN of its sampler. Fitting the mixture, and encoding the training images for either,
count as sampling.

See `benchmarks.peer_process` for the options.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.peer_process import (
    Stopwatch,
    count_parameters,
    parse_options,
    to_float,
    to_uint8,
    write_results,
)

BATCH_SIZE = 64  # its default
ENDLESS = 1_000_000  # epochs: the time ends training
CODE_CHANNELS = 64
LATENTS = {32: 256, 64: 64}  # by the side of the images
ENCODE_BATCH = 500


def main() -> None:
    """Train, sample, and write the results."""
    args = parse_options(__doc__, models=("vae", "vqvae"))
    functions = (train_vae, sample_vae) if args.model == "vae" else (train_vqvae, sample_vqvae)
    write_results(args, *functions, "pythae")


# -- VAE -------------------------------------------------------------------------------------------


def train_vae(pixels: np.ndarray, args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Train the VAE, and return it with the training images, which its sampler is fitted to."""
    from pythae.models import VAE, VAEConfig  # pyright: ignore[reportMissingImports]

    x = to_float(pixels)
    config = VAEConfig(input_dim=x.shape[1:], latent_dim=LATENTS[x.shape[-1]])
    encoder, decoder = _network_classes(x.shape[-1], "Encoder_ResNet_VAE", "Decoder_ResNet_AE")
    model = VAE(config, encoder=encoder(config), decoder=decoder(config))
    stopwatch = train_for(model, x, args.minutes, args)
    return (model.eval(), x), describe([stopwatch], len(x), model)


def sample_vae(trained: tuple[Any, np.ndarray], args: argparse.Namespace) -> np.ndarray:
    """Fit a mixture of 10 Gaussians (its default) to the training images' z, and sample."""
    import torch
    from pythae.samplers import (  # pyright: ignore[reportMissingImports]
        GaussianMixtureSampler,
        GaussianMixtureSamplerConfig,
    )

    model, x = trained
    config = GaussianMixtureSamplerConfig(n_components=10)
    sampler = GaussianMixtureSampler(model=model, sampler_config=config)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    with torch.no_grad():
        sampler.fit(train_data=torch.from_numpy(x))
        return to_uint8(sampler.sample(num_samples=args.samples))


# -- VQ-VAE ----------------------------------------------------------------------------------------


def train_vqvae(pixels: np.ndarray, args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Train the VQ-VAE, then the PixelCNN of its sampler, and return the sampler.

    The sampler's own `fit` has no callback to stop it: its steps are done here.
    """
    from pythae.models import VQVAE, VQVAEConfig  # pyright: ignore[reportMissingImports]
    from pythae.samplers import PixelCNNSampler  # pyright: ignore[reportMissingImports]

    x = to_float(pixels)
    config = VQVAEConfig(input_dim=x.shape[1:], latent_dim=CODE_CHANNELS)
    names = ("Encoder_ResNet_VQVAE", "Decoder_ResNet_VQVAE")
    encoder, decoder = _network_classes(x.shape[-1], *names)
    model = VQVAE(config, encoder=encoder(config), decoder=decoder(config))
    first = train_for(model, x, args.minutes / 2, args)
    sampler = PixelCNNSampler(model=model.eval())
    codes = encode_codes(model, x)
    second = train_for(sampler.pixelcnn_model, codes, args.minutes / 2, args)
    sampler.pixelcnn_model.eval()
    sampler.is_fitted = True
    return sampler, describe([first, second], len(x), model, sampler.pixelcnn_model)


def encode_codes(model: Any, x: np.ndarray) -> np.ndarray:
    import torch

    batches = torch.from_numpy(x).split(ENCODE_BATCH)
    with torch.no_grad():
        codes = [model({"data": batch}).quantized_indices for batch in batches]
    return torch.cat(codes).float().numpy()


def sample_vqvae(sampler: Any, args: argparse.Namespace) -> np.ndarray:
    """Sample codes by the PixelCNN, and decode them."""
    import torch

    torch.manual_seed(args.seed)
    with torch.no_grad():
        return to_uint8(sampler.sample(num_samples=args.samples))


# -- training --------------------------------------------------------------------------------------


class TimeUpError(Exception):
    """The time for training is over."""


def train_for(model: Any, data: np.ndarray, minutes: float, args: argparse.Namespace) -> Stopwatch:
    """Train a model with its trainer's default settings until the time is over."""
    import torch
    from pythae.data.datasets import BaseDataset  # pyright: ignore[reportMissingImports]
    from pythae.trainers import BaseTrainer, BaseTrainerConfig  # pyright: ignore[reportMissingImports]
    from pythae.trainers.training_callbacks import (  # pyright: ignore[reportMissingImports]
        TrainingCallback,
    )

    stopwatch = Stopwatch(minutes)

    class StopInTime(TrainingCallback):
        def on_train_begin(self, training_config: Any, **kwargs: Any) -> None:
            stopwatch.start = stopwatch.last = stopwatch.clock()

        def on_train_step_end(self, training_config: Any, **kwargs: Any) -> None:
            if not stopwatch.finish_step():
                raise TimeUpError

    x = torch.from_numpy(data)
    trainer = BaseTrainer(
        model=model,
        train_dataset=BaseDataset(x, torch.ones(len(x))),
        training_config=BaseTrainerConfig(
            output_dir=str(args.out / "pythae"), num_epochs=ENDLESS, seed=args.seed, no_cuda=True
        ),
        callbacks=[StopInTime()],
    )
    try:
        trainer.train()
    except TimeUpError:
        return stopwatch
    raise AssertionError("training ended before its time")


def _network_classes(side: int, *names: str) -> tuple[Any, ...]:
    """Return its network classes for images of 32 x 32 or 64 x 64."""
    from pythae.models.nn.benchmarks import celeba, cifar  # pyright: ignore[reportMissingImports]

    module, suffix = {32: (cifar, "CIFAR"), 64: (celeba, "CELEBA")}[side]
    return tuple(getattr(module, f"{name}_{suffix}") for name in names)


def describe(stopwatches: list[Stopwatch], num_images: int, *models: Any) -> dict[str, Any]:
    """Return the measurements, with images seen at its batch size (a pass's last batch is less)."""
    steps = [stopwatch.steps for stopwatch in stopwatches]
    per_pass = -(-num_images // BATCH_SIZE)
    seen = [n // per_pass * num_images + n % per_pass * BATCH_SIZE for n in steps]
    return {
        "seconds": sum(stopwatch.seconds for stopwatch in stopwatches),
        "steps": sum(steps),
        "images": sum(seen),
        "parameters": count_parameters(*models),
    }


if __name__ == "__main__":
    main()
