"""A small network whose features say what is in an image: a classifier, or one of rotations.

Distances between sets of images are measured in its features (`pinxit.evaluation.feature_space`),
and a perceptual loss compares images in those of another one, trained from another seed.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from pinxit.console import ProgressCallback, echo
from pinxit.data.atomic_write import write_atomically
from pinxit.data.batch import DatasetInfo
from pinxit.data.cache import cache_dir
from pinxit.data.cache_entries import touch
from pinxit.data.images import Images
from pinxit.errors import describe_os_error
from pinxit.nn.pixels import to_float

VERSION = 2  # raise it when a change below changes the features
NUM_FEATURES = 64
MAX_INPUT_SIZE = 64  # pixels a side of the network's input
NUM_ROTATIONS = 4  # quarter turns, the classes of images without labels
MAP_SIZE = 16  # cells a side of the feature map, at most
STEPS, BATCH_SIZE, LEARNING_RATE = 500, 128, 3e-3

Input = Float[Tensor, "b c side side"]


class FeatureNetwork(nn.Module):
    """Four convolutions on a map of at most 16 x 16, global average pooling, a linear layer."""

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        self.side = side
        fold = -(-side // MAP_SIZE)
        self.fold = nn.PixelUnshuffle(fold)
        half = NUM_FEATURES // 2
        self.trunk = nn.Sequential(
            *_conv_layer(channels * fold * fold, half),
            *_conv_layer(half, half),
            *_conv_layer(half, NUM_FEATURES, stride=2),
            *_conv_layer(NUM_FEATURES, NUM_FEATURES),
        )
        self.head = nn.Linear(NUM_FEATURES, classes)

    def layer_features(
        self, x: Float[Tensor, "b c height width"]
    ) -> list[Float[Tensor, "b position channel"]]:
        """Return the output of each of the four layers, for images from 0 to 1; differentiable."""
        outputs, h = [], self.fold(resize(2 * x - 1, self.side))
        for part in self.trunk:
            h = part(h)
            if isinstance(part, nn.SiLU):
                outputs.append(h.flatten(2).transpose(1, 2))
        return outputs

    def features(self, x: Input) -> Float[Tensor, "b 64"]:
        """Pooled features, before the head."""
        return self.trunk(self.fold(x)).mean((2, 3))

    def forward(self, x: Input) -> Float[Tensor, "b classes"]:
        """Class logits."""
        return self.head(self.features(x))


def _conv_layer(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.SiLU()


# -- training ----------------------------------------------------------------------------------


def select_labelled(images: Images, rows: np.ndarray) -> np.ndarray:
    """Return the rows whose images have a label."""
    return rows[:0] if images.labels is None else rows[images.labels[rows] >= 0]


def choose_task(images: Images, rows: np.ndarray) -> tuple[bool, np.ndarray]:
    """Return whether the network learns labels, not rotations, and the rows that it learns from."""
    labelled_rows = select_labelled(images, rows)
    use_labels = len(labelled_rows) > 0 and len(np.unique(images.labels[rows])) > 1  # type: ignore[index]
    return use_labels, labelled_rows if use_labels else rows


def train_network(
    images: Images,
    rows: np.ndarray,
    seed: int = 0,
    steps: int = STEPS,
    progress: ProgressCallback | None = None,
) -> FeatureNetwork:
    """Train a network on the rows, from a seed; the global generator is left as it is."""
    use_labels, rows = choose_task(images, rows)
    classes = len(images.label_names) if use_labels else NUM_ROTATIONS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FeatureNetwork(images.channels, network_side(images), classes)
        _fit(network, images, rows, use_labels, seed, steps, progress)
    return network.eval()


def _fit(
    network: FeatureNetwork,
    images: Images,
    rows: np.ndarray,
    use_labels: bool,
    seed: int,
    steps: int,
    progress: ProgressCallback | None,
) -> None:
    """Train with AdamW and a one-cycle learning rate on random batches of the rows."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    network.train()
    for step in range(steps):
        size, replace = min(BATCH_SIZE, len(rows)), len(rows) < BATCH_SIZE
        batch = np.sort(rng.choice(rows, size, replace=replace))
        x, target = training_batch(network, images, batch, use_labels, rng)
        loss = F.cross_entropy(network(x), target, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress:
            progress(step + 1, steps)


def training_batch(
    network: FeatureNetwork,
    images: Images,
    rows: np.ndarray,
    use_labels: bool,
    rng: np.random.Generator,
) -> tuple[Input, Int64[Tensor, " b"]]:
    """Inputs and classes: the labels, or randomly rotated images and their quarter turns."""
    batch = images.batch(rows)
    x = network_input(batch.pixels, network.side)
    if use_labels:
        assert batch.labels is not None
        return x, batch.labels
    turns = torch.from_numpy(rng.integers(0, 4, len(rows)))
    rotated = [image.rot90(int(k), (1, 2)) for image, k in zip(x, turns, strict=True)]
    return torch.stack(rotated), turns


def network_side(images: Images | DatasetInfo) -> int:
    """Return the side of the network's input for these images: a multiple of its fold."""
    side = min(MAX_INPUT_SIZE, max(images.height, images.width))
    return side + -side % -(-side // MAP_SIZE)


def network_input(pixels: UInt8[Tensor, "b h w c"], side: int) -> Input:
    """Scale to [-1, 1] and resize to a square."""
    return resize(to_float(pixels) * 2 - 1, side)


def resize(x: Float[Tensor, "b c height width"], side: int) -> Input:
    """Resize to a square."""
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True)


# -- cache ---------------------------------------------------------------------------------------


def load_or_train_network(
    images: Images, rows: np.ndarray, seed: int, steps: int = STEPS
) -> FeatureNetwork:
    """Load the network of these rows and this seed from the cache, or train it (under a minute).

    Images without a fingerprint are not cached.
    """
    if not images.fingerprint:
        return train_network(images, rows, seed, steps)
    chosen = hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=8).hexdigest()
    recipe = (steps, BATCH_SIZE, LEARNING_RATE, seed)
    key = repr((VERSION, images.fingerprint, images.pixels.shape[1:], chosen, *recipe))
    name = hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
    file = cache_dir() / "features" / f"{name}.safetensors"
    use_labels, _ = choose_task(images, rows)
    classes = len(images.label_names) if use_labels else NUM_ROTATIONS
    network = FeatureNetwork(images.channels, network_side(images), classes)
    try:
        network.load_state_dict(load(file.read_bytes()))
        touch(file.with_suffix(".json"))
        return network.eval()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError):
        pass  # not there, or damaged
    network = train_network(images, rows, seed, steps)
    try:
        write_atomically(file, save(network.state_dict()))
        write_atomically(file.with_suffix(".json"), json.dumps({"source": images.source}))
    except OSError as error:  # a minute of training is not thrown away for that
        echo(f"the feature network is not kept: {describe_os_error(error).splitlines()[0]}")
    return network
