"""The von Mises-Fisher distribution on the sphere, and the uniform one (Davidson 2018).

    q(z) = exp(k mu.z) / (A_d-1 e^k exp J(k)),
    exp J(k) = int_0^pi sin^(d-2) t exp(k (cos t - 1)) dt

with the angle t between z and mu, and A_d the area of the unit sphere in d dimensions. exp J is the
modified Bessel function I_(d/2-1) but for factors, see `log_ive`. It is integrated by quadrature
(Gauss-Legendre) over the angles that have mass: to the rounding of float64, for any d and k.

A sample is a function of standard normal noise e: the direction of e_2 .. e_d is that of z across
mu, and |e|^2, whose distribution is known, gives the quantile of the angle. Rejection sampling
(Ulrich 1984; Wood 1994) gives the same distribution with another number of draws for each image.
The gradient in k is that of the quantile (implicit reparameterization, Figurnov 2018): it needs no
term for the draws that were rejected.

Here the sphere has the radius sqrt(d), on which values have variance 1 as under N(0, I). Densities
are with respect to its area.
"""

from __future__ import annotations

import math
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

NUM_NODES = 128  # of the quadrature
NUM_CELLS = 512  # of the table of quantiles
NUM_NEWTON = 6
WIDTHS = 12.0  # standard deviations on each side of the mode that have mass
MIN_KAPPA, MAX_KAPPA = 1e-4, 1e6
MIN_QUANTILE = 1e-12
TINY = 1e-300

PerImage = Float[Tensor, " batch"]
Samples = Float[Tensor, "batch sample latent"]


def log_area(dim: int) -> float:
    """Logarithm of the area of the unit sphere in `dim` dimensions."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def log_radius_factor(dim: int) -> float:
    """Logarithm of the area of the sphere of radius sqrt(dim) over that of the unit sphere."""
    return (dim - 1) / 2 * math.log(dim)


# -- the angle -----------------------------------------------------------------------------------


@cache
def _legendre() -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


@torch.no_grad()
def _angles_with_mass(kappa: PerImage, power: float) -> tuple[PerImage, PerImage]:
    """Return an interval of angles outside which there is no mass, around the mode.

    The mode solves power cot t = k sin t.
    """
    cos = 2 * kappa / (power + (power**2 + 4 * kappa.square()).sqrt())
    sin2 = (1 - cos.square()).clamp(min=0)
    mode = torch.atan2(sin2.sqrt(), cos)
    curvature = power / sin2.clamp(min=TINY) if power else torch.zeros_like(kappa)
    std = (curvature + kappa * cos).rsqrt()
    return (mode - WIDTHS * std).clamp(min=0), (mode + WIDTHS * std).clamp(max=math.pi)


def _log_density(angle: Tensor, kappa: Tensor, power: float) -> Tensor:
    """log of sin^power t exp(k (cos t - 1)), not normalized."""
    log_p = -2 * kappa * (angle / 2).sin().square()
    return log_p + power * angle.sin().clamp(min=TINY).log() if power else log_p


class Moments(NamedTuple):
    """J(k), and the means of 1 - cos t and of (1 - cos t)^2."""

    log_integral: PerImage
    fall: PerImage
    fall_square: PerImage


def integrate(kappa: PerImage, power: float) -> Moments:
    """Integrate over the angle, in float64; differentiable in kappa."""
    kappa = kappa.double()
    low, high = _angles_with_mass(kappa.detach(), power)
    nodes, weights = (part.to(kappa.device) for part in _legendre())
    half = ((high - low) / 2)[:, None]
    angle = (low + high)[:, None] / 2 + half * nodes
    log_p = _log_density(angle, kappa[:, None], power) + (weights * half).log()
    share = log_p.softmax(1)
    fall = 2 * (angle / 2).sin().square()
    return Moments(log_p.logsumexp(1), (share * fall).sum(1), (share * fall.square()).sum(1))


def log_ive(order: float, kappa: PerImage) -> PerImage:
    """log of I_v(k) e^-k, the scaled modified Bessel function of the first kind, v = d / 2 - 1.

    I_v(k) = (k/2)^v / (sqrt(pi) Gamma(v + 1/2)) int_0^pi sin^2v t exp(k cos t) dt.
    """
    factor = -0.5 * math.log(math.pi) - math.lgamma(order + 0.5)
    return order * (kappa.double() / 2).log() + factor + integrate(kappa, 2 * order).log_integral


class Table(NamedTuple):
    """A function of the angle at the edges of cells, with its derivative: a cubic in each cell."""

    values: Float[Tensor, "batch edge"]
    slopes: Float[Tensor, "batch edge"]  # times the width of a cell

    def __call__(self, cell: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the value, and its derivative in x, in cells at 0 <= x <= 1 (Hermite)."""
        a, b = self.values.gather(1, cell), self.values.gather(1, cell + 1)
        p, q = self.slopes.gather(1, cell), self.slopes.gather(1, cell + 1)
        value = a + x * (p + x * (3 * (b - a) - 2 * p - q + x * (2 * (a - b) + p + q)))
        slope = p + x * (2 * (3 * (b - a) - 2 * p - q) + 3 * x * (2 * (a - b) + p + q))
        return value, slope


