"""Sample with the label frequencies of given images, so that both sets are comparable."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from pinxit.data.images import Images
from pinxit.models.protocols import CanSample
from pinxit.nn.rng import mix_seed
from pinxit.sampling.inputs import is_label_conditional, match_labels


def sample_with_label_frequencies(
    model: CanSample, images: Images, n: int, seed: int = 0, **options: Any
) -> Images:
    """Sample `n` images; a label-conditional model gets the label frequencies of `images`.

    Each label has its own seed, mixed from (seed, label). The labels are mixed at random.
    """
    images = match_labels(model, images)
    if not is_label_conditional(model) or images.labels is None or (images.labels < 0).all():
        return model.sample(n, seed=seed, **options)
    names = images.label_names
    counts = np.bincount(images.labels[images.labels >= 0], minlength=len(names))
    parts = [
        model.sample(num, seed=mix_seed(seed, label), label=names[label], **options)
        for label, num in enumerate(largest_remainder(counts, n).tolist())
        if num
    ]
    return Images.concatenate(parts).take(np.random.default_rng(seed).permutation(n))


def largest_remainder(counts: Int[np.ndarray, " k"], n: int) -> Int[np.ndarray, " k"]:
    """Split `n` into whole parts in proportion to `counts` (largest remainder method)."""
    exact = n * counts / counts.sum()
    parts = np.floor(exact).astype(int)
    order = np.argsort(parts - exact, kind="stable")  # largest remainder first
    parts[order[: n - parts.sum()]] += 1
    return parts
