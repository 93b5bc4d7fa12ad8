"""Snapshots of the posterior while a model trains: how q(z|x) of some images comes to fill p(z).

`latents/step-*.safetensors` holds, for up to 200 images at up to 12 steps, q(z|x) in a plane: that
of the first two principal directions of the posterior means at this step, through the mean of the
prior. A standard normal prior is a standard normal distribution in any such plane.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64
from safetensors.torch import save

from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.errors import PinxitError
from pinxit.models.levels import has_gaussian_posterior
from pinxit.models.protocols import CanEncode, HasELBO, HasPrior
from pinxit.nn.principal_components import fit_principal_components
from pinxit.runs import Run, read_tensors

FOLDER = "latents"
# fractions of the budget: the posterior changes most in the beginning
MARKS = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)
MAX_IMAGES, MIN_IMAGES = 200, 24
MAX_VALUE = 1e6  # of a snapshot that can be drawn
MAX_PIXEL_VALUES = 1_000_000  # of all images, which are encoded at each mark


@dataclass(frozen=True)
class PosteriorSnapshot:
    """q(z|x) of n images in a plane, after a step of training."""

    step: int
    mean: Float32[np.ndarray, "n 2"]
    covariance: Float32[np.ndarray, "n 2 2"]
    rate: float  # KL(q(z|x) || N(0, I)) of all latents, nats, mean over the images
    label: Int64[np.ndarray, " n"]  # -1: no label


def has_snapshots(model: object) -> bool:
    """Return whether the posterior of a model is compared with N(0, I)."""
    if not isinstance(model, CanEncode) or not isinstance(model, HasELBO):
        return False
    if getattr(model, "has_point_posterior", False) or not has_gaussian_posterior(model):
        return False
    return not (isinstance(model, HasPrior) and model.prior_is_learned) and model.latent_dim > 1


def crosses_mark(before: float, after: float) -> bool:
    """Return whether a step from one fraction of the budget to another crosses a mark."""
    return any(before < mark <= after for mark in MARKS)


def choose_images(rows: np.ndarray, dims: int) -> np.ndarray:
    """Return evenly spaced rows, fewer of large images."""
    return rows[evenly_spaced_indices(len(rows), count_images(dims))]


def count_images(dims: int) -> int:
    return int(np.clip(MAX_PIXEL_VALUES // dims, MIN_IMAGES, MAX_IMAGES))


def save_snapshot(model: CanEncode, run: Run, step: int, images: Images) -> None:
    """Write the posterior of the images after a step."""
    posterior = model.encode(images).flatten()
    mean, variance = (torch.from_numpy(part).double() for part in posterior)
    variance = variance.square()
    rate = 0.5 * (variance + mean.square() - 1 - variance.log()).sum(1).mean()
    directions = fit_principal_components(mean, 2).directions
    labels = np.full(len(images), -1) if images.labels is None else images.labels
    tensors = {
        "mean": (mean @ directions.T).float(),
        "covariance": torch.einsum("id,nd,jd->nij", directions, variance, directions).float(),
        "rate": rate.float().reshape(1),
        "label": torch.from_numpy(labels.astype(np.int64)),
    }
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    run.write(f"{FOLDER}/step-{step:07d}.safetensors", save(contiguous))


def drop_snapshots_after(run: Run, step: int) -> None:
    """Delete the snapshots of later steps: a killed session wrote them after its checkpoint."""
    for number, file in _list_files(run).items():
        if number > step:
            file.unlink()


def read_snapshots(run: Run) -> list[PosteriorSnapshot]:
    """Return the snapshots of a run, in the order of training; none of a run without.

    Raises PinxitError if a file is damaged, or is of other images than the first one.
    """
    steps = sorted(_list_files(run))
    steps = [steps[i] for i in evenly_spaced_indices(len(steps), len(MARKS))]
    snapshots = [_read_snapshot(_list_files(run)[step], step) for step in steps]
    for one, two in pairwise(snapshots):
        if not np.array_equal(one.label, two.label):
            raise PinxitError(f"{run.path / FOLDER}: the snapshots are of different images.")
    return snapshots


def _read_snapshot(file: Path, step: int) -> PosteriorSnapshot:
    tensors = read_tensors(file)
    n = tensors["label"].numel() if "label" in tensors else 0
    float32, int64 = torch.float32, torch.int64
    form = {"mean": ((n, 2), float32), "covariance": ((n, 2, 2), float32)}
    form |= {"rate": ((1,), float32), "label": ((n,), int64)}
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    if found != form or not 0 < n <= MAX_IMAGES:
        raise PinxitError(f"{file} is damaged: it is no snapshot of a posterior.")
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    if not all((np.abs(array) < MAX_VALUE).all() for array in arrays.values()):
        raise PinxitError(f"{file} is damaged: its values are out of range.")
    rate = float(arrays.pop("rate")[0])
    return PosteriorSnapshot(step, rate=rate, **arrays)


def _list_files(run: Run) -> dict[int, Path]:
    """Return the files of snapshots by their steps."""
    files = {}
    for file in (run.path / FOLDER).glob("step-*.safetensors"):
        if match := re.fullmatch(r"step-(\d{1,15})\.safetensors", file.name):
            files[int(match[1])] = file
    return files
