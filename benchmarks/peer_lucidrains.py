"""`denoising_diffusion_pytorch`: its Unet and GaussianDiffusion, with its README's settings.

Its `Trainer` reads a folder of files and stops after a number of steps; here the same loop stops
after a time: Adam at 8e-5 with betas 0.9 and 0.99, 2 batches of 32 a step, random flips, gradients
clipped at norm 1, its EMA of decay 0.995, in float32. As in its EMA, the average begins after 100
steps; a model with fewer steps is sampled as it is. Samples are by its DDIM.

See `benchmarks.peer_process` for the options.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.peer_process import (
    TINY,
    Stopwatch,
    count_parameters,
    parse_options,
    random_batches,
    sample_in_batches,
    write_results,
)

BATCH_SIZE = 32
ACCUMULATE = 2  # batches per step
EMA_START = 100  # steps


def main() -> None:
    """Train, sample, and write the results."""
    write_results(parse_options(__doc__), train, sample, "denoising-diffusion-pytorch")


def build_diffusion(size: int, channels: int, args: argparse.Namespace) -> Any:
    """Build the network and the diffusion of the README."""
    from denoising_diffusion_pytorch import (  # pyright: ignore[reportMissingImports]
        GaussianDiffusion,
        Unet,
    )

    width = 64 // TINY if args.tiny else 64
    network = Unet(dim=width, dim_mults=(1, 2, 4, 8), channels=channels, flash_attn=False)
    return GaussianDiffusion(
        network, image_size=size, timesteps=1000, sampling_timesteps=args.sampling_steps
    )


def train(pixels: np.ndarray, args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Train for the time, and return the diffusion with its averaged weights."""
    import torch
    from ema_pytorch import EMA  # pyright: ignore[reportMissingImports]

    diffusion = build_diffusion(pixels.shape[1], pixels.shape[3], args)
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=8e-5, betas=(0.9, 0.99))
    ema = EMA(diffusion, beta=0.995, update_every=10, update_after_step=EMA_START)
    batches = random_batches(pixels, BATCH_SIZE)
    stopwatch, has_time = Stopwatch(args.minutes), True
    while has_time:
        for _ in range(ACCUMULATE):
            (diffusion(next(batches)) / ACCUMULATE).backward()
        torch.nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.update()
        has_time = stopwatch.finish_step()
    if stopwatch.steps <= EMA_START:
        ema.copy_params_from_model_to_ema()
    return ema.ema_model.eval(), {
        "seconds": stopwatch.seconds,
        "steps": stopwatch.steps,
        "images": stopwatch.steps * ACCUMULATE * min(BATCH_SIZE, len(pixels)),
        "parameters": count_parameters(diffusion),
    }


def sample(diffusion: Any, args: argparse.Namespace) -> np.ndarray:
    """Sample by its DDIM."""
    import torch

    torch.manual_seed(args.seed)
    return sample_in_batches(lambda count: diffusion.sample(batch_size=count), args.samples)


if __name__ == "__main__":
    main()
