"""Principal component analysis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Points = Float[Tensor, "n dim"]


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Orthonormal directions of largest variance, the largest first."""

    mean: Float[Tensor, " dim"]
    directions: Float[Tensor, "k dim"]
    variance_share: Float[Tensor, " k"]  # of the total variance

    def project(self, points: Points) -> Float[Tensor, "n k"]:
        """Return the coordinates of points."""
        return (points - self.mean) @ self.directions.T

    def reconstruct(self, coordinates: Float[Tensor, "n k"]) -> Points:
        """Return the points that have these coordinates."""
        return coordinates @ self.directions + self.mean


def fit_principal_components(points: Points, count: int) -> PrincipalComponents:
    """Fit up to `count` components, at most as many as there are points or dimensions.

    The component of largest absolute value of each direction is positive.
    """
    mean = points.mean(0)
    centered = (points - mean).double()
    is_wide = centered.shape[1] > len(points)
    gram = centered @ centered.T if is_wide else centered.T @ centered
    variances, vectors = (part.flip(-1) for part in torch.linalg.eigh(gram))
    count = min(count, *points.shape)
    directions = vectors[:, :count].T
    if is_wide:
        directions = directions @ centered
        directions /= directions.norm(dim=1, keepdim=True).clamp(min=1e-12)
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    total = variances.clamp(min=0).sum().clamp(min=1e-30)
    share = variances[:count].clamp(min=0) / total
    return PrincipalComponents(mean, (directions * signs).to(points.dtype), share.float())
