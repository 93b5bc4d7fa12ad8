"""A frozen feature space to measure distances in: a small network, trained once for a data set.

Where there are labels it learns to tell them, else by how many quarter turns an image was turned
(Gidaris 2018). The features are the means over the image of its last 64 channels. Trained from
a fixed seed on the training split, kept in the cache by the data's fingerprint: distances of all
runs on one data set compare. They do not compare with FID, nor between data sets.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from pinxit.console import ProgressCallback
from pinxit.data.atomic_write import write_atomically
from pinxit.data.cache import cache_dir
from pinxit.data.images import Images
from pinxit.errors import UsageError
from pinxit.nn.pixels import to_float

VERSION = 1  # raised when anything below changes what the features are
NUM_FEATURES = 64  # features
MAX_INPUT_SIZE = 64  # pixels a side that the network sees
STEPS, BATCH_SIZE, LEARNING_RATE = 500, 128, 3e-3
MIN_IMAGES = 8  # training images


class FeatureNetwork(nn.Module):
    """Four convolutions over a map of at most 16 x 16, their mean, and one linear layer."""

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        self.side = side
        fold = -(-side // 16)
        self.fold = nn.PixelUnshuffle(fold)
        half = NUM_FEATURES // 2
        self.trunk = nn.Sequential(
            *_layer(channels * fold * fold, half),
            *_layer(half, half),
            *_layer(half, NUM_FEATURES, stride=2),
            *_layer(NUM_FEATURES, NUM_FEATURES),
        )
        self.head = nn.Linear(NUM_FEATURES, classes)

    def features(self, x: Float[Tensor, "b c side side"]) -> Float[Tensor, "b 64"]:
        return self.trunk(self.fold(x)).mean((2, 3))

    def forward(self, x: Float[Tensor, "b c side side"]) -> Float[Tensor, "b classes"]:
        return self.head(self.features(x))


def _layer(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.SiLU()


@dataclass(frozen=True)
class FeatureSpace:
    """The trained network and what is known of it."""

    network: FeatureNetwork
    facts: dict[str, Any]  # task, accuracy on held-out images, training images, identity

    @torch.inference_mode()
    def embed(self, images: Images, chunk: int = 500) -> Float32[np.ndarray, "n 64"]:
        """The features of each image."""
        self.network.eval()
        parts = [np.empty((0, NUM_FEATURES), np.float32)]
        for start in range(0, len(images), chunk):
            pixels = torch.from_numpy(np.array(images.pixels[start : start + chunk]))
            parts.append(self.network.features(_network_input(pixels, self.network.side)).numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def told(self, images: Images, chunk: int = 500) -> Int64[np.ndarray, " n"]:
        """The class that the network takes each image for."""
        self.network.eval()
        parts = [np.empty(0, np.int64)]
        for start in range(0, len(images), chunk):
            pixels = torch.from_numpy(np.array(images.pixels[start : start + chunk]))
            parts.append(self.network(_network_input(pixels, self.network.side)).argmax(1).numpy())
        return np.concatenate(parts)


@dataclass(frozen=True)
class EncoderSpace:
    """The features of a trained run's frozen encoder (`embed`), in place of such a network."""

    model: Any
    facts: dict[str, Any]

    def embed(self, images: Images, chunk: int = 500) -> Float32[np.ndarray, "n width"]:
        """The features of each image; the model has its own chunks."""
        return self.model.embed(images)


def get_encoder_space(folder: Path) -> EncoderSpace:
    """The feature space of a run, a masked autoencoder's above all.

    Raises PinxitError where it is no run, or of a family that embeds nothing.
    """
    from pinxit.models.abilities import require
    from pinxit.runs import Run

    run = Run(folder)
    model = require(run.load(), "embed")
    width = model.embed(_blank(model)).shape[1]
    content = (folder / "model.safetensors").read_bytes()
    facts = {
        "run": run.name,
        "family": run.family,
        "features": width,
        "identity": _content_hash(content),
    }
    return EncoderSpace(model, facts)


def _blank(model: Any) -> Images:
    facts = model.facts
    return Images(np.zeros((1, facts.height, facts.width, facts.channels), np.uint8))


def get_feature_space(images: Images, told: ProgressCallback | None = None) -> FeatureSpace:
    """The feature space of a data set: from the cache, or trained now (under a minute).

    Raises UsageError where there are too few images to learn from.
    """
    rows = images.split_indices("train")
    rows = rows if len(rows) >= MIN_IMAGES else np.arange(len(images))
    if len(rows) < MIN_IMAGES:
        raise UsageError(f"a feature space needs {MIN_IMAGES} images or more, not {len(rows)}.")
    file = cache_dir() / "features" / f"{_cache_key(images, rows)}.safetensors"
    return _load_cached(file) or _train_and_cache(images, rows, file, told)


