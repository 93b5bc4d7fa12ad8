"""Can a classifier distinguish samples from true images? (Lopez-Paz & Oquab 2017, two-sample tests)

A small network is trained on training images and on half of the samples, and measured on test
images and on the other half, equally many of each: an accuracy of 0.5 means that it cannot. It
stands beside distances, which are small for clouds of the right colors.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64

from pinxit.data.batch import Batch
from pinxit.data.images import Images
from pinxit.evaluation.estimates import Estimate, estimate_proportion
from pinxit.evaluation.jackknife import random_rows
from pinxit.models.feature_network import FeatureNetwork, network_input, network_side
from pinxit.training.augmentation import augment_batch

MAX_IMAGES = 2_000  # of each kind, to train on
MIN_FIT_IMAGES = 100  # of each kind: a classifier of fewer is bad, whatever the samples are
MIN_CLASSIFIER_SAMPLES = 240  # are made where there are fewer test images
MIN_IMAGES = 10  # of each kind, to measure on
STEPS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 200, 64, 2e-3, 0.05


def classifier_accuracy(
    train: Images, test: Images, samples: Images, seed: int = 0
) -> Estimate | None:
    """Return how often a classifier says rightly whether an image is true or a sample.

    The error is over images, of test images over groups. None for too few images.
    """
    half = len(samples) // 2
    count = min(len(test), len(samples) - half)
    if count < MIN_IMAGES or min(len(train), half) < MIN_FIT_IMAGES:
        return None
    rows = np.random.default_rng(seed).permutation(len(samples))
    fit_samples = samples.take(rows[: min(half, MAX_IMAGES)])
    own_samples = samples.take(rows[half : half + count])
    own_test = test.take(random_rows(len(test), count))
    fit_true = train.take(random_rows(len(train), MAX_IMAGES))
    network = _fit(fit_true, fit_samples, seed)
    correct = np.concatenate([_is_true(network, own_test), ~_is_true(network, own_samples)])
    return estimate_proportion(correct, _group(own_test, count))


def _group(test: Images, num_samples: int) -> Int64[np.ndarray, " n"] | None:
    """Return the groups of test images and then of samples, each of which is its own."""
    if test.groups is None:
        return None
    first = test.groups.max(initial=0) + 1
    return np.concatenate([test.groups, first + np.arange(num_samples)])


def _fit(true: Images, samples: Images, seed: int) -> FeatureNetwork:
    """Train a network that distinguishes the two, on batches of equally many of each."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        side = network_side(true)
        network = FeatureNetwork(true.pixels.shape[3], side, 2).train()
        optimizer = torch.optim.AdamW(
            network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, STEPS)
        labels = torch.arange(BATCH_SIZE) % 2
        for _ in range(STEPS):
            parts = [
                torch.from_numpy(
                    np.array(images.pixels[np.sort(torch.randint(len(images), (BATCH_SIZE // 2,)))])
                )
                for images in (true, samples)
            ]
            pixels = torch.stack(parts, 1).flatten(0, 1)  # true images at even rows
            pixels = augment_batch(Batch(pixels), ("move",)).pixels
            loss = F.cross_entropy(network(network_input(pixels, side)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def _is_true(network: FeatureNetwork, images: Images) -> Bool[np.ndarray, " n"]:
    parts = [
        network(network_input(torch.from_numpy(np.array(part)), network.side)).argmax(1) == 0
        for part in np.array_split(images.pixels, -(-len(images) // 500))
    ]
    return torch.cat(parts).numpy()
