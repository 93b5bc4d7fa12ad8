"""diffusers' unconditional UNet2DModel, trained as by its script `train_unconditional.py`.

The network, the optimizer, the noise schedule and the average of the weights are those of the
script's defaults, with the options of its README's example: batches of 16, random flips, an EMA.
Where the script counts steps there is a time limit here: the cosine of the learning rate ends with
the time, and the warmup takes 500 steps or a tenth of the time, whichever is shorter. Samples are
by DDIM, whose steps are fewer than the 1,000 of the script's DDPM sampler.

See `benchmarks.peer_process` for the options.
"""

from __future__ import annotations

import argparse
import math
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

BATCH_SIZE = 16
LEARNING_RATE = 1e-4
WARMUP_STEPS = 500
WARMUP_SHARE = 0.1  # of the time, at most


def main() -> None:
    """Train, sample, and write the results."""
    write_results(parse_options(__doc__), train, sample, "diffusers")


def build_network(size: int, channels: int, tiny: bool = False) -> Any:
    """Build the network of the script."""
    from diffusers import UNet2DModel  # pyright: ignore[reportMissingImports]

    widths = (128, 128, 256, 256, 512, 512)
    down, up = "DownBlock2D", "UpBlock2D"
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=2,
        block_out_channels=tuple(width // TINY for width in widths) if tiny else widths,
        down_block_types=(down, down, down, down, "AttnDownBlock2D", down),
        up_block_types=(up, "AttnUpBlock2D", up, up, up, up),
    )


def learning_rate(step: int, progress: float) -> float:
    """Return the learning rate of a step at a share of the time: warmup, then a cosine to 0."""
    warmup = min(1.0, max(step / WARMUP_STEPS, progress / WARMUP_SHARE))
    return LEARNING_RATE * warmup * (1 + math.cos(math.pi * progress)) / 2


def train(pixels: np.ndarray, args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Train for the time, and return the network with its averaged weights."""
    import torch
    from diffusers import DDPMScheduler  # pyright: ignore[reportMissingImports]
    from diffusers.training_utils import EMAModel  # pyright: ignore[reportMissingImports]

    network = build_network(pixels.shape[1], pixels.shape[3], args.tiny)
    noise_scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    options = {"betas": (0.95, 0.999), "weight_decay": 1e-6, "eps": 1e-8}
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, **options)
    ema = EMAModel(
        network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=3 / 4
    )
    batches = random_batches(pixels, BATCH_SIZE)
    stopwatch, has_time = Stopwatch(args.minutes), True
    while has_time:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(stopwatch.steps + 1, stopwatch.progress)
        loss = _noise_loss(network, noise_scheduler, 2 * next(batches) - 1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(network.parameters())
        has_time = stopwatch.finish_step()
    ema.copy_to(network.parameters())
    return network.eval(), {
        "seconds": stopwatch.seconds,
        "steps": stopwatch.steps,
        "images": stopwatch.steps * min(BATCH_SIZE, len(pixels)),
        "parameters": count_parameters(network),
    }


def _noise_loss(network: Any, noise_scheduler: Any, x: Any) -> Any:
    """Mean squared error of the noise that the network predicts."""
    import torch

    noise = torch.randn_like(x)
    times = torch.randint(0, noise_scheduler.config.num_train_timesteps, (len(x),))
    prediction = network(noise_scheduler.add_noise(x, noise, times), times).sample
    return torch.nn.functional.mse_loss(prediction, noise)


def sample(network: Any, args: argparse.Namespace) -> np.ndarray:
    """Sample by its DDIM pipeline."""
    import torch
    from diffusers import DDIMPipeline, DDPMScheduler  # pyright: ignore[reportMissingImports]

    pipeline = DDIMPipeline(unet=network, scheduler=DDPMScheduler(num_train_timesteps=1000))
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": args.sampling_steps, "output_type": "np"}
    generator = torch.Generator().manual_seed(args.seed)

    def sample_batch(count: int) -> Any:
        images = pipeline(batch_size=count, generator=generator, **options).images
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    return sample_in_batches(sample_batch, args.samples)


if __name__ == "__main__":
    main()