def _integral_table(values: Tensor, derivatives: Tensor, width: Tensor) -> Table:
    """Tabulate the integral from the first edge on, of a function and its derivative at edges."""
    trapezoids = width / 2 * (values[:, :-1] + values[:, 1:])
    corrected = trapezoids + width.square() / 12 * (derivatives[:, :-1] - derivatives[:, 1:])
    start = torch.zeros_like(values[:, :1])
    return Table(torch.cat([start, corrected.cumsum(1)], 1), values * width)


def angle_at(
    quantile: Float[Tensor, "batch sample"], kappa: PerImage, dim: int
) -> Float[Tensor, "batch sample"]:
    """Return the angles at these quantiles, in float64; differentiable in kappa.

    dt/dk = -dF/dk / p with the distribution function F: dF/dk = int_0^t (cos s - E cos) p ds.
    """
    power = float(dim - 2)
    with torch.no_grad():
        k = kappa.detach().double()[:, None]
        low, high = (edge[:, None] for edge in _angles_with_mass(k[:, 0], power))
        width = (high - low) / NUM_CELLS
        edges = low + width * torch.arange(NUM_CELLS + 1, device=k.device)
        log_p = _log_density(edges, k, power)
        top = log_p.max(1, keepdim=True).values
        p, derivative = _density_and_derivative(edges, k, power, top)
        total = _integral_table(p, derivative, width).values[:, -1:]
        p, derivative = p / total, derivative / total
        distribution = _integral_table(p, derivative, width)
        u = quantile.double().clamp(MIN_QUANTILE, 1 - MIN_QUANTILE)
        u = u * distribution.values[:, -1:]
        cell = torch.searchsorted(distribution.values.contiguous(), u.contiguous(), right=True) - 1
        cell = cell.clamp(0, NUM_CELLS - 1)
        x = torch.full_like(u, 0.5)
        for _ in range(NUM_NEWTON):
            value, slope = distribution(cell, x)
            x = (x - (value - u) / slope.clamp(min=TINY)).clamp(0, 1)
        angle = low + width * (cell + x)
        density = (_log_density(angle, k, power) - top).exp() / total
        cos, sin = edges.cos(), edges.sin()
        of_cos = _integral_table(cos * p, cos * derivative - sin * p, width)
        mean = of_cos.values[:, -1:]
        left = _integral_table((cos - mean) * p, (cos - mean) * derivative - sin * p, width)
        # from the nearer end: the integral over all angles is 0, but for rounding
        right = Table(left.values - left.values[:, -1:], left.slopes)
        change = torch.where(angle.cos() > mean, left(cell, x)[0], right(cell, x)[0])
        slope = -change / density.clamp(min=TINY)
    offset = kappa.double() - kappa.detach().double()
    return angle + slope * offset[:, None]


def _density_and_derivative(
    angle: Tensor, kappa: Tensor, power: float, top: Tensor
) -> tuple[Tensor, Tensor]:
    """exp(log p - top), and its derivative in the angle; at 0 and pi too."""
    if not power:
        p = (_log_density(angle, kappa, 0) - top).exp()
        return p, -kappa * angle.sin() * p
    below = (_log_density(angle, kappa, power - 1) - top).exp()  # p / sin t
    sin = angle.sin()
    return below * sin, below * (power * angle.cos() - kappa * sin.square())


# -- the distribution ----------------------------------------------------------------------------


