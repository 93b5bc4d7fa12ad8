"""A frozen feature space for distances: a small network trained once per data set.

With labels the network is a classifier, otherwise it predicts by how many quarter turns an image
was rotated (Gidaris 2018). Its features are the spatial means of its last 64 channels. It is
trained with a fixed seed on the training split and cached under the data's fingerprint: distances
of all runs on one data set are comparable. They compare neither with FID nor between data sets.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float32, Int64
from safetensors import SafetensorError
from safetensors.torch import load, save

from pinxit.console import ProgressCallback, echo
from pinxit.data.atomic_write import write_atomically
from pinxit.data.cache import cache_dir
from pinxit.data.cache_entries import touch
from pinxit.data.images import Images
from pinxit.data.typed_json import decode_json
from pinxit.errors import UsageError, describe_os_error
from pinxit.evaluation.estimates import estimate_proportion
from pinxit.evaluation.jackknife import random_rows
from pinxit.models.abilities import require
from pinxit.models.feature_network import (
    BATCH_SIZE,
    LEARNING_RATE,
    NUM_FEATURES,
    STEPS,
    VERSION,
    FeatureNetwork,
    Input,
    choose_task,
    network_input,
    select_labelled,
    train_network,
    training_batch,
)
from pinxit.models.protocols import CanEmbed
from pinxit.runs import Run

MIN_IMAGES = 8  # to train on
MAX_ACCURACY_IMAGES = 2_000
EMBED_BATCH = 500


# -- feature spaces ----------------------------------------------------------------------------


class FeatureSpace(Protocol):
    """Maps images to feature vectors; `description` is recorded with the evaluation."""

    @property
    def description(self) -> dict[str, Any]: ...

    def embed(self, images: Images) -> Float32[np.ndarray, "n features"]: ...


@dataclass(frozen=True)
class TrainedSpace:
    """The features of a `FeatureNetwork`."""

    network: FeatureNetwork
    description: dict[str, Any]  # task, held-out accuracy, training images, hash of the weights

    @property
    def predicts_labels(self) -> bool:
        """Whether the network classifies the data's labels, not rotations."""
        return self.description["task"] == "labels"

    @torch.inference_mode()
    def embed(self, images: Images) -> Float32[np.ndarray, "n 64"]:
        """Return the features of each image."""
        parts = [self.network.features(x).numpy() for x in self._batches(images)]
        return np.concatenate([np.empty((0, NUM_FEATURES), np.float32), *parts])

    @torch.inference_mode()
    def predict(self, images: Images) -> Int64[np.ndarray, " n"]:
        """Return the most likely class of each image."""
        parts = [self.network(x).argmax(1).numpy() for x in self._batches(images)]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def _batches(self, images: Images) -> Iterator[Input]:
        self.network.eval()
        for start in range(0, len(images), EMBED_BATCH):
            pixels = np.array(images.pixels[start : start + EMBED_BATCH])
            yield network_input(torch.from_numpy(pixels), self.network.side)


@dataclass(frozen=True)
class EncoderSpace:
    """The features of a trained run's frozen encoder (`embed`)."""

    model: CanEmbed
    description: dict[str, Any]

    def embed(self, images: Images) -> Float32[np.ndarray, "n width"]:
        """Return the features of each image."""
        return self.model.embed(images)


def load_encoder_space(folder: Path) -> EncoderSpace:
    """Load the feature space of a run, for example of a masked autoencoder.

    Raises PinxitError if the folder is no run, or its model cannot embed.
    """
    run = Run(folder)
    model = require(run.load(), "embed")
    blank = Images(np.zeros((1, run.info.height, run.info.width, run.info.channels), np.uint8))
    content = (folder / "model.safetensors").read_bytes()
    description = {
        "run": run.name,
        "family": run.family,
        "features": model.embed(blank).shape[1],
        "weights_hash": _hash(content),
    }
    return EncoderSpace(model, description)


