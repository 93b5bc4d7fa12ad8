"""Disentanglement: is each factor of variation in one latent, and each latent of one factor?

Measured on scenes of one object (`shapes`), whose factors are known: shape, color, size, row and
column. They are rendered anew, from a seed that no data set has, so that the model saw none.

- MIG, the mutual information gap (Chen 2018, eq. 6): over factors, the mean of the difference of
  the two latents that say most about it, as a share of its entropy. 0 to 1.
- DCI (Eastwood & Williams 2018): from the importance of each latent in random forests that predict
  each factor, disentanglement (a latent predicts one factor), completeness (a factor is predicted
  by one latent), informativeness (accuracy on scenes that the forests were not fitted to). 0 to 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from PIL import Image

from pinxit.console import echo
from pinxit.data.images import Images
from pinxit.data.scenes.scene import Scene, random_scene, render_scene
from pinxit.evaluation.estimates import Estimate, estimate_proportion
from pinxit.evaluation.jackknife import assign_blocks, jackknife_estimate
from pinxit.evaluation.metrics import MetricValue
from pinxit.extras import is_extra_installed
from pinxit.models.protocols import CanEncode, Model

FACTORS = ("shape", "color", "size", "row", "column")
SCENE_SEED = 718_281_828  # of the scenes; data sets have small seeds
NUM_SCENES = 2_000  # to measure on, and as many to fit forests to
NUM_BINS = 20  # of a latent, of equal width (Locatello 2019, app. C)
NUM_BLOCKS = 20  # of the jackknife of MIG
NUM_FOREST_BLOCKS = 6  # of the jackknife of DCI, which fits all forests again
TREES, MAX_DEPTH = 20, 8
MAX_SPLIT_LATENTS = 64  # among which a split of a tree chooses

Latents = Float[np.ndarray, "n latent"]
Factors = dict[str, Int64[np.ndarray, " n"]]


def disentanglement_metrics(
    model: CanEncode, images: Images, num_scenes: int | None = None
) -> Iterator[MetricValue]:
    """Yield MIG and DCI of a model of `shapes`; nothing for other images.

    `num_scenes` is 2,000 if it is None.
    """
    if not _are_shapes(images) or not isinstance(model, Model):
        return
    count = num_scenes or NUM_SCENES
    scenes = list(_single_objects(2 * count))
    rendered = _render(scenes, model)
    latents = model.encode(rendered).flatten().mean
    factors = _factors_of(scenes)
    fit, test = np.arange(count), np.arange(count, 2 * count)
    yield "mig", mutual_information_gap(latents[test], _take(factors, test))
    if not is_extra_installed("explain"):
        echo("no DCI: its forests need scikit-learn: pip install 'pinxit[explain]'")
        return
    yield from dci_metrics(latents[fit], _take(factors, fit), latents[test], _take(factors, test))


def _are_shapes(images: Images) -> bool:
    return len(images.names) > 0 and all(
        re.fullmatch(r"shapes-\d+-\d+", images.names[row]) for row in (0, len(images) - 1)
    )


def _single_objects(count: int) -> Iterator[Scene]:
    """Yield scenes of one object, without the combinations that no training image has."""
    index = 0
    while count:
        scene = random_scene(SCENE_SEED, index)
        index += 1
        if len(scene.objects) == 1 and scene.split is None:
            count -= 1
            yield scene


def _render(scenes: list[Scene], model: Model) -> Images:
    """Draw scenes in the model's size and channels, without labels: those are a factor to find."""
    info = model.info
    pixels = [render_scene(scene, (info.height, info.width)) for scene in scenes]
    if info.channels == 1:
        pixels = [np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in pixels]
    return Images(np.stack(pixels))


def _factors_of(scenes: list[Scene]) -> Factors:
    """Return the values of each factor as numbers from 0."""
    objects = [scene.objects[0] for scene in scenes]
    values = {
        "shape": [obj.shape for obj in objects],
        "color": [obj.color for obj in objects],
        "size": [obj.size for obj in objects],
        "row": [obj.position[0] for obj in objects],
        "column": [obj.position[1] for obj in objects],
    }
    return {name: np.unique(column, return_inverse=True)[1] for name, column in values.items()}


def _take(factors: Factors, rows: np.ndarray) -> Factors:
    return {name: values[rows] for name, values in factors.items()}


# -- mutual information gap ------------------------------------------------------------------------


def mutual_information_gap(latents: Latents, factors: Factors) -> Estimate:
    """Return MIG, its error by the jackknife over blocks of images.

    Latents are divided into bins of equal width; a latent that does not vary says nothing.
    """
    bins = _discretize(latents)
    blocks = assign_blocks(len(latents), None, NUM_BLOCKS)
    tables = [_count_pairs(bins, values, blocks) for values in factors.values()]
    value = float(np.mean([_gap(table.sum(0)) for table in tables]))
    left_out = (
        float(np.mean([_gap(table.sum(0) - table[block]) for table in tables]))
        for block in range(blocks.max() + 1)
    )
    return jackknife_estimate(value, left_out)