class VonMisesFisher:
    """The distributions of a batch, of mean direction `mu` and concentration `kappa`."""

    def __init__(self, mu: Float[Tensor, "batch latent"], kappa: PerImage) -> None:
        self.mu, self.kappa = mu, kappa
        self.dim = mu.shape[1]

    @cached_property
    def moments(self) -> Moments:
        """Integrals of the angle's density."""
        return integrate(self.kappa, self.dim - 2)

    @property
    def log_at_mean(self) -> PerImage:
        """log q(mu)."""
        outside = log_area(self.dim - 1) + log_radius_factor(self.dim)
        return -self.moments.log_integral - outside

    def sample(self, noise: Samples) -> tuple[Samples, Float[Tensor, "batch sample"]]:
        """Return samples of standard normal noise, and their log-density."""
        e = noise.double()
        norms = e.square().sum(-1)
        quantile = torch.special.gammainc(torch.full_like(norms, self.dim / 2), norms / 2)
        angle = angle_at(quantile, self.kappa, self.dim)
        across = e[..., 1:] / e[..., 1:].norm(dim=-1, keepdim=True).clamp(min=1e-30)
        z = torch.cat([angle.cos()[..., None], angle.sin()[..., None] * across], -1)
        fall = 2 * (angle / 2).sin().square()
        log_q = self.log_at_mean[:, None] - self.kappa.double()[:, None] * fall
        z = math.sqrt(self.dim) * _reflect(z, self.mu.double()[:, None])
        return z.to(noise.dtype), log_q.to(noise.dtype)

    def log_prob(self, z: Samples) -> Float[Tensor, "batch sample"]:
        """log q(z), in float64."""
        cos = (z.double() * self.mu.double()[:, None]).sum(-1) / math.sqrt(self.dim)
        return self.log_at_mean[:, None] + self.kappa.double()[:, None] * (cos - 1)

    def kl_to_uniform(self) -> PerImage:
        """KL(q || uniform), in float64."""
        outside = log_area(self.dim) + log_radius_factor(self.dim)
        return self.log_at_mean - self.kappa.double() * self.moments.fall + outside

    def std(self) -> Float[Tensor, "batch latent"]:
        """Standard deviation of each value."""
        mean, square = self.moments.fall, self.moments.fall_square
        along = (square - mean.square()).clamp(min=0)[:, None]
        sin2 = (2 * mean - square)[:, None]  # E (1 - cos^2)
        mu2 = self.mu.double().square()
        variance = along * mu2 + sin2 / max(1, self.dim - 1) * (1 - mu2)
        return (self.dim * variance).clamp(min=0).sqrt()


def _reflect(z: Samples, mu: Float[Tensor, "batch 1 latent"]) -> Samples:
    """Reflect so that the first axis comes to lie on mu (Householder)."""
    axis = torch.zeros_like(mu)
    axis[..., 0] = 1
    normal = axis - mu
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return z - 2 * (z * normal).sum(-1, keepdim=True) * normal


class SpherePrior(nn.Module):
    """The uniform distribution on the sphere of radius sqrt(d)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def transform(self, noise: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
        """Map standard normal noise to the sphere."""
        return to_sphere(noise)

    def inverse(
        self, z: Float[Tensor, "batch latent"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return noise that gives z: itself; without a density, there is one for each length."""
        return to_sphere(z), torch.zeros_like(z)

    def log_prob(self, z: Float[Tensor, "batch latent"]) -> PerImage:
        """Minus the log of the area."""
        return z.new_full((len(z),), -log_area(self.latent_dim) - log_radius_factor(z.shape[-1]))

    def log_prob_per_latent(
        self, z: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch latent"]:
        """An equal share of it for each latent: they depend on one another."""
        return (self.log_prob(z) / self.latent_dim)[:, None].expand_as(z)

    def kl(self, mean: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
        raise NotImplementedError("a Gaussian has no density on a sphere")


def to_sphere(z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
    """Scale z to the length sqrt(d); of no direction, 0, to an arbitrary point."""
    norm = z.norm(dim=-1, keepdim=True)
    first = torch.zeros_like(z)
    first[..., 0] = 1
    unit = torch.where(norm > 0, z / norm.clamp(min=1e-30), first)
    return math.sqrt(z.shape[-1]) * unit


class OnSphere(nn.Module):
    """A decoder of points on the sphere: other latents are scaled to its radius first."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Float[Tensor, "batch latent"], labels: Tensor | None) -> Tensor:
        return self.decoder(to_sphere(z), labels)
