"""Sample from a prior that is fitted to the latents of the training images after training.

It is kept in the run folder as `prior-mixture.safetensors` or `prior-realnvp.safetensors`, with a
hash of the weights whose latents it was fitted to and the number of the way of fitting.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from pinxit.console import echo
from pinxit.data.images import Images, evenly_spaced_indices
from pinxit.data.unicode_forms import utf8_path
from pinxit.errors import PinxitError, UsageError, describe_os_error
from pinxit.models.generation import SEEDED, GenerationParams, resolve_params
from pinxit.models.inputs import choose_sample_labels, label_index
from pinxit.models.latent_densities import (
    Density,
    FlowDensity,
    MixtureDensity,
    fit_flow,
    fit_mixture,
)
from pinxit.models.levels import require_posterior_density
from pinxit.models.likelihood_protocols import has_point_posterior
from pinxit.models.protocols import CanEncode
from pinxit.models.results import LatentPosterior, Posterior
from pinxit.nn.rng import per_image_seeds
from pinxit.runs import Run
from pinxit.sampling.inputs import is_label_conditional, load_run_data, match_labels
from pinxit.sampling.label_matched import largest_remainder
from pinxit.sampling.observation import decode_as_sampled, observe_images

FittedPrior = Literal["mixture", "realnvp"]

MAX_TRAIN_IMAGES, MAX_VALID_IMAGES = 50_000, 1_000
LONG_FIT_IMAGES = 5_000  # of more a fit takes seconds, and says so
HELD_OUT_SHARE = 0.1  # of training images, where there are no validation images
FIT = "2"  # how a prior is fitted; one that was fitted otherwise is fitted again
FIT_OF_POINTS = "2 by scale"
POINT_SPREAD = 0.1  # of the Gaussian around a point, in standard deviations of the latent
MIN_SPREAD, TINY_SPREAD = 1e-3, 1e-9  # of a latent, in those of the others; of the one image
KINDS: dict[str, type[MixtureDensity] | type[FlowDensity]] = {
    "mixture": MixtureDensity,
    "realnvp": FlowDensity,
}
NAMES = {"mixture": "a mixture of Gaussians", "realnvp": "a RealNVP flow"}


def sample_fitted(
    run: Run,
    model: Any,  # CanEncode
    prior: FittedPrior,
    num_images: int,
    label: str | None,
    params: GenerationParams,
    *,
    progress: bool = True,
) -> Images:
    """Sample from a prior that is fitted now, or was before; `progress` says so.

    Raises UsageError for options without effect, and for an unknown label.
    """
    require_posterior_density(model, f"--prior {prior}")
    resolved = resolve_params(params, {}, SEEDED)
    if not isinstance(resolved.seed, int):
        raise UsageError("samples of a fitted prior have one seed, not one for each image.")
    assert resolved.temperature is not None
    return sample_from_density(
        model,
        load_or_fit_prior(run, model, prior, progress=progress),
        num_images,
        resolved.seed,
        label=None if label is None else label_index(model.config, model.info, label),
        temperature=resolved.temperature,
        start=resolved.start,
    )


def select_for_fitting(images: Images, max_train: int = MAX_TRAIN_IMAGES) -> tuple[Images, Images]:
    """Return up to `max_train` training images, and up to 1,000 validation images to choose by.

    Without validation images a tenth of the training images is held out. Raises UsageError for
    fewer than two training images.
    """
    rows = images.split_indices("train")
    valid = images.split_indices("validation") if images.splits is not None else rows[:0]
    if len(valid) == 0:
        count = max(1, round(HELD_OUT_SHARE * len(rows)))
        valid = rows[evenly_spaced_indices(len(rows), count)]
        rows = np.setdiff1d(rows, valid)
    if len(rows) < 2:
        raise UsageError("a prior is fitted to the latents of two training images or more.")
    rows = rows[evenly_spaced_indices(len(rows), max_train)]
    return images.take(rows), images.take(
        valid[evenly_spaced_indices(len(valid), MAX_VALID_IMAGES)]
    )


def encode_for_fitting(model: CanEncode, images: Images, seed: int = 0) -> LatentPosterior:
    """Return q(z|x) of images as the model observes them, `[n, latent]`.

    Points have the spread of a tenth of each latent's own, whatever the scale of the latents.
    """
    images = match_labels(model, observe_images(model, images, seed))
    posterior = model.encode(images).flatten()
    return spread_points(posterior.mean) if has_point_posterior(model) else posterior


def spread_points(mean: Float32[np.ndarray, "n latent"]) -> Posterior:
    """Return Gaussians around points: a tenth of the standard deviation of each latent wide.

    A latent that hardly varies has a thousandth of what the others have on average.
    """
    std = mean.std(0, dtype=np.float64)
    least = max(MIN_SPREAD * float(np.sqrt(np.square(std).mean())), TINY_SPREAD)
    spread = POINT_SPREAD * np.maximum(std, least)
    return Posterior(mean, np.tile(spread.astype(np.float32), (len(mean), 1)))


def fit_prior(
    kind: FittedPrior, train: LatentPosterior, valid: LatentPosterior, seed: int = 0
) -> Density:
    """Fit a density to latents, with its options chosen on the validation images."""
    fit = {"mixture": fit_mixture, "realnvp": fit_flow}[kind]
    return fit(train, valid, seed)


def load_or_fit_prior(
    run: Run, model: CanEncode, kind: FittedPrior, *, progress: bool = True
) -> Density:
    """Return the prior kept in the run folder; fitted to the run's own images if there is none.

    Raises PinxitError if these cannot be found any more, or have changed since the training.
    """
    digest = hash_weights(run)
    kept = _load_prior(run, kind, digest)
    if kept is not None:
        return kept
    train, valid = select_for_fitting(_load_own_images(run, progress))
    if progress and len(train) >= LONG_FIT_IMAGES:
        echo(
            f"fitting {NAMES[kind]} to the latents of {len(train):,} images, once for these weights"
        )
    density = fit_prior(kind, encode_for_fitting(model, train), encode_for_fitting(model, valid))
    try:
        keep_prior(run, density, digest)
    except OSError as error:
        echo(f"warning: the prior is not kept for the next time: {describe_os_error(error)}")
    return density


def _load_own_images(run: Run, progress: bool) -> Images:
    images, trained = load_run_data(run, progress=progress), _fingerprint_of(run)
    if trained and images.fingerprint and trained != images.fingerprint:
        raise PinxitError(
            f"{images.source or 'these images'} are not what {run.path} was trained on, to which a "
            "prior is fitted.\nPut the images of the training back, or train a new run."
        )
    return images


def _fingerprint_of(run: Run) -> str:
    return (run.config.get("data") or {}).get("fingerprint") or ""


def keep_prior(run: Run, density: Density, digest: str) -> None:
    """Write the prior to the run folder."""
    tensors = {name: tensor.contiguous() for name, tensor in density.tensors().items()}
    run.write(_file_name(density.kind), save(tensors, _facts(run, digest)))


def _facts(run: Run, digest: str) -> dict[str, str]:
    """Return what a file says of its prior: weights, way of fitting and set of images."""
    is_point = run.config["model"].get("posterior") == "deterministic"
    fit = FIT_OF_POINTS if is_point else FIT
    return {"weights": digest, "fit": fit, "images": _fingerprint_of(run)}


def hash_weights(run: Run) -> str:
    """Return a hash of the run's weights."""
    return hashlib.blake2b(run.weights_path.read_bytes(), digest_size=8).hexdigest()


