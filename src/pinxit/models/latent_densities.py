"""Densities fitted to the latents of images after training, in place of the model's own prior.

The latents of all images together (the aggregate posterior q(z)) do not fill the prior p(z). A
density r(z) fitted to them afterwards does better: a Gaussian mixture (ex-post density estimation,
Ghosh 2019, arXiv 1903.12436, sec. 4) or a RealNVP flow (Dinh 2016). Encoder and decoder stay as
they are. On images that it was not fitted to,

    E_q [log r(z) - log p(z)]  <=  KL(q(z) || p(z)),

so what r gains is a lower bound of how far the prior is from the latents.
"""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn

from pinxit.data.batch import Seed
from pinxit.errors import UsageError
from pinxit.extras import require_extra
from pinxit.models.results import LatentPosterior, Posterior
from pinxit.models.vae.priors import FlowPrior
from pinxit.nn.image_seeds import draw_uniforms
from pinxit.nn.rng import mix_seed, per_image_normal, per_image_seeds

COMPONENTS = (1, 5, 20, 50)  # of a mixture: the number is chosen on validation images
MAX_DIRECTIONS = 64  # principal directions with full covariances; the others share one variance
ROWS_PER_DIRECTION = 20  # fewer latents do not determine a covariance
ROWS_PER_PARAMETER = 5  # rows of a component and direction, at least
MIN_ROWS, MAX_ROWS = 3_000, 50_000  # latents that a mixture is fitted to
MIN_USED_SHARE = 0.05  # variance of the means of q(z|x) over that of z, of a latent that is used
MIN_USED_NATS = 0.9  # of what all latents say, by those that are used; or else all are
MIN_SCALE = 1e-6
FLOW_STEPS, FLOW_BATCH, FLOW_LEARNING_RATE = 300, 256, 3e-3
ROWS_PER_STEP, MAX_FLOW_STEPS = 25, 2_000  # of more latents a flow has more to learn
FLOW_SAMPLES = 8  # of each q(z|x) that is no Gaussian
FLOW_CHECKS = 3  # evaluations on validation latents; the best weights are kept

Z = Float32[np.ndarray, "n latent"]
LogProb = Float64[np.ndarray, " n"]
Columns = Int64[np.ndarray, " used"]


class LatentDensity(Protocol):
    """A density over latents `[n, latent]`."""

    kind: str

    def log_prob(self, z: Z) -> LogProb:
        """Return log r(z) in nats."""
        ...

    def sample(self, n: int, seed: Seed = 0, start: int = 0, temperature: float = 1.0) -> Z:
        """Sample n latents; row i is a function of (seed, start + i)."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return its parameters, to save."""
        ...