def _cache_key(images: Images, rows: np.ndarray) -> str:
    content = images.fingerprint or hashlib.blake2b(images.pixels[rows].tobytes()).hexdigest()
    wanted = (
        VERSION,
        content,
        images.pixels.shape[1:],
        len(rows),
        STEPS,
        BATCH_SIZE,
        LEARNING_RATE,
    )
    return hashlib.blake2b(repr(wanted).encode(), digest_size=12).hexdigest()


def _load_cached(file: Path) -> FeatureSpace | None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = file.read_bytes()
        facts = json.loads(file.with_suffix(".json").read_text())
        network = FeatureNetwork(facts["channels"], facts["side"], facts["classes"])
        network.load_state_dict(load(content))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError):
        return None  # there is none, or it is damaged: it is made again
    return (
        FeatureSpace(network.eval(), facts) if facts["identity"] == _content_hash(content) else None
    )


def _content_hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _train_and_cache(
    images: Images, rows: np.ndarray, file: Path, told: ProgressCallback | None
) -> FeatureSpace:
    from safetensors.torch import save

    labelled = images.labels is not None and len(np.unique(images.labels[rows])) > 1
    labelled = labelled and bool((images.labels[rows] >= 0).any())  # type: ignore[index]
    if labelled:
        rows = rows[images.labels[rows] >= 0]  # type: ignore[index]
    classes = len(images.label_names) if labelled else 4
    side = min(MAX_INPUT_SIZE, max(images.height, images.width))
    side += -side % -(-side // 16)  # a multiple of the fold
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = FeatureNetwork(images.channels, side, classes)
        _fit(network, images, rows, labelled, told)
    network.eval()
    content = save(network.state_dict())
    facts = {
        "task": "label" if labelled else "quarter turns",
        "accuracy": _accuracy(network, images, labelled),
        "training_images": len(rows),
        "features": NUM_FEATURES,
        "channels": images.channels,
        "side": side,
        "classes": classes,
        "version": VERSION,
        "identity": _content_hash(content),
    }
    write_atomically(file, content)
    write_atomically(file.with_suffix(".json"), json.dumps(facts, indent=2))
    return FeatureSpace(network, facts)


def _fit(
    network: FeatureNetwork,
    images: Images,
    rows: np.ndarray,
    labelled: bool,
    told: ProgressCallback | None,
) -> None:
    """AdamW with one cycle of its rate; each step a random batch of the training images."""
    random = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    network.train()
    for step in range(STEPS):
        some = np.sort(
            random.choice(rows, min(BATCH_SIZE, len(rows)), replace=len(rows) < BATCH_SIZE)
        )
        x, target = _training_batch(network, images, some, labelled, random)
        loss = F.cross_entropy(network(x), target, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if told:
            told(step + 1, STEPS)


def _training_batch(
    network: FeatureNetwork,
    images: Images,
    rows: np.ndarray,
    labelled: bool,
    random: np.random.Generator,
) -> tuple[Float[Tensor, "b c side side"], Int64[Tensor, " b"]]:
    """Images and what is to be told of them: the label, or quarter turns."""
    batch = images.batch(rows)
    x = _network_input(batch.pixels, network.side)
    if labelled:
        assert batch.labels is not None
        return x, batch.labels
    turns = torch.from_numpy(random.integers(0, 4, len(rows)))
    turned = torch.stack([one.rot90(int(k), (1, 2)) for one, k in zip(x, turns, strict=True)])
    return turned, turns


def _network_input(pixels: UInt8[Tensor, "b h w c"], side: int) -> Float[Tensor, "b c side side"]:
    """As the network sees them: square, from -1 to 1."""
    x = to_float(pixels) * 2 - 1
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True)


@torch.inference_mode()
def _accuracy(network: FeatureNetwork, images: Images, labelled: bool, most: int = 2_000) -> float:
    """Share of held-out images (of the training ones, where none are) that it tells right."""
    rows = images.split_indices("test")
    rows = (rows if len(rows) else np.arange(len(images)))[:most]
    if labelled and images.labels is not None:
        rows = rows[images.labels[rows] >= 0]
    if len(rows) == 0:
        return float("nan")
    random = np.random.default_rng(1)
    right = 0
    for chunk in np.array_split(rows, -(-len(rows) // 500)):
        x, target = _training_batch(network, images, chunk, labelled, random)
        right += int((network(x).argmax(1) == target).sum())
    return right / len(rows)
