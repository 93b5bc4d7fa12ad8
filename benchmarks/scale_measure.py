"""Measure what one node does: training by family, mapping by task and engine, decoding.

Seconds are those of the processor, of one thread: on a machine that others use they change less
than those of the clock. Each figure is the median of several short runs.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import Loop
from benchmarks.tables import Table, median
from pinxit.data.images import Images

SIZE = 64  # pixels of a side, in color
FILE_SIDE = 256  # of the JPEG files that are decoded
FLOW_SIDE = 8  # positions of a side, as many as those of the latents of 64 x 64
BATCH = 64
FAMILIES: dict[str, dict[str, Any]] = {
    "vae": {"network": "conv"},
    "mae": {},
    "tokenizer": {},
    "igpt": {"palette_size": 64, "patch_size": 4},
    "seq2seq": {"source": "image", "target": "text"},
    "flow": {},
}
TASKS = (
    ("embed", "vae"),
    ("score", "vae"),
    ("reconstruct", "vae"),
    ("tokenize", "tokenizer"),
    ("caption", "seq2seq"),
)


def measure_node(quick: bool) -> Iterator[Table]:
    """Yield images per second of the processor, by family and by task, and of decoding alone."""
    import torch

    torch.set_num_threads(1)
    rounds = 1 if quick else 3
    images = photos(256, SIZE)
    rows = [(name, float(count), speed) for name, count, speed in _training(rounds, quick)]
    sizes = f"{SIZE} x {SIZE} in color (flow: {FLOW_SIDE} x {FLOW_SIDE} positions)"
    yield Table(
        f"Training at {sizes}, batches of {BATCH}, one thread",
        ("family", "parameters", "images per CPU second"),
        tuple(rows),
    )
    with tempfile.TemporaryDirectory() as folder:
        data = write_shards(Path(folder) / "shards", 300 if quick else 600)
        yield Table(
            f"JPEG files of {FILE_SIDE} x {FILE_SIDE}, one thread",
            ("what", "value"),
            (
                ("decoded per CPU second", _decoding(data, rounds)),
                ("bytes of a file", float(len(jpeg(0)))),
            ),
        )
        tasks = _mapping(Path(folder), images, data, rounds)
        columns = ("task", "images per CPU second, decoding included")
        yield Table("Mapping with --engine local, one thread", columns, tuple(tasks))


def photos(count: int, size: int) -> Images:
    """Return smooth random images with captions and labels."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
    pixels = np.stack([np.asarray(Image.fromarray(x).resize((size, size))) for x in small])
    words = ("red", "green", "blue", "small", "large", "round", "flat", "old")
    texts = [" ".join(rng.choice(words, 4)) for _ in range(count)]
    return Images(
        pixels,
        labels=np.arange(count) % 8,
        label_names=words,
        captions={"en": texts},
        splits=np.zeros(count, np.int8),
        fingerprint="photos",
    )


def _training(rounds: int, quick: bool) -> Iterator[tuple[str, int, float]]:
    from pinxit.models import build_model, get_family

    for name, options in FAMILIES.items():
        images = photos(256, FLOW_SIDE if name == "flow" else SIZE)
        rows = images.split_indices("train")
        model, _ = build_model(get_family(name).Config(**options), images, rows)
        loop = Loop(model, images, batch_size=BATCH, precision="fp32", device="cpu")
        loop.train(1)
        steps = 1 if quick else 2
        times = [cpu_seconds(lambda own=loop, n=steps: own.train(n)) for _ in range(rounds)]
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        yield name, count, steps * BATCH / median(times)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the seconds of the processor that this process takes for a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def jpeg(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
    with io.BytesIO() as file:
        small.resize((FILE_SIDE, FILE_SIDE)).save(file, "JPEG", quality=90)
        return file.getvalue()


def write_shards(folder: Path, count: int) -> Path:
    """Write a folder of shards of JPEG files, of some contents in turn."""
    from pinxit.data.shards.write import shard

    contents = [jpeg(i) for i in range(16)]
    photos_folder = folder.with_name("photos")
    photos_folder.mkdir()
    for i in range(count):
        (photos_folder / f"{i:06d}.jpg").write_bytes(contents[i % len(contents)])
    shard(str(photos_folder), folder, quiet=True)
    return folder


def _decoding(data: Path, rounds: int) -> float:
    from pinxit.data.decode import decode
    from pinxit.data.load_options import LoadOptions
    from pinxit.data.record_rows import list_rows

    records = list_rows(data, LoadOptions(size=SIZE, color="rgb")).records[:300]

    def decode_all() -> None:
        for record in records:
            decode(record.read, SIZE, SIZE, 3, "crop")

    return len(records) / median([cpu_seconds(decode_all) for _ in range(rounds)])


def _mapping(folder: Path, images: Images, data: Path, rounds: int) -> Iterator[tuple[str, float]]:
    """Yield images per second of the processor: of a large part of the data less a small one."""
    import pinxit
    from pinxit.mapping.api import map_images
    from pinxit.models import get_family
    from pinxit.runs import Run

    for task, name in TASKS:
        run = folder / name
        if not run.exists():
            config = get_family(name).Config(**FAMILIES[name])
            pinxit.train(config, images, steps=1, num_evals=1, out=run, quiet=True)

        def map_part(
            part: str, number: int, task: str = task, run: Path = run
        ) -> tuple[int, float]:
            """Return the number of images of a part, and the seconds they take."""
            out = folder / f"{task}-{number}-{part.replace('/', '-')}"
            start = time.process_time()
            result = map_images(
                Run(run), task, (str(data),), out=out, shard=part, block_size=30,
                device="cpu", progress=False,
            )  # fmt: skip
            return 30 * result.computed, time.process_time() - start

        parts = ("0/10", "1/5" if task == "caption" else "1/2")
        speeds = []
        for number in range(rounds):
            (few, first), (many, second) = (map_part(part, number) for part in parts)
            speeds.append((many - few) / max(1e-9, second - first))
        yield task, median(speeds)
