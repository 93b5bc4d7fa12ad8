"""New images as the data has them: of each label as often as it occurs there."""

from __future__ import annotations

from typing import Any

import numpy as np

from pinxit.data.images import Images
from pinxit.models.abilities import require
from pinxit.nn.rng import mix_seed
from pinxit.sampling.inputs import is_label_conditional, match_labels


def sample_with_label_frequencies(model: Any, images: Images, n: int, seed: int = 0) -> Images:
    """`n` samples; of a model that sees labels, with the label frequencies of `images`.

    Raises PinxitError where the model cannot sample.
    """
    require(model, "sample")
    images = match_labels(model, images)
    if not is_label_conditional(model) or images.labels is None or (images.labels < 0).all():
        return model.sample(n, seed=seed)
    names = model.info.label_names
    found = np.bincount(images.labels[images.labels >= 0], minlength=len(names))
    parts = [
        model.sample(int(count), seed=mix_seed(seed, label), label=names[label])
        for label, count in enumerate(largest_remainder(found, n))
        if count
    ]
    return Images.concatenate(parts)


def largest_remainder(counts: np.ndarray, n: int) -> np.ndarray:
    """`n` in whole parts, in proportion to `counts` (largest remainders)."""
    exact = n * counts / counts.sum()
    parts = np.floor(exact).astype(int)
    rest = np.argsort(parts - exact, kind="stable")[: n - parts.sum()]
    parts[rest] += 1
    return parts