def _file_name(kind: str) -> str:
    return f"prior-{kind}.safetensors"


def _load_prior(run: Run, kind: FittedPrior, digest: str) -> Density | None:
    """Return the prior of these weights; None if there is none, or if it cannot be read."""
    file = run.path / _file_name(kind)
    if not file.is_file():
        return None
    try:
        with utf8_path(file) as path, safe_open(path, "pt") as content:
            facts = _facts(run, digest)
            # files of earlier versions do not say which images
            if {"images": facts["images"], **(content.metadata() or {})} != facts:
                return None
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        return KINDS[kind].from_tensors(tensors)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError):
        return None


def sample_from_density(
    model: CanEncode,
    density: Density,
    n: int,
    seed: int = 0,
    *,
    like: Images | None = None,
    label: int | None = None,
    temperature: float = 1.0,
    start: int = 0,
) -> Images:
    """Decode n samples of a density. Image i is a function of (seed, start + i).

    A label-conditional model gets `label`, or else the label frequencies of the images `like`.
    """
    z = density.sample(n, seed, start, temperature)
    labels = choose_labels(model, n, like, label, seed, start)
    if temperature == 0:
        return model.decode(z, labels)
    return decode_as_sampled(model, z, labels, seed, start)


def choose_labels(
    model: Any,
    n: int,
    like: Images | None,
    label: int | None = None,
    seed: int = 0,
    start: int = 0,
) -> np.ndarray | None:
    """Return n labels: `label`, or in random order with the frequencies of the images `like`.

    Without either as the model samples; None for a model that is not conditioned on labels.
    """
    if not is_label_conditional(model):
        return None
    if label is not None:
        return np.full(n, label)
    if like is None or like.labels is None or (like.labels < 0).all():
        seeds = per_image_seeds(seed, n, start)
        return choose_sample_labels(model.config, model.info, None, seeds)
    counts = np.bincount(like.labels[like.labels >= 0], minlength=len(like.label_names))
    labels = np.repeat(np.arange(len(counts)), largest_remainder(counts, n))
    return np.random.default_rng(seed).permutation(labels)
