"""pythae's default VAE in a process of its own, as its tutorial has it.

    python -m benchmarks.peer_pythae FOLDER --latent-dim 64 --epochs 1 --samples 5000

FOLDER holds train.npy and test.npy, uint8 [n, height, width, channel]; samples.npy and
reconstructions.npy are written there, and told.json: seconds and versions.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

CHUNK = 500


def main() -> None:
    """Train, sample, reconstruct, and write all down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latent-dim", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=8)  # pythae's own default
    given = parser.parse_args()
    train, test = (_unit(np.load(given.folder / f"{name}.npy")) for name in ("train", "test"))
    model, seconds = _trained(train, given)
    samples = _sampled(model, given.samples)
    np.save(given.folder / "samples.npy", _pixels(samples))
    np.save(given.folder / "reconstructions.npy", _pixels(_reconstructed(model, test)))
    told = {
        "seconds": seconds,
        "images": given.epochs * len(train),
        "parameters": sum(p.numel() for p in model.parameters()),
        "version": version("pythae"),
    }
    (given.folder / "told.json").write_text(json.dumps(told))


def _unit(pixels: np.ndarray) -> np.ndarray:
    """Channels first, 0 to 1."""
    return (pixels.transpose(0, 3, 1, 2) / 255).astype(np.float32)


def _pixels(x: Any) -> np.ndarray:
    return (x.clamp(0, 1) * 255).round().byte().numpy().transpose(0, 2, 3, 1)


def _trained(train: np.ndarray, given: argparse.Namespace) -> tuple[Any, float]:
    """Its default network and settings (MSE, Adam at 1e-4, batches of 64); seconds it trained."""
    from pythae.models import VAE, VAEConfig  # pyright: ignore[reportMissingImports]
    from pythae.pipelines import TrainingPipeline  # pyright: ignore[reportMissingImports]
    from pythae.trainers import BaseTrainerConfig  # pyright: ignore[reportMissingImports]

    model = VAE(VAEConfig(input_dim=train.shape[1:], latent_dim=given.latent_dim))
    settings = BaseTrainerConfig(
        output_dir=str(given.folder / "runs"), num_epochs=given.epochs, seed=given.seed
    )
    start = time.perf_counter()
    TrainingPipeline(model=model, training_config=settings)(train_data=train)
    return model.eval(), time.perf_counter() - start


def _sampled(model: Any, count: int) -> Any:
    import torch
    from pythae.samplers import NormalSampler  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    return NormalSampler(model=model).sample(num_samples=count).cpu()


def _reconstructed(model: Any, test: np.ndarray) -> Any:
    """From the mean of the posterior, which is kinder to it than its `reconstruct`, a sample."""
    import torch

    chunks = torch.from_numpy(test).split(CHUNK)
    with torch.inference_mode():
        return torch.cat([model.predict(chunk.to(model.device)).recon_x.cpu() for chunk in chunks])


if __name__ == "__main__":
    main()
