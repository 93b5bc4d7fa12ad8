"""What the processes that train a peer for `benchmarks.samples` share: options, time, results.

    python -m benchmarks.peer_NAME FOLDER --out OUT --minutes 30 --samples 500

FOLDER holds train.npy, uint8 [n, height, width, channel]. OUT receives samples.npy, of the same
form, and timing.json. Nothing here imports pinxit: a peer may run in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

SAMPLING_BATCH = 32
TINY = 4  # the networks of a quick run have a quarter of the channels


def parse_options(description: str | None, models: tuple[str, ...] = ()) -> argparse.Namespace:
    """Parse the options of a peer; `models` are those that one script trains, if several."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of training")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--sampling-steps", type=int, default=50, help="of DDIM")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a small network, for a quick run")
    if models:
        parser.add_argument("--model", choices=models, required=True)
    return parser.parse_args()


class Stopwatch:
    """Time from the first step on, against a limit.

    A step is not begun if more than half of it is expected to be over the limit: the time trained
    is off by half a step at most, in either direction.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.limit = 60 * minutes
        self.clock = clock
        self.steps = 0
        self.start = self.last = clock()

    @property
    def seconds(self) -> float:
        """Seconds until the last finished step."""
        return self.last - self.start

    @property
    def progress(self) -> float:
        """Share of the time that is used, at most 1."""
        return min(1.0, self.seconds / self.limit)

    def finish_step(self) -> bool:
        """Count a step, and return whether there is time for another."""
        now = self.clock()
        step_seconds, self.last = now - self.last, now
        self.steps += 1
        return self.seconds + step_seconds / 2 < self.limit


def to_float(pixels: np.ndarray) -> np.ndarray:
    """Pixels to floats from 0 to 1, channels first."""
    return (pixels.transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)


def to_uint8(x: Any) -> np.ndarray:
    """Turn a tensor of values from 0 to 1, channels first, into pixels."""
    return (x.detach().clamp(0, 1) * 255).round().byte().cpu().numpy().transpose(0, 2, 3, 1)


def random_batches(pixels: np.ndarray, batch_size: int) -> Iterator[Any]:
    """Yield batches from 0 to 1 without end: every image once a pass, each flipped by chance."""
    import torch

    batch_size = min(batch_size, len(pixels))
    while True:
        order = torch.randperm(len(pixels))
        for rows in order[: len(order) // batch_size * batch_size].split(batch_size):
            x = torch.from_numpy(to_float(pixels[rows.numpy()]))
            flip = torch.rand(len(x)) < 0.5
            yield torch.where(flip[:, None, None, None], x.flip(3), x)


def sample_in_batches(sample: Callable[[int], Any], count: int) -> np.ndarray:
    """Return `count` images as pixels from a function that samples a number of them."""
    sizes = [min(SAMPLING_BATCH, count - start) for start in range(0, count, SAMPLING_BATCH)]
    return np.concatenate([to_uint8(sample(size)) for size in sizes])


def write_results(
    args: argparse.Namespace,
    train: Callable[[np.ndarray, argparse.Namespace], tuple[Any, dict[str, Any]]],
    sample: Callable[[Any, argparse.Namespace], np.ndarray],
    package: str,
) -> None:
    """Train, sample, and write what is measured.

    `train` returns the model and `steps`, `images` (seen), `seconds` and `parameters`.
    """
    import torch

    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    model, timing = train(np.load(args.folder / "train.npy", mmap_mode="r"), args)
    start = time.perf_counter()
    samples = sample(model, args)
    timing["sampling_seconds"] = time.perf_counter() - start
    timing |= {"version": version(package), "threads": torch.get_num_threads()}
    np.save(args.out / "samples.npy", samples)
    (args.out / "timing.json").write_text(json.dumps(timing))


def count_parameters(*modules: Any) -> int:
    """Return the number of parameters of modules."""
    return sum(p.numel() for module in modules for p in module.parameters())