def _discretize(latents: Latents) -> Int64[np.ndarray, "n latent"]:
    low, high = latents.min(0), latents.max(0)
    width = np.maximum(high - low, 1e-9)
    return np.minimum(((latents - low) / width * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def _count_pairs(
    bins: Int64[np.ndarray, "n latent"], values: Int64[np.ndarray, " n"], blocks: np.ndarray
) -> Float64[np.ndarray, "block latent bin value"]:
    """Return how often each bin of each latent occurs with each value, by block."""
    num_latents, num_values, num_blocks = bins.shape[1], int(values.max()) + 1, blocks.max() + 1
    shape = (num_blocks, num_latents, NUM_BINS, num_values)
    index = np.ravel_multi_index(
        (blocks[:, None], np.arange(num_latents)[None], bins, values[:, None]), shape
    )
    return np.bincount(index.ravel(), minlength=int(np.prod(shape))).reshape(shape).astype(float)


def _gap(counts: Float64[np.ndarray, "latent bin value"]) -> float:
    """Difference of the two largest I(z_j; v), over the entropy of v."""
    p = counts / counts.sum((1, 2), keepdims=True)
    information = _entropy(p.sum(2)) + _entropy(p.sum(1)) - _entropy(p.reshape(len(p), -1))
    of_factor = float(_entropy(p.sum(1))[0])
    top = np.sort(np.append(information, 0.0))[::-1]
    return float((top[0] - top[1]) / of_factor) if of_factor > 0 else 0.0


def _entropy(p: Float64[np.ndarray, "rows k"]) -> Float64[np.ndarray, " rows"]:
    """Entropy of each row, in nats."""
    return -(p * np.log(np.maximum(p, 1e-300))).sum(-1)


# -- DCI -------------------------------------------------------------------------------------------


def dci_metrics(
    latents: Latents, factors: Factors, test_latents: Latents, test_factors: Factors
) -> Iterator[MetricValue]:
    """Yield disentanglement, completeness and informativeness.

    The errors of the first two are by the jackknife over blocks of the images that the forests are
    fitted to; that of the third is over test images.
    """
    importance, correct = _fit_forests(latents, factors, test_latents, test_factors)
    blocks = assign_blocks(len(latents), None, NUM_FOREST_BLOCKS)
    left_out = []
    for block in range(blocks.max() + 1):
        rows = np.flatnonzero(blocks != block)
        left_out.append(_fit_forests(latents[rows], _take(factors, rows))[0])
    for name, score in (
        ("dci_disentanglement", disentanglement),
        ("dci_completeness", completeness),
    ):
        yield name, jackknife_estimate(score(importance), (score(other) for other in left_out))
    yield "dci_informativeness", estimate_proportion(correct)


def _fit_forests(
    latents: Latents,
    factors: Factors,
    test_latents: Latents | None = None,
    test_factors: Factors | None = None,
) -> tuple[Float64[np.ndarray, "latent factor"], np.ndarray]:
    """Return importances, and which factors of test images are predicted rightly: all in a row."""
    from sklearn.ensemble import RandomForestClassifier  # takes a second to import

    columns, correct = [], []
    # of few latents every split sees all: a split that must take a wrong one spreads importance
    share: Any = min(1.0, MAX_SPLIT_LATENTS / latents.shape[1])
    for name, values in factors.items():
        forest: Any = RandomForestClassifier(
            TREES, max_depth=MAX_DEPTH, max_features=share, random_state=0
        )
        forest.fit(latents, values)
        columns.append(forest.feature_importances_)
        if test_latents is not None and test_factors is not None:
            correct.append(forest.predict(test_latents) == test_factors[name])
    scores = np.mean(correct, 0) if correct else np.zeros(0)
    return np.stack(columns, 1), scores


def disentanglement(importance: Float64[np.ndarray, "latent factor"]) -> float:
    """sum_i rho_i (1 - H_K(P_i)): P_i the shares of the factors in latent i, rho_i its weight."""
    total = importance.sum()
    if total <= 0:
        return 0.0
    weights = importance.sum(1)
    shares = importance / np.maximum(weights[:, None], 1e-300)
    scores = 1 - _entropy(shares) / np.log(max(2, importance.shape[1]))
    return float((weights / total * scores)[weights > 0].sum())


def completeness(importance: Float64[np.ndarray, "latent factor"]) -> float:
    """Mean over factors of 1 - H_D of the shares of the latents that predict them."""
    sums = importance.sum(0)
    shares = importance / np.maximum(sums, 1e-300)
    scores = 1 - _entropy(shares.T) / np.log(max(2, len(importance)))
    return float(np.where(sums > 0, scores, 0.0).mean())