def get_feature_space(images: Images, progress: ProgressCallback | None = None) -> TrainedSpace:
    """Load the feature space of a data set from the cache, or train it (under a minute).

    Raises UsageError if there are too few images to train on.
    """
    rows = images.split_indices("train")
    rows = rows if len(rows) >= MIN_IMAGES else np.arange(len(images))
    if len(rows) < MIN_IMAGES:
        raise UsageError(f"a feature space needs {MIN_IMAGES} images or more, not {len(rows)}.")
    file = cache_dir() / "features" / f"{_cache_key(images, rows)}.safetensors"
    return _load_cached(file) or _train_and_cache(images, rows, file, progress)


# -- cache -------------------------------------------------------------------------------------


def _cache_key(images: Images, rows: np.ndarray) -> str:
    content = images.fingerprint or _hash_pixels(images, rows)
    recipe = (STEPS, BATCH_SIZE, LEARNING_RATE)
    key = (VERSION, content, images.pixels.shape[1:], len(rows), *recipe)
    return hashlib.blake2b(repr(key).encode(), digest_size=12).hexdigest()


def _hash_pixels(images: Images, rows: np.ndarray) -> str:
    digest = hashlib.blake2b()
    for start in range(0, len(rows), EMBED_BATCH):
        digest.update(images.pixels[rows[start : start + EMBED_BATCH]].tobytes())
    return digest.hexdigest()


def _load_cached(file: Path) -> TrainedSpace | None:
    """Return the cached feature space; None if there is none or it is damaged."""
    try:
        content = file.read_bytes()
        record = dict(decode_json(file.with_suffix(".json").read_text(encoding="utf-8")))
        record.pop("source", None)
        network = FeatureNetwork(record["channels"], record["side"], record["classes"])
        network.load_state_dict(load(content))
        is_intact = record["weights_hash"] == _hash(content)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
        return None
    touch(file.with_suffix(".json"))
    return TrainedSpace(network.eval(), record) if is_intact else None


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


# -- training ----------------------------------------------------------------------------------


def _train_and_cache(
    images: Images, rows: np.ndarray, file: Path, progress: ProgressCallback | None
) -> TrainedSpace:
    network = train_network(images, rows, steps=STEPS, progress=progress)
    use_labels, rows = choose_task(images, rows)
    content = save(network.state_dict())
    description = {
        "task": "labels" if use_labels else "rotation",
        **_accuracy(network, images, use_labels),
        "training_images": len(rows),
        "features": NUM_FEATURES,
        "channels": images.channels,
        "side": network.side,
        "classes": network.head.out_features,
        "version": VERSION,
        "weights_hash": _hash(content),
    }
    try:
        write_atomically(file, content)
        kept = json.dumps(description | {"source": images.source}, indent=2)
        write_atomically(file.with_suffix(".json"), kept)
    except OSError as error:  # a minute of training is not thrown away for that
        echo(f"the feature space is not kept: {describe_os_error(error).splitlines()[0]}")
    return TrainedSpace(network, description)


@torch.inference_mode()
def _accuracy(network: FeatureNetwork, images: Images, use_labels: bool) -> dict[str, Any]:
    """Accuracy on random test images, with its error; on any if there is no test split."""
    rows = images.split_indices("test")
    rows = rows if len(rows) else np.arange(len(images))
    rows = select_labelled(images, rows) if use_labels else rows
    rows = rows[random_rows(len(rows), MAX_ACCURACY_IMAGES)]
    if len(rows) == 0:
        return {"accuracy": None, "accuracy_error": None, "accuracy_images": 0}
    rng = np.random.default_rng(1)
    is_correct = []
    for batch in np.array_split(rows, -(-len(rows) // EMBED_BATCH)):
        x, target = training_batch(network, images, batch, use_labels, rng)
        is_correct.append((network(x).argmax(1) == target).numpy())
    groups = None if images.groups is None else images.groups[rows]
    accuracy = estimate_proportion(np.concatenate(is_correct), groups)
    return {
        "accuracy": accuracy.value,
        "accuracy_error": None if math.isnan(accuracy.error) else accuracy.error,
        "accuracy_images": len(rows),
    }
