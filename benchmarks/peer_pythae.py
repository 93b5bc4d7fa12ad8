"""Train and sample pythae's default VAE, as in its tutorial, in a process of its own.

    python -m benchmarks.peer_pythae FOLDER --latent-dim 64 --epochs 1 --samples 5000

FOLDER holds train.npy and test.npy, uint8 [n, height, width, channel]. Writes samples.npy,
samples-mixture.npy (z from a mixture of Gaussians fitted afterwards), reconstructions.npy and
timing.json (seconds, number of images and parameters, version) there.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RECONSTRUCTION_BATCH = 500


def main() -> None:
    """Train, sample, reconstruct, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latent-dim", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=8)  # pythae's own default
    args = parser.parse_args()
    train, test = (_to_float(np.load(args.folder / f"{name}.npy")) for name in ("train", "test"))
    model, seconds = _train(train, args)
    samples = _sample(model, args.samples)
    np.save(args.folder / "samples.npy", _to_uint8(samples))
    mixture = _sample_mixture(model, train, args.samples)
    np.save(args.folder / "samples-mixture.npy", _to_uint8(mixture))
    np.save(args.folder / "reconstructions.npy", _to_uint8(_reconstruct(model, test)))
    timing = {
        "seconds": seconds,
        "images": args.epochs * len(train),
        "parameters": sum(p.numel() for p in model.parameters()),
        "version": version("pythae"),
    }
    (args.folder / "timing.json").write_text(json.dumps(timing))


def _to_float(pixels: np.ndarray) -> np.ndarray:
    """Pixels to floats from 0 to 1, channels first."""
    return (pixels.transpose(0, 3, 1, 2) / 255).astype(np.float32)


def _to_uint8(x: Any) -> np.ndarray:
    return (x.clamp(0, 1) * 255).round().byte().numpy().transpose(0, 2, 3, 1)


def _train(train: np.ndarray, args: argparse.Namespace) -> tuple[Any, float]:
    """Train its default network with its default settings (MSE, Adam at 1e-4, batches of 64).

    Returns the model and the seconds of training.
    """
    from pythae.models import VAE, VAEConfig  # pyright: ignore[reportMissingImports]
    from pythae.pipelines import TrainingPipeline  # pyright: ignore[reportMissingImports]
    from pythae.trainers import BaseTrainerConfig  # pyright: ignore[reportMissingImports]

    model = VAE(VAEConfig(input_dim=train.shape[1:], latent_dim=args.latent_dim))
    training_config = BaseTrainerConfig(
        output_dir=str(args.folder / "runs"), num_epochs=args.epochs, seed=args.seed
    )
    start = time.perf_counter()
    TrainingPipeline(model=model, training_config=training_config)(train_data=train)
    return model.eval(), time.perf_counter() - start


def _sample(model: Any, num_samples: int) -> Any:
    import torch
    from pythae.samplers import NormalSampler  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    return NormalSampler(model=model).sample(num_samples=num_samples).cpu()


def _sample_mixture(model: Any, train: np.ndarray, num_samples: int) -> Any:
    """Sample z from a mixture of 10 Gaussians (its default) fitted to the training images' z."""
    import torch
    from pythae.samplers import (  # pyright: ignore[reportMissingImports]
        GaussianMixtureSampler,
        GaussianMixtureSamplerConfig,
    )

    torch.manual_seed(0)
    sampler = GaussianMixtureSampler(
        model=model, sampler_config=GaussianMixtureSamplerConfig(n_components=10)
    )
    sampler.fit(train_data=torch.from_numpy(train))
    return sampler.sample(num_samples=num_samples).cpu()


def _reconstruct(model: Any, test: np.ndarray) -> Any:
    """Decode the posterior mean, which is closer than its `reconstruct` (a posterior sample)."""
    import torch

    batches = torch.from_numpy(test).split(RECONSTRUCTION_BATCH)
    with torch.inference_mode():
        return torch.cat([model.predict(x.to(model.device)).recon_x.cpu() for x in batches])


if __name__ == "__main__":
    main()