# -- mixture ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MixtureDensity:
    """A mixture of Gaussians over some directions of standardized latents.

    With P directions below the number of latents D, the remaining D - P have one variance, as in
    probabilistic PCA: the density is one over all D. The directions are the latents that are used,
    or the principal ones if these are many.
    """

    mean: Float64[np.ndarray, " latent"]
    scale: Float64[np.ndarray, " latent"]
    basis: Float64[np.ndarray, "latent direction"]  # orthonormal columns
    weights: Float64[np.ndarray, " component"]
    means: Float64[np.ndarray, "component direction"]
    factors: Float64[np.ndarray, "component direction direction"]  # lower: covariance = L L^T
    residual: float  # standard deviation of the other directions
    kind: str = "mixture"

    @property
    def num_components(self) -> int:
        return len(self.weights)

    def log_prob(self, z: Z) -> LogProb:
        """Return log r(z) in nats."""
        y = (np.asarray(z, np.float64) - self.mean) / self.scale
        h = y @ self.basis
        parts = [
            math.log(weight) + _log_normal(h - mean, factor)
            for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True)
        ]
        log_p = np.logaddexp.reduce(parts, axis=0) - np.log(self.scale).sum()
        rest = self.basis.shape[0] - self.basis.shape[1]
        if rest:
            squares = np.maximum(np.square(y).sum(1) - np.square(h).sum(1), 0)
            log_p -= 0.5 * squares / self.residual**2
            log_p -= rest * (math.log(self.residual) + 0.5 * math.log(2 * math.pi))
        return log_p

    def sample(self, n: int, seed: Seed = 0, start: int = 0, temperature: float = 1.0) -> Z:
        """Sample n latents; row i is a function of (seed, start + i)."""
        noise = temperature * per_image_normal(n, (len(self.mean),), seed, start).double().numpy()
        seeds = [mix_seed(own, 1) for own in per_image_seeds(seed, n, start)]
        u = draw_uniforms((n,), seeds).double().numpy()
        edges = np.cumsum(self.weights)
        component = np.minimum(np.searchsorted(edges, u * edges[-1], "right"), len(edges) - 1)
        inside = noise @ self.basis
        h = self.means[component] + np.einsum("nij,nj->ni", self.factors[component], inside)
        y = h @ self.basis.T + self.residual * (noise - inside @ self.basis.T)
        return (self.mean + self.scale * y).astype(np.float32)

    def tensors(self) -> dict[str, Tensor]:
        """Return its parameters, to save."""
        names = ("mean", "scale", "basis", "weights", "means", "factors")
        tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name)))
                   for name in names}  # fmt: skip
        return {**tensors, "residual": torch.tensor(self.residual, dtype=torch.float64)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> MixtureDensity:
        """Return the mixture of saved parameters."""
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        return cls(**{**arrays, "residual": float(arrays["residual"])})


def _log_normal(
    h: Float64[np.ndarray, "n direction"], factor: Float64[np.ndarray, "direction direction"]
) -> LogProb:
    """log N(h; 0, L L^T)."""
    white = torch.linalg.solve_triangular(
        torch.from_numpy(factor), torch.from_numpy(np.ascontiguousarray(h.T)), upper=False
    ).numpy()
    log_det = np.log(np.diag(factor)).sum()
    return -0.5 * np.square(white).sum(0) - log_det - 0.5 * len(factor) * math.log(2 * math.pi)


def fit_mixture(train: LatentPosterior, valid: LatentPosterior, seed: int = 0) -> MixtureDensity:
    """Fit mixtures to samples z ~ q(z|x) of training images; keep the best on validation images.

    Raises UsageError for fewer than two training images.
    """
    if len(train.mean) < 2:
        raise UsageError("a prior is fitted to the latents of two training images or more.")
    z, held_out = _draw_rows(train, seed), _draw_rows(valid, seed + 1)
    used = _find_used(train)
    best, best_log_prob = None, -math.inf
    for num_components in COMPONENTS:
        mixture = _fit_components(z, num_components, seed, used)
        log_prob = -math.inf if mixture is None else float(mixture.log_prob(held_out).mean())
        if best is not None and log_prob <= best_log_prob:
            break  # with more components it is fitted too closely, and takes longer
        best, best_log_prob = mixture, log_prob
    assert best is not None, "one component can always be fitted"
    return best


def _draw_rows(posterior: LatentPosterior, seed: int) -> Z:
    """Sample z ~ q(z|x), several times of few images."""
    posterior = posterior.flatten()
    n, dim = posterior.mean.shape
    repeats = math.ceil(MIN_ROWS / n) if n < MIN_ROWS else 1
    rows = np.arange(repeats * n)[:MAX_ROWS] % n
    eps = np.random.default_rng([seed, 1]).standard_normal((len(rows), dim))
    return posterior.take(rows).draw(eps)[0].astype(np.float32)


def _find_used(posterior: LatentPosterior) -> Columns | None:
    """Return the latents whose means differ between images; None for all latents.

    q(z|x) of the others is the prior, or nearly so: a component's covariance would only be fitted
    to their noise. None also where many latents say a little each, which together is not.
    """
    if not posterior.has_lebesgue_density:  # on a sphere no latent is independent of the others
        return None
    posterior = posterior.flatten()
    between, within = posterior.mean.var(0), np.square(posterior.std).mean(0)
    share = between / np.maximum(between + within, MIN_SCALE**2)
    used = share >= MIN_USED_SHARE
    nats = -0.5 * np.log1p(-np.minimum(share, 1 - MIN_SCALE))  # of independent Gaussians
    is_enough = nats[used].sum() >= MIN_USED_NATS * nats.sum()
    return np.flatnonzero(used) if used.any() and is_enough else None


def _as_gaussians(posterior: LatentPosterior, seed: int) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations; of q(z|x) that is no Gaussian samples, and 0."""
    posterior = posterior.flatten()
    if not isinstance(posterior, Posterior):
        n, dim = posterior.mean.shape
        eps = np.random.default_rng([seed, 2]).standard_normal((FLOW_SAMPLES, n, dim))
        points = np.concatenate([posterior.draw(noise)[0] for noise in eps]).astype(np.float32)
        return torch.from_numpy(points), torch.zeros(points.shape)
    mean, std = (torch.from_numpy(np.asarray(part, np.float32)) for part in posterior)
    return mean, std


def _fit_components(
    z: Z, num_components: int, seed: int, used: Columns | None = None
) -> MixtureDensity | None:
    """Fit a mixture of so many components; None if there are too few latents for them.

    Components differ in the latents `used` (None: all); the others are independent of them.
    """
    require_extra("explain", "fitting a mixture of Gaussians", "use a RealNVP prior")
    from sklearn.decomposition import PCA  # takes a second to import
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    n, dim = z.shape
    columns: Columns = np.arange(dim) if used is None else used
    directions = min(len(columns), MAX_DIRECTIONS, max(1, n // ROWS_PER_DIRECTION))
    if directions < len(columns):  # what principal directions leave has one variance with others
        columns = np.arange(dim)
    if num_components > 1 and n < ROWS_PER_PARAMETER * num_components * directions:
        return None
    rows = z.astype(np.float64)
    mean, scale = rows.mean(0), np.maximum(rows.std(0), MIN_SCALE)
    y = (rows - mean) / scale
    basis, residual = np.eye(dim)[:, columns], 1.0
    if directions < len(columns):
        pca: Any = PCA(directions, svd_solver="randomized", random_state=seed)
        pca.fit(y)
        basis = np.ascontiguousarray(pca.components_.T)
    if directions < dim:
        rest = np.square(y).sum() - np.square(y @ basis).sum()
        residual = max(math.sqrt(max(rest, 0) / (n * (dim - directions))), MIN_SCALE)
    directed = (y @ basis).astype(np.float32)  # a third of the time of float64
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture: Any = GaussianMixture(
            num_components, reg_covar=1e-4, max_iter=40, tol=1e-3, random_state=seed
        )
        mixture.fit(directed)
    weights, means, covariances = (
        values.astype(np.float64)
        for values in (mixture.weights_, mixture.means_, mixture.covariances_)
    )
    factors = np.linalg.cholesky(covariances)
    return MixtureDensity(mean, scale, basis, weights, means, factors, residual)


# -- flow ------------------------------------------------------------------------------------------


class FlowDensity(nn.Module):
    """A RealNVP flow of N(0, I) over standardized latents."""

    kind = "realnvp"
    mean: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))
        self.flow = FlowPrior(latent_dim)

    def log_density(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, " n"]:
        """log r(z), differentiable."""
        return self.flow.log_prob((z - self.mean) / self.scale) - self.scale.log().sum()

    @torch.inference_mode()
    def log_prob(self, z: Z) -> LogProb:
        """Return log r(z) in nats."""
        parts = [self.log_density(part) for part in torch.from_numpy(z).split(1_000)]
        return torch.cat(parts).double().numpy()

    @torch.inference_mode()
    def sample(self, n: int, seed: Seed = 0, start: int = 0, temperature: float = 1.0) -> Z:
        """Sample n latents; row i is a function of (seed, start + i)."""
        noise = temperature * per_image_normal(n, tuple(self.mean.shape), seed, start)
        parts = [self.flow.transform(part) for part in noise.split(1_000)]
        return (self.mean + self.scale * torch.cat(parts)).numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Return its parameters, to save."""
        return {name: tensor.contiguous() for name, tensor in self.state_dict().items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> FlowDensity:
        """Return the flow of saved parameters."""
        density = cls(len(tensors["mean"]))
        density.load_state_dict(tensors)
        return density.eval()


def fit_flow(
    train: LatentPosterior, valid: LatentPosterior, seed: int = 0, steps: int | None = None
) -> FlowDensity:
    """Fit a flow to samples z ~ q(z|x), drawn anew at each step; keep the best on validation.

    `steps` is 300 if it is None, and up to 2,000 for 50,000 latents.

    Raises UsageError for fewer than two training images.
    """
    if len(train.mean) < 2:
        raise UsageError("a prior is fitted to the latents of two training images or more.")
    mean, std = _as_gaussians(train, seed)
    held_out = torch.from_numpy(_draw_rows(valid, seed + 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        density = FlowDensity(mean.shape[1])
        density.mean.copy_(mean.mean(0))
        variance = mean.var(0, correction=0) + std.square().mean(0)
        density.scale.copy_(variance.sqrt().clamp(min=MIN_SCALE))
        more_steps = min(MAX_FLOW_STEPS, len(mean) // ROWS_PER_STEP)
        _train_flow(density, mean, std, held_out, steps or max(FLOW_STEPS, more_steps))
    return density.eval()


def _train_flow(
    density: FlowDensity, mean: Tensor, std: Tensor, held_out: Tensor, steps: int
) -> None:
    """Maximize log r(z) with Adam and a cosine learning rate; end with the best weights."""
    optimizer = torch.optim.Adam(density.parameters(), FLOW_LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, best_state = _mean_log_prob(density, held_out), copy.deepcopy(density.state_dict())
    for step in range(1, steps + 1):
        rows = torch.randint(len(mean), (min(FLOW_BATCH, 4 * len(mean)),))
        z = mean[rows] + std[rows] * torch.randn(len(rows), mean.shape[1])
        loss = -density.log_density(z).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(density.parameters(), 10.0 * math.sqrt(mean.shape[1]))
        optimizer.step()
        schedule.step()
        if step % max(1, steps // FLOW_CHECKS) == 0 or step == steps:
            value = _mean_log_prob(density, held_out)
            if value > best:
                best, best_state = value, copy.deepcopy(density.state_dict())
    density.load_state_dict(best_state)


@torch.inference_mode()
def _mean_log_prob(density: FlowDensity, z: Tensor) -> float:
    """Mean of log r(z); minus infinity if it is not finite."""
    value = float(density.log_density(z).mean())
    return value if math.isfinite(value) else -math.inf


Density = MixtureDensity | FlowDensity
